"""Figure of language models: how well a symbol is predicted, by the number of symbols before it.

The array `MODEL/nats`, `[seeds, t]`, is the mean cross-entropy of the symbol at each place of a piece of text.
"""

import itertools
import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import COLORS, Arrays, band, legend
from rowrnn.lab.runs.record import Record

SENTENCES = {
    "by_context": "How much each further symbol before it helps to predict the next: a curve that still falls at its "
    "right end uses what stands far back.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the cross-entropy by the number of symbols before."""
    return {"by_context": by_context(record, arrays)}


def by_context(record: Record, arrays: Arrays) -> Figure:
    """Draws the mean cross-entropy, over places that double in number from one mark to the next."""
    figure, axes = plt.subplots(figsize=(8, 4.5))
    for color, row in zip(COLORS, record.summary, strict=False):
        of_place = arrays[f"{row['model']}/nats"]
        places = of_place.shape[1]
        edges = sorted({0, *(2**k for k in range(int(math.log2(places)) + 1)), places})
        pairs = list(itertools.pairwise(edges))
        parts = [of_place[:, first:last].mean(axis=1) for first, last in pairs]
        middle = np.array([(first + last + 1) / 2 for first, last in pairs])
        band(axes, middle, np.array(parts), color, row["model"], limits=(0.0, np.inf))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    unit = record.protocol["unit"]
    axes.set(
        title="How far back does it help to look?",
        xlabel=f"{unit}s that were read before",
        ylabel=f"nats for each {unit} of the test text",
    )
    legend(axes, fontsize=8)
    return figure
