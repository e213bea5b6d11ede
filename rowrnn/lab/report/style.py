"""The style of the figures, curves with confidence bands, and the ticks of logarithmic axes."""

import contextlib
import itertools
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from PIL import Image

from rowrnn.lab.report.statistics import interval

Arrays = Mapping[str, np.ndarray]

COLORS = matplotlib.color_sequences["tab10"]
LINES = ("-", "--", ":", "-.")  # line styles of the first ten curves, the next ten, …
PERCENT = (0.0, 100.0)
MILLISECONDS = 150
"""Time that each frame of an animation is shown."""
STYLE = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "text.parse_math": False,  # Names of people's classes and files may have a $.
}


def save_images(path: Path, images: Iterable[np.ndarray]) -> None:
    """Writes an image, `[h, w]` or `[h, w, 3]`, uint8, or several as an animation."""
    first, *others = map(Image.fromarray, images)
    film: dict[str, Any] = {"save_all": True, "append_images": others, "duration": MILLISECONDS, "loop": 0}
    first.save(path, **(film if others else {}))


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draws in `STYLE`, without showing windows; a character that no font has is a box, and no warning."""
    with plt.rc_context(STYLE), plt.ioff(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def shortened(name: str, most: int = 30) -> str:
    """Returns a name with dots in its middle where it has more than so many characters: a picture has little room."""
    return name if len(name) <= most else f"{name[: most - most // 3 - 1]}…{name[-(most // 3) :]}"


def line_styles() -> Iterator[dict[str, Any]]:
    """Yields colour and line style of one curve after another, different for the first forty."""
    for style in itertools.cycle(LINES):
        for color in COLORS:
            yield {"color": color, "linestyle": style}


def band(
    axes: Axes,
    x: np.ndarray,
    values: np.ndarray,
    color: Any,
    label: str,
    *,
    limits: tuple[float, float] = (-np.inf, np.inf),
    linestyle: str = "-",
) -> None:
    """Draws the mean over seeds, the last axis of `values`, and its 95 % interval if there are two seeds or more.

    The limits of the axes ignore the interval.

    Args:
        axes: where to draw.
        x: one position for each value.
        values: values by position and seed.
        color: colour of the curve.
        label: its name in the legend.
        limits: least and greatest value that is possible; the interval is drawn between them.
        linestyle: style of the line.
    """
    over_seeds = [interval(point) for point in values]
    mean = np.array([point["mean"] for point in over_seeds])
    axes.plot(x, mean, color=color, label=label, linestyle=linestyle, marker="o", markersize=3)
    axes.update_datalim(np.column_stack([np.repeat(x, values.shape[1]), values.ravel()]))
    if values.shape[1] < 2:
        return
    ci95 = np.array([point["ci95"] for point in over_seeds])
    low, high = np.clip([mean - ci95, mean + ci95], *limits)
    # For two seeds the interval extends six times their difference to both sides: it would flatten the curves.
    if len(x) == 1:  # A band has no width at a single position.
        shade = LineCollection([[(x[0], low[0]), (x[0], high[0])]], color=color, alpha=0.3, linewidth=5)
    else:
        shade = FillBetweenPolyCollection(
            "x", x, low, high, where=np.isfinite(mean).tolist(), color=color, alpha=0.2, linewidth=0
        )
    axes.add_collection(shade, autolim=False)


def legend(axes: Axes, on: Figure | None = None, **options: Any) -> None:
    """Adds a legend, with an entry for the bands if there are any.

    Args:
        axes: axes whose curves it names.
        on: figure to put it on; on the axes where not given.
        options: options of Matplotlib's legend.
    """
    handles, labels = axes.get_legend_handles_labels()
    if any(isinstance(shade, FillBetweenPolyCollection | LineCollection) for shade in axes.collections):
        handles.append(Patch(color="grey", alpha=0.3, linewidth=0))
        labels.append("95 % interval over seeds")
    (on or axes).legend(handles, labels, **options)


def frame_only(axes: Axes) -> None:
    """Takes ticks and grid from the axes of a picture, and gives it a thin frame, since paper is white."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color="lightgrey")


def show_picture(axes: Axes, image: UInt8[np.ndarray, "h w c"]) -> None:
    """Draws a picture, grey or in colour, in a thin frame."""
    axes.axis("on")
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
    frame_only(axes)


def log_ticks(axes: Axes) -> None:
    """Makes the vertical axis logarithmic, with at least two labelled ticks whatever its limits are."""
    axes.set_yscale("log")
    bottom, top = axes.get_ylim()
    decades = np.log10(top / bottom)
    if decades < 1:
        axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    else:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
