"""One parameter budget for different models: how wide may each be?"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
from flax import nnx

from rowrnn.errors import InputError

TOLERANCE = 0.03
WIDEST = 1 << 14


def parameters(model: Any) -> int:
    """Number of parameters of a model, or of the shapes of one."""
    return sum(leaf.size for leaf in jax.tree.leaves(model))


def solve_width(build: Callable[[int, nnx.Rngs], Any], budget: int) -> int:
    """The width whose model has the number of parameters nearest to `budget`.

    Args:
        build: width and random streams to a model, whose parameters grow with the width; it is only traced.
        budget: number of parameters to meet within 3 %.

    Raises:
        InputError: if no width meets the budget.
    """

    @cache
    def size(width: int) -> int:
        return parameters(jax.eval_shape(lambda key: build(width, nnx.Rngs(key)), jax.random.key(0)))

    low, high = 1, 2
    while high < WIDEST and size(high) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) <= budget else (low, middle)
    width = min((low, high), key=lambda candidate: abs(size(candidate) - budget))
    if abs(size(width) - budget) > TOLERANCE * budget:
        raise InputError(
            f"No width meets a budget of {budget:,} parameters within {TOLERANCE:.0%}: the nearest model, of width "
            f"{width}, has {size(width):,}. Take {size(width):,} as the budget, or set the width itself."
        )
    return width
