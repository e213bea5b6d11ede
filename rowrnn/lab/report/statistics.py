"""Means and confidence intervals over seeds."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special


def interval(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Mean of values over seeds with the half-width of its 95 % interval (Student's t); null for a single value."""
    ci95 = None
    if len(values) > 1:
        ci95 = float(special.stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "ci95": ci95, "values": [float(value) for value in values]}
