"""Figures of models of images of one class each: what they write, and how probable images of another kind are.

Arrays: `MODEL/written` `[classes, n, h, w, c]` levels; `MODEL/bits` `[m]` bits that the first seed's models take for an
image, own ones first, `MODEL/strange` `[m]` 1 for images of the other set, and `MODEL/compressed` `[m]` the bits of
their PNG files.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import COLORS, Arrays, legend, shortened, show_picture
from rowrnn.lab.runs.record import Record

BINS, DOTS = 60, 1_000  # of a histogram; images of a kind that are drawn as dots
SENTENCES = {
    "written": "Images that the model of each class wrote.",
    "stranger": "Left, whether images of another kind are less probable, further right: a model of images holds plain "
    "ones for probable, whatever they show. Right, beside the size of their PNG files, which says how plain they are.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws what was written, and how probable own and other images are."""
    title = record.summary[0]["model"]
    return {"written": written(title, record, arrays), "stranger": stranger(title, record, arrays)}


def written(title: str, record: Record, arrays: Arrays) -> Figure:
    """Draws a column of images for each class."""
    of_class, names = arrays[f"{title}/written"], record.data["class_names"]
    classes, count = of_class.shape[:2]
    figure, panels = plt.subplots(
        count, classes, figsize=(max(5.0, 1.0 * classes + 0.4), 1.0 * count + 0.8), squeeze=False
    )
    for column, (images, name) in enumerate(zip(of_class, names, strict=True)):
        panels[0, column].set_title(shortened(name, 12), fontsize=8)
        for line, image in enumerate(images):
            show_picture(panels[line, column], image)
    figure.suptitle(f"{title}: images that the model of each class wrote", fontsize=10)
    return figure


def stranger(title: str, record: Record, arrays: Arrays) -> Figure:
    """Draws a histogram of the bits of own and other images, and beside it the bits of their PNG files."""
    bits, compressed, strange = (arrays[f"{title}/{name}"] for name in ("bits", "compressed", "strange"))
    kinds = {record.data["name"]: strange == 0, record.protocol["others"]: strange == 1}
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    edges = np.linspace(bits.min(), np.quantile(bits, 0.999), BINS + 1)
    for color, (name, chosen) in zip(COLORS, kinds.items(), strict=False):
        left.hist(bits[chosen], edges, color=color, alpha=0.6, density=True, label=shortened(name))
        some = np.flatnonzero(chosen)[:DOTS]
        right.plot(compressed[some], bits[some], ".", color=color, markersize=2, alpha=0.5, label=shortened(name))
    left.set(title="How probable are images of another kind?", xlabel="bits that the model takes for an image")
    left.set_yticks([])
    right.set(title="And for their size?", xlabel="bits of the PNG file", ylabel="bits that the model takes")
    for axes in (left, right):
        legend(axes, fontsize=8)
    return figure
