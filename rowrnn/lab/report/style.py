"""The style of the figures, and curves with confidence bands."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection

from rowrnn.lab.report.statistics import interval

Arrays = Mapping[str, np.ndarray]

COLORS = matplotlib.color_sequences["tab10"]
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
}


def band(axes: Axes, x: np.ndarray, values: np.ndarray, color: Any, label: str) -> None:
    """Draws mean and 95 % interval over seeds, the last axis of `values`; the limits of the axes ignore intervals."""
    over_seeds = [interval(point) for point in values]
    mean = np.array([point["mean"] for point in over_seeds])
    ci95 = np.array([point["ci95"] or 0.0 for point in over_seeds])
    axes.plot(x, mean, color=color, label=label, marker="o", markersize=3)
    axes.update_datalim(np.column_stack([np.repeat(x, values.shape[1]), values.ravel()]))
    # For two seeds the interval extends six times their difference to both sides: it would flatten the curves.
    shade = FillBetweenPolyCollection(
        "x", x, mean - ci95, mean + ci95, where=np.isfinite(mean).tolist(), color=color, alpha=0.2, linewidth=0
    )
    axes.add_collection(shade, autolim=False)
