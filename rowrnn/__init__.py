"""Row-by-row recurrent vision for JAX and Flax."""

from rowrnn import cells, interop
from rowrnn.cells import *  # noqa: F403 (its public names are public here too)
from rowrnn.cells.chrono import chrono
from rowrnn.image.image_scan import ImageScan
from rowrnn.image.orders import Order
from rowrnn.image.renet import ReNet
from rowrnn.image.rows import RowGRU, RowLSTM, Rows, image_rows
from rowrnn.machine.default import default_backend
from rowrnn.program import export
from rowrnn.recurrence.backend_choice import explain
from rowrnn.recurrence.scan import scan
from rowrnn.saving.model_file import load, save
from rowrnn.sequence import Bidirectional, Recurrent, Residual, Stack, Transformer, VisionLSTM
from rowrnn.sequence.stack import stack

__version__ = "0.1.0"

__all__ = [
    "Bidirectional",
    "ImageScan",
    "Order",
    "ReNet",
    "Recurrent",
    "Residual",
    "RowGRU",
    "RowLSTM",
    "Rows",
    "Stack",
    "Transformer",
    "VisionLSTM",
    "chrono",
    "default_backend",
    "explain",
    "export",
    "image_rows",
    "interop",
    "load",
    "save",
    "scan",
    "stack",
]
__all__ += cells.__all__
