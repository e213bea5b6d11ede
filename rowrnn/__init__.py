"""Row-by-row recurrent vision for JAX and Flax."""

from rowrnn import interop
from rowrnn.cells import (
    CELLS,
    GRU,
    LRU,
    LSTM,
    MGU,
    RGLRU,
    Cell,
    ConvCell,
    ConvGRU,
    ConvLSTM,
    Elman,
    LayerNormGRU,
    LayerNormLSTM,
    LSTMState,
    MinGRU,
    MinLSTM,
    PeepholeLSTM,
    ProjectedLSTM,
    ResetFirstGRU,
)
from rowrnn.cells.chrono import chrono
from rowrnn.image.image_scan import ImageScan
from rowrnn.image.orders import Order
from rowrnn.image.renet import ReNet
from rowrnn.image.rows import RowGRU, RowLSTM, Rows, image_rows
from rowrnn.program import export
from rowrnn.recurrence.backend_choice import default_backend, explain
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.sequence.stack import stack

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "GRU",
    "LRU",
    "LSTM",
    "MGU",
    "RGLRU",
    "Bidirectional",
    "Cell",
    "ConvCell",
    "ConvGRU",
    "ConvLSTM",
    "Elman",
    "ImageScan",
    "LSTMState",
    "LayerNormGRU",
    "LayerNormLSTM",
    "MinGRU",
    "MinLSTM",
    "Order",
    "PeepholeLSTM",
    "ProjectedLSTM",
    "ReNet",
    "Recurrent",
    "ResetFirstGRU",
    "RowGRU",
    "RowLSTM",
    "Rows",
    "Stack",
    "chrono",
    "default_backend",
    "explain",
    "export",
    "image_rows",
    "interop",
    "scan",
    "stack",
]
