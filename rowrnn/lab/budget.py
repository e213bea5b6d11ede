"""Widths of different models under one parameter budget."""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
from flax import nnx

from rowrnn.errors import InputError

TOLERANCE = 0.03
WIDEST = 1 << 14


def parameters(model: Any) -> int:
    """Returns the number of parameters of a model, or of a pytree of its shapes."""
    return sum(leaf.size for leaf in jax.tree.leaves(model))


def solve_width(build: Callable[[int, nnx.Rngs], Any], budget: int, tolerance: float = TOLERANCE) -> int:
    """Finds the width whose model has the number of parameters nearest to `budget`.

    Args:
        build: function of a width and random streams to a model, whose number of parameters grows with the width; it is
            only traced.
        budget: number of parameters to meet.
        tolerance: largest share of the budget by which the number may differ from it.

    Returns:
        The width.

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
    if abs(size(width) - budget) > tolerance * budget:
        raise InputError(
            f"No width meets a budget of {budget:,} parameters within {tolerance:.0%}: the nearest model, of width "
            f"{width}, has {size(width):,}. Take {size(width):,} as the budget, or set the width itself."
        )
    return width
