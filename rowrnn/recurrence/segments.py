"""Gradient checkpointing over time: only the state at the start of every segment is saved for the gradient."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from rowrnn.machine.sharding import reshape_examples
from rowrnn.recurrence.backend import Result, ScanCall


def run_in_segments(run: Callable[[ScanCall], Result], call: ScanCall, steps: int) -> Result:
    """Runs a call in segments of `steps` steps; the gradient recomputes each from its first state.

    If `steps` does not divide the number of steps, the last segment is shorter.
    """
    b, t = call.x.shape[:2]
    count = t // steps

    def cut(a: Array) -> Array:
        return jnp.swapaxes(reshape_examples(a[:, : count * steps], (b, count, steps, *a.shape[2:])), 0, 1)

    def joined(a: Array) -> Array:
        return reshape_examples(jnp.swapaxes(a, 0, 1), (b, count * steps, *a.shape[3:]))

    def segment(state: Any, by_step: Any) -> tuple[Any, Any]:
        x, valid, resets = by_step
        last, *shown = run(dataclasses.replace(call, state=state, x=x, valid=valid, resets=resets))
        return last, shown

    by_step = call.x, call.valid, call.resets
    rest = jax.tree.map(lambda a: a[:, count * steps :], by_step) if t % steps else None
    state, shown = call.state, None
    if call.reverse and rest is not None:
        state, shown = segment(state, rest)
    # Inside a loop XLA cannot merge the two computations, which the barrier of `prevent_cse` is for.
    checkpointed = jax.checkpoint(segment, prevent_cse=False)
    state, whole = jax.lax.scan(checkpointed, state, jax.tree.map(cut, by_step), reverse=call.reverse)
    whole = jax.tree.map(joined, whole)
    if not call.reverse and rest is not None:
        state, shown = segment(state, rest)
    outputs, states = whole if shown is None else jax.tree.map(lambda *a: jnp.concatenate(a, axis=1), whole, shown)
    return state, outputs, states
