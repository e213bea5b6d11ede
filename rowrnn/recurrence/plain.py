"""The backend "plain": a loop over the cell's `step`, differentiated by JAX, for any cell and any transformation."""

from typing import Any

import jax
import jax.numpy as jnp

from rowrnn.cells import Cell
from rowrnn.recurrence import loop
from rowrnn.recurrence.backend import Backend, Result, ScanCall, no_rounding_reason
from rowrnn.recurrence.masking import expand_to, zero_where_invalid
from rowrnn.typing import State


def run(cell: Cell, call: ScanCall) -> Result:
    """Computes a call step by step."""
    x, valid, resets = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), (call.x, call.valid, call.resets))
    # Zeroed before the product, whose gradient multiplies the padding by zero, and 0 · NaN is NaN.
    x = zero_where_invalid(x, valid)

    dropping = () if call.dropout_mask is None else (call.dropout_mask,)

    def step(state: State, inputs: Any) -> tuple[State, Any]:
        projected, valid, reset = inputs
        if reset is not None:
            state = jax.tree.map(lambda a: zero_where_invalid(a, ~reset), state)
        stepped, output = cell.step(state, projected, *dropping)
        if valid is not None:
            stepped = jax.tree.map(lambda new, old: jnp.where(expand_to(valid, new), new, old), stepped, state)
            output = zero_where_invalid(output, valid)
        return stepped, (output, stepped if call.return_states else None)

    last, every = loop.steps(step, call.state, (cell.project(x), valid, resets), reverse=call.reverse)
    outputs, states = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), every)
    return last, outputs, states


PLAIN = Backend(
    "plain",
    unfit=lambda cell, call: no_rounding_reason(call),
    run=run,
    knows_gaps=lambda cell: True,
    instead_of="fused",
)
