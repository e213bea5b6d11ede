"""The loop over a cell's own step, differentiated by JAX: for any cell, with resets and every state on request."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rowrnn.cells import Cell
from rowrnn.recurrence.masking import expand_to, zero_where_invalid
from rowrnn.typing import State


def run(
    cell: Cell, reverse: bool, state: State, inputs: tuple[Array, Array | None, Array | None], *, states: bool
) -> tuple[State, tuple[Array, State | None]]:
    """The last state, outputs `[b, t, ...]`, and where asked the state after every step, its arrays `[b, t, ...]`.

    Args:
        cell: any cell.
        reverse: from the last valid step to the first.
        state: state before the first step.
        inputs: sequences `[b, t, ...]`, which steps are valid, `[b, t]` or None, and before which the state is zero
            again, `[b, t]` or None.
        states: whether to return every state.
    """
    x, valid, resets = jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), inputs)
    # Zeroed before the product: its gradient multiplies the padding by zero, and 0 · NaN is NaN.
    x = zero_where_invalid(x, valid)

    def step(state: State, inputs: Any) -> tuple[State, Any]:
        projected, valid, reset = inputs
        if reset is not None:
            state = jax.tree.map(lambda a: zero_where_invalid(a, ~reset), state)
        stepped, output = cell.step(state, projected)
        if valid is not None:
            stepped = jax.tree.map(lambda new, old: jnp.where(expand_to(valid, new), new, old), stepped, state)
            output = zero_where_invalid(output, valid)
        return stepped, (output, stepped if states else None)

    last, every = jax.lax.scan(step, state, (cell.project(x), valid, resets), reverse=reverse)
    return last, jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), every)
