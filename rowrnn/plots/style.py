"""How pictures look, and a curve with its interval."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from rowrnn.report import interval

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
    """Mean and 95 % interval over the seeds, the last axis of `values`; the axes show all values, not all intervals."""
    over_seeds = [interval(point) for point in values]
    mean = np.array([point["mean"] for point in over_seeds])
    ci95 = np.array([point["ci95"] or 0.0 for point in over_seeds])
    axes.plot(x, mean, color=color, label=label, marker="o", markersize=3)
    axes.update_datalim([point for seed in values.T for point in zip(x, seed, strict=True)])
    # Two seeds that differ have an interval of many times their difference: curves would be flat beside it.
    shown = axes.dataLim.frozen()
    axes.fill_between(x, mean - ci95, mean + ci95, color=color, alpha=0.2, linewidth=0)
    axes.dataLim.set(shown)
