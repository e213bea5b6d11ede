"""Gradient checkpointing over time: the state is kept every k steps, and the steps between are computed again."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rowrnn.typing import State

Run = Callable[..., tuple[State, tuple[Array, State | None]]]


def _in_segments(
    run: Run, state: State, inputs: Any, reverse: bool, steps: int
) -> tuple[State, tuple[Array, State | None]]:
    """Segments of so many steps, of which only the first state is kept for the gradient; a shorter one at the end."""
    b, t = inputs[0].shape[:2]
    count = t // steps

    def cut(a: Array) -> Array:
        return jnp.swapaxes(a[:, : count * steps].reshape(b, count, steps, *a.shape[2:]), 0, 1)

    def joined(a: Array) -> Array:
        return jnp.swapaxes(a, 0, 1).reshape(b, count * steps, *a.shape[3:])

    rest = jax.tree.map(lambda a: a[:, count * steps :], inputs) if t % steps else None
    shown: Any = None
    if reverse and rest is not None:
        state, shown = run(state, rest)
    # Inside a loop nothing is computed once for both passes, which is what the barrier would prevent.
    segment = jax.checkpoint(run, prevent_cse=False)
    state, whole = jax.lax.scan(segment, state, jax.tree.map(cut, inputs), reverse=reverse)
    whole = jax.tree.map(joined, whole)
    if not reverse and rest is not None:
        state, shown = run(state, rest)
    return state, whole if shown is None else jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), whole, shown)
