"""Conversion of `flax.nnx`'s cells `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell` and `GRUCell`, and of `RNN` and
`Bidirectional` layers of them.

`nnx.GRUCell` has no bias `b_hn` of the candidate's recurrent product.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rowrnn.cells import GRU, LSTM, Cell, Elman
from rowrnn.errors import InputError
from rowrnn.interop.arrays import cell_of, numpy_of
from rowrnn.sequence import Bidirectional, Recurrent

# For each cell that of flax.nnx, and which of its two dense layers has the bias.
_KINDS: dict[type[Cell], tuple[type, str]] = {
    Elman: (nnx.SimpleCell, "dense_i"),
    LSTM: (nnx.OptimizedLSTMCell, "dense_h"),
    GRU: (nnx.GRUCell, "dense_i"),
}
_TANH, _SIGMOID = (jnp.tanh, nnx.tanh), (nnx.sigmoid, jax.nn.sigmoid)


def from_nnx(cell: Any) -> Any:
    """Makes a cell or layer with the weights of a `flax.nnx` module.

    Args:
        cell: a cell of `flax.nnx`, or an `nnx.RNN` or `nnx.Bidirectional`.

    Returns:
        A cell; for an `RNN` a `Recurrent`, for a `Bidirectional` a `Bidirectional` layer, which concatenates.

    Raises:
        InputError: if the cell is none of those of this module, has other activations or is residual, or a layer is
            time-major, returns outputs in reverse order or has its own `merge_fn`.
    """
    if isinstance(cell, nnx.Bidirectional):
        if cell.merge_fn is not nnx.Bidirectional.merge_fn:
            raise InputError("This Bidirectional has a merge_fn of its own; ours concatenates, adds or averages.")
        if cell.time_major:
            raise InputError("This Bidirectional is time_major; layers here take [batch, time, features].")
        ways: Any = cell.forward_rnn, cell.backward_rnn
        return Bidirectional(*(from_nnx(way.cell) for way in ways))
    if isinstance(cell, nnx.RNN):
        if cell.time_major:
            raise InputError("This RNN is time_major; layers here take [batch, time, features].")
        if cell.reverse and not cell.keep_order:
            raise InputError(
                "This RNN shows the outputs of its last step first; layers here keep the order of the steps: set "
                "keep_order=True."
            )
        return Recurrent(from_nnx(cell.cell), reverse=cell.reverse)
    if getattr(cell, "residual", False):
        raise InputError(f"This {type(cell).__name__} adds its input to its state, which no cell here does.")
    for name, function, expected in (("activation_fn", "tanh", _TANH), ("gate_fn", "sigmoid", _SIGMOID)):
        if getattr(cell, name, expected[0]) not in expected:
            raise InputError(f"This {type(cell).__name__} has another {name} than {function}, which cells here have.")
    if isinstance(cell, nnx.LSTMCell):
        inputs = cell.ii, cell.if_, cell.ig, cell.io
        recurrent = cell.hi, cell.hf, cell.hg, cell.ho
        return cell_of(
            LSTM,
            cell.in_features,
            cell.hidden_features,
            input_kernel=np.concatenate([np.asarray(dense.kernel[...]) for dense in inputs], axis=1),
            recurrent_kernel=np.concatenate([np.asarray(dense.kernel[...]) for dense in recurrent], axis=1),
            bias=np.concatenate([np.asarray(dense.bias) for dense in recurrent]),
        )
    found = next((kind for kind, (of_nnx, _) in _KINDS.items() if of_nnx is type(cell)), None)
    if found is None:
        raise InputError(
            f"{type(cell).__name__} is no cell of flax.nnx that is known here; there are "
            "SimpleCell, LSTMCell, OptimizedLSTMCell and GRUCell."
        )
    arrays = {
        "input_kernel": np.asarray(cell.dense_i.kernel[...]),
        "recurrent_kernel": np.asarray(cell.dense_h.kernel[...]),
        "bias": np.asarray(getattr(cell, _KINDS[found][1]).bias[...]),
    }
    if found is GRU:
        arrays["candidate_bias"] = np.zeros(cell.hidden_features, arrays["bias"].dtype)
    return cell_of(found, cell.in_features, cell.hidden_features, **arrays)


def to_nnx(cell: Any) -> nnx.RNNCellBase:
    """Makes a `flax.nnx` cell with the weights of a cell.

    Args:
        cell: an `Elman` for `SimpleCell`, an `LSTM` for `OptimizedLSTMCell`, or a `GRU` for `GRUCell`.

    Raises:
        InputError: if the cell is of another class, or a GRU whose bias `b_hn` is not zero.
    """
    if type(cell) not in _KINDS:
        raise InputError(f"flax.nnx has no cell of {type(cell).__name__}.")
    if isinstance(cell, GRU) and numpy_of(cell, "candidate_bias").any():
        raise InputError(
            "flax.nnx's GRUCell has no bias b_hn inside the reset, and this GRU's is not zero: use rowrnn's own cell, "
            "which runs in flax.nnx.RNN, or linen's."
        )
    kind, biased = _KINDS[type(cell)]
    dtype = cell.bias.dtype
    made: Any = kind(cell.features, cell.hidden, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0))
    made.dense_i.kernel[...] = jnp.asarray(cell.input_kernel[...])
    made.dense_h.kernel[...] = jnp.asarray(cell.recurrent_kernel[...])
    getattr(made, biased).bias[...] = jnp.asarray(cell.bias[...])
    return made
