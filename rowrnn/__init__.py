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
    chrono,
)
from rowrnn.image import ImageScan, ReNet, RowGRU, RowLSTM, Rows, rows
from rowrnn.orders import Order
from rowrnn.program import export
from rowrnn.scan import default_backend, explain, scan
from rowrnn.sequence import Bidirectional, Recurrent, Stack, stack

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
    "interop",
    "rows",
    "scan",
    "stack",
]
