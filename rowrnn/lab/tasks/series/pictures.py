"""Figures of forecasters: what they said of test rows, and how errors grow with the distance.

Arrays: `MODEL/errors`, `[seeds, 3, horizon]`: squared and absolute error and share inside the interval; of windows of
the test rows `MODEL/past` `[n, targets, lookback]`, `MODEL/truth` `[n, targets, horizon]` and, of the first seed,
`MODEL/answers` `[n, targets, horizon, 3]`.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays, band, legend, line_styles
from rowrnn.lab.runs.record import Record

SENTENCES = {
    "errors_ahead": "How errors grow with the distance: where a curve is flat, what comes is as well known far ahead "
    "as near.",
    "forecast": "What each model expects of some test rows, and its interval, in which four of five values should lie.",
}
WINDOWS, PAST = 3, 3  # windows that are drawn, and how many times the coming rows the drawn past is at most


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the errors by distance, and for each model what it said of some windows."""
    # Of several horizons the farthest, whose curves have all distances.
    farthest = max(row.get("horizon", 0) for row in record.summary)
    titles = [row["model"] for row in record.summary if row.get("horizon", 0) == farthest]
    figures = {"errors_ahead": errors_ahead(titles, arrays)}
    for title in titles:
        name = "forecast_" + "".join(letter if letter.isalnum() else "_" for letter in title.lower())
        figures[name] = forecast_of_test(title, record.data["targets"], arrays)
    return figures


def errors_ahead(titles: Sequence[str], arrays: Arrays) -> Figure:
    """Draws the mean squared error by the number of rows ahead."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for style, title in zip(line_styles(), titles, strict=False):
        squared = arrays[f"{title}/errors"][:, 0]
        ahead = np.arange(1, squared.shape[1] + 1)
        band(axes, ahead, squared.T, style["color"], title, limits=(0.0, np.inf), linestyle=style["linestyle"])
    axes.set(title="How far ahead?", xlabel="rows ahead", ylabel="mean squared error of the test rows")
    axes.set_ylim(bottom=0)
    legend(axes, fontsize=8)
    return figure


def forecast_of_test(title: str, targets: list[str], arrays: Arrays) -> Figure:
    """Draws windows of the test rows: of the last target what was read, what came and what was said."""
    past, truth, answers = (arrays[f"{title}/{name}"] for name in ("past", "truth", "answers"))
    count = min(WINDOWS, len(past))
    figure, panels = plt.subplots(count, 1, figsize=(9, 2.4 * count), squeeze=False)
    for number, axes in enumerate(panels[:, 0]):
        _draw_one(axes, past[number, -1], answers[number, -1])
        axes.plot(np.arange(1, truth.shape[2] + 1), truth[number, -1], color="black", linewidth=1, label="what came")
    panels[0, 0].set_title(f"{title}: {targets[-1]}, in standard deviations")
    panels[-1, 0].set_xlabel("rows ahead")
    _legend(figure, panels[0, 0])
    return figure


def draw_forecast(
    of_targets: Mapping[str, tuple[Float[np.ndarray, "lookback"], Float[np.ndarray, "horizon 3"]]],
) -> Figure:
    """Draws what was read of each target, and its forecast.

    Args:
        of_targets: by target the values that were read, and the expected ones with their quantiles.
    """
    figure, panels = plt.subplots(len(of_targets), 1, figsize=(9, 2.2 * len(of_targets) + 0.6), squeeze=False)
    for axes, (target, (past, answers)) in zip(panels[:, 0], of_targets.items(), strict=True):
        _draw_one(axes, past, answers)
        axes.set_ylabel(target)
    panels[-1, 0].set_xlabel("rows ahead")
    _legend(figure, panels[0, 0])
    return figure


def _legend(figure: Figure, axes: Axes) -> None:
    """Names the curves of a panel beside all of them; the band is an interval of values, not over seeds."""
    figure.legend(*axes.get_legend_handles_labels(), fontsize=8, loc="outside right upper")


def _draw_one(axes: Axes, past: Float[np.ndarray, "lookback"], answers: Float[np.ndarray, "horizon 3"]) -> None:
    shown = past[-PAST * max(8, len(answers)) :]
    axes.plot(np.arange(1 - len(shown), 1), shown, color="grey", linewidth=1, label="read")
    ahead = np.arange(1, len(answers) + 1)
    expected, low, high = answers.T
    axes.plot(ahead, expected, color="tab:blue", label="expected")
    axes.fill_between(ahead, low, high, color="tab:blue", alpha=0.25, linewidth=0, label="4 of 5 values")
    axes.axvline(0.5, color="lightgrey", linewidth=1)
