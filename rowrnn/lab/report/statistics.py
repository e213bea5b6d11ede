"""Means, differences and their confidence intervals over seeds."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

ROUNDING = 1e-9
"""Share of their size by which values differ that are equal but for rounding."""


def interval(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Returns the mean of values over seeds and the half-width of its 95 % confidence interval (Student's t).

    Args:
        values: one value for each seed.

    Returns:
        `mean`, `ci95` (None for a single value, 0 for equal ones) and the `values` themselves.
    """
    ci95 = None
    if len(values) > 1:
        half = special.stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values))
        ci95 = 0.0 if _equal(values, values) else float(half)
    return {"mean": float(np.mean(values)), "ci95": ci95, "values": [float(value) for value in values]}


def difference(
    first: Sequence[float], second: Sequence[float], *, paired: bool
) -> tuple[float, tuple[float, float] | None]:
    """Computes how much greater the mean of `second` is than that of `first`, and its 95 % confidence interval.

    Args:
        first: values of the seeds of one model.
        second: values of the seeds of another one.
        paired: whether values at the same position have the same seed: the interval is then that of the mean of their
            differences (Student's t), otherwise that of independent samples with unequal variances (Welch 1947).

    Returns:
        The difference, and the bounds of the interval; None where there are too few values, or all differences are
        equal and do not show how much a seed matters.

    Raises:
        ValueError: if paired values differ in number.
    """
    from scipy import stats  # Imported where used: it takes half a second.

    if paired and len(first) != len(second):
        raise ValueError(f"Pairs need as many values on both sides, not {len(first)} and {len(second)}.")
    mean = float(np.mean(second) - np.mean(first))
    both = [*first, *second]
    equal = _equal(np.subtract(second, first), both) if paired else _equal(first, both) and _equal(second, both)
    if min(len(first), len(second)) < 2 or equal:
        return mean, None
    with warnings.catch_warnings():
        # It warns where differences are nearly equal, of p values that are not used here.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_rel(second, first) if paired else stats.ttest_ind(second, first, equal_var=False)
        bounds = test.confidence_interval(0.95)
    return mean, (float(bounds.low), float(bounds.high))


def _equal(values: Sequence[float] | np.ndarray, of: Sequence[float] | np.ndarray) -> bool:
    """Returns whether values are equal but for the rounding of those that they are made of."""
    return bool(np.ptp(values) <= ROUNDING * np.abs(of).max())
