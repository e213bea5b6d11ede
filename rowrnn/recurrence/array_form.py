"""A gated cell as the arrays that compiled recurrences take: weights, halves of the state, lengths."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike

from rowrnn.cells import GRU, LSTM, LSTMState
from rowrnn.recurrence import cudnn
from rowrnn.recurrence.backend_choice import _NAMES
from rowrnn.recurrence.fused import Recurrence, recur
from rowrnn.typing import State


def _on_arrays(
    cell: Any,
    backend: str,
    reverse: bool,
    compute_dtype: DTypeLike | None,
    state: State,
    inputs: tuple[Array, Array | None, Any],
) -> tuple[State, tuple[Array, None]]:
    """A cell of ours in the arrays that its recurrence takes: weights, a state of two halves, and lengths."""
    x, valid, _ = inputs
    lengths = jnp.zeros((0,), jnp.int32) if valid is None else valid.sum(axis=1, dtype=jnp.int32)
    dtype = jnp.result_type(x, *jax.tree.leaves(cell))
    lstm = isinstance(cell, LSTM)
    weights = (
        cell.input_kernel[...],
        cell.bias[...],
        cell.recurrent_kernel[...],
        cell.candidate_bias[...] if isinstance(cell, GRU) else jnp.zeros((0,), dtype),
    )
    halves = state if lstm else (state, state[:, :0])
    x, weights, halves = jax.tree.map(lambda a: a.astype(dtype), (x, weights, tuple(halves)))
    if backend == "cudnn":
        outputs, last = cudnn.lstm(x, weights, halves, lengths, reverse=reverse)
    else:
        how = Recurrence(_NAMES[type(cell)], reverse, backend == "native", compute_dtype)
        outputs, last = recur(how, x, weights, halves, lengths)
    return LSTMState(*last) if lstm else last[0], (outputs, None)
