"""Figures of detectors: test pictures with the boxes that were said, and where a decoder looked for each.

Arrays: `MODEL/images` `[n, h, w, c]`, uint8, some test pictures, and `MODEL/true_boxes`, `true_classes` and
`true_counts`; of the first seed `MODEL/boxes`, `classes`, `scores` and `places` in the order in which they were said,
and of a decoder `MODEL/attention`, `[n, k, gh, gw]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rowrnn.lab.report.style import COLORS, Arrays, show_picture
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.models.boxes import PLACE

LOOKS = 12  # steps of which the attention is drawn
SENTENCES = {
    "found": "Test pictures: on the left the boxes that people or the maker gave, on the right those that the model "
    "found, numbered in the order in which it said them; a colour for each class.",
    "looks": "Where the decoder looked for each of its first boxes: bright places are where it would say the next "
    "object; those it has named grow dark.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws some test pictures with their boxes for each model, and the attention of each decoder."""
    figures = {}
    for row in record.summary:
        title, name = row["model"], file_name(row["model"])
        figures[f"found_{name}"] = found(row, record.data["classes"], arrays)
        if f"{title}/attention" in arrays:
            figures[f"looks_{name}"] = looks(row, record.data["classes"], arrays)
    return figures


def found(row: Mapping[str, Any], classes: Sequence[str], arrays: Arrays) -> Figure:
    """Draws test pictures twice: with their true boxes, and with those of a model."""
    of = {name.removeprefix(f"{row['model']}/"): array for name, array in arrays.items()}
    images = of["images"]
    height, width = images.shape[1:3]
    across = 2 if width >= height else 3
    lines = -(-len(images) // across)
    size = (3.2 * 2 * across, 3.2 * height / width * lines + 0.8)
    figure, panels = plt.subplots(lines, 2 * across, figsize=size, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for number, image in enumerate(images):
        true, said = (panels[number // across, 2 * (number % across) + side] for side in range(2))
        show_picture(true, image)
        for place in range(of["true_counts"][number]):
            kind = of["true_classes"][number, place]
            draw_box(true, of["true_boxes"][number, place], classes[kind], COLORS[kind % len(COLORS)])
        show_picture(said, image)
        sure = np.flatnonzero(of["scores"][number] >= row["threshold"])
        for turn, place in enumerate(sure, 1):
            kind = of["classes"][number, place]
            words = f"{turn} {classes[kind]}"
            draw_box(said, of["boxes"][number, place], words, COLORS[kind % len(COLORS)])
    figure.suptitle(f"{row['model']}: left the true boxes, right those that it found, in the order of the numbers")
    return figure


def looks(row: Mapping[str, Any], classes: Sequence[str], arrays: Arrays) -> Figure:
    """Draws where a decoder looked for each of its first boxes of two pictures."""
    of = {name.removeprefix(f"{row['model']}/"): array for name, array in arrays.items()}
    numbers = range(min(2, len(of["images"])))
    across = LOOKS // 2
    height, width = of["images"].shape[1:3]
    size = (2.2 * across, (2.2 * height / width + 0.3) * 2 * len(numbers) + 0.6)
    figure, panels = plt.subplots(2 * len(numbers), across, figsize=size, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for number in numbers:
        sure = np.flatnonzero(of["scores"][number] >= row["threshold"])[:LOOKS]
        some = panels[2 * number : 2 * number + 2].flat
        for turn, (axes, step) in enumerate(zip(some, sure, strict=False), 1):
            show_picture(axes, of["images"][number])
            share = of["attention"][number, step].astype(np.float32)
            extent = (-0.5, PLACE * share.shape[1] - 0.5, PLACE * share.shape[0] - 0.5, -0.5)
            axes.imshow(share**0.5, cmap="inferno", alpha=0.6, extent=extent, vmin=0)
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            kind = of["classes"][number, step]
            draw_box(axes, of["boxes"][number, step], "", "white")
            axes.set_title(f"{turn} {classes[kind]}", fontsize=9)
    figure.suptitle(f"{row['model']}: where it looked (bright) for each box (white) that it said")
    return figure


def draw_box(axes: Axes, box: Any, words: str, color: Any) -> None:
    """Draws a box, left, top, right and bottom edge in pixels, with words in its upper left corner."""
    left, top, right, bottom = (float(edge) - 0.5 for edge in box)
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, edgecolor=color, linewidth=1.2))
    if words:
        how = {"facecolor": color, "alpha": 0.8, "pad": 0.8, "linewidth": 0}
        axes.text(left, top, words, fontsize=6, color="white", bbox=how, clip_on=True)


def answered(image: UInt8[np.ndarray, "h w c"], objects: Sequence[Mapping[str, Any]], words: str) -> Figure:
    """Draws a picture with the objects that a model found, in the order in which it said them."""
    height, width = image.shape[:2]
    figure, axes = plt.subplots(figsize=(8, max(2.5, 8 * height / width)))
    show_picture(axes, image)
    kinds = list(dict.fromkeys(one["class"] for one in objects))
    for turn, one in enumerate(objects, 1):
        left, top, wide, high = one["box"]
        color = COLORS[kinds.index(one["class"]) % len(COLORS)]
        draw_box(axes, (left, top, left + wide, top + high), f"{turn} {one['class']}", color)
    figure.suptitle(f"{words}\nNumbers: the order in which it said them", fontsize=10)
    return figure
