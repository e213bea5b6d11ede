"""Row-by-row recurrent vision for JAX and Flax."""

from rowrnn.cells import CELLS, GRU, LSTM, Cell, Elman, LSTMState
from rowrnn.image import RowGRU, RowLSTM, Rows, rows
from rowrnn.scan import default_backend, explain, scan

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "Cell",
    "Elman",
    "LSTMState",
    "RowGRU",
    "RowLSTM",
    "Rows",
    "default_backend",
    "explain",
    "rows",
    "scan",
]
