"""Recurrent cells, each a pure function of its parameters.

Every cell has three methods, which are all that `rowrnn.scan` needs:

- `project(x)`: the input half of all gates for all steps at once, one matrix product;
- `step(state, projected)`: one step given its projected input, `→ (state, output)`;
- `initial_state(projected)`: zeros derived from the data, so that they inherit its dtype and sharding.

A cell is a `flax.nnx` module that is a plain pytree of float arrays: no stored random stream, no integer state, so
`jax.jit`, `jax.grad`, `jax.vmap` and `jax.lax.scan` work on it directly. It is also a valid `nnx.RNN` cell.

Gates are concatenated on the last axis of the kernels, in the order stated by each class (that of cuDNN and torch).
"""

from rowrnn.cells.cell import Cell
from rowrnn.cells.convolutional import ConvCell, ConvGRU, ConvLSTM
from rowrnn.cells.exponential import MLSTM, SLSTM, MLSTMState, SLSTMState
from rowrnn.cells.gated import GRU, LSTM, MGU, Elman, GatedCell, LSTMState
from rowrnn.cells.linear import LRU, RGLRU, LinearCell, MinGRU, MinLSTM
from rowrnn.cells.variants import LayerNormGRU, LayerNormLSTM, PeepholeLSTM, ProjectedLSTM, ResetFirstGRU

CELLS: dict[str, type[Cell]] = {
    "elman": Elman,
    "lstm": LSTM,
    "gru": GRU,
    "mgu": MGU,
    "peephole_lstm": PeepholeLSTM,
    "layer_norm_lstm": LayerNormLSTM,
    "layer_norm_gru": LayerNormGRU,
    "reset_first_gru": ResetFirstGRU,
    "min_gru": MinGRU,
    "min_lstm": MinLSTM,
    "rg_lru": RGLRU,
    "lru": LRU,
    "slstm": SLSTM,
    "mlstm": MLSTM,
}
"""Cell classes by name: those over vectors with the constructor `(features, hidden, rngs=...)`."""

__all__ = [
    "CELLS",
    "GRU",
    "LRU",
    "LSTM",
    "MGU",
    "MLSTM",
    "RGLRU",
    "SLSTM",
    "Cell",
    "ConvCell",
    "ConvGRU",
    "ConvLSTM",
    "Elman",
    "GatedCell",
    "LSTMState",
    "LayerNormGRU",
    "LayerNormLSTM",
    "LinearCell",
    "MLSTMState",
    "MinGRU",
    "MinLSTM",
    "PeepholeLSTM",
    "ProjectedLSTM",
    "ResetFirstGRU",
    "SLSTMState",
]
