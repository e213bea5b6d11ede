"""Means and confidence intervals over seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special


def interval(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Returns the mean of values over seeds and the half-width of its 95 % confidence interval (Student's t).

    Args:
        values: one value for each seed.

    Returns:
        `mean`, `ci95` (None for a single value) and the `values` themselves.
    """
    ci95 = None
    if len(values) > 1:
        ci95 = float(special.stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "ci95": ci95, "values": [float(value) for value in values]}
