"""The loop over the steps of sequences."""

from collections.abc import Callable
from typing import Any

import jax

UNROLLED = {"gpu": 4}
"""Steps of one turn of the loop, by platform, 1 on the others: XLA waits between two turns on a GPU, where a step of a
small layer takes less time than the wait (LOG.md has the times)."""


def steps(step: Callable[[Any, Any], Any], state: Any, inputs: Any, *, reverse: bool) -> tuple[Any, Any]:
    """Runs `step(state, inputs of a step) → (state, outputs of a step)`, as `jax.lax.scan` does."""
    unroll = UNROLLED.get(jax.default_backend(), 1)
    return jax.lax.scan(step, state, inputs, reverse=reverse, unroll=unroll)
