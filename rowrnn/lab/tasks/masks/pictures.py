"""Figures of segmenters: test pictures with the outlines of what people and what a model painted.

Arrays: `MODEL/images` `[n, h, w, c]`, uint8, some test pictures, `MODEL/masks` `[n, h, w]`, and `MODEL/probabilities`
`[n, h, w]` of the first seed.
"""

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays, frame_only, show_picture
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.masks.task import overlap

SENTENCES = {
    "painted": "Test pictures: on top the outlines that people drew (green) and that the model found (red), below how "
    "sure it is of each pixel: grey is where it is not.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws some test pictures with their masks, for each model."""
    return {f"painted_{file_name(row['model'])}": painted(row["model"], arrays) for row in record.summary}


def painted(title: str, arrays: Arrays) -> Figure:
    """Draws test pictures with both outlines, and the probabilities below."""
    images, masks, found = (arrays[f"{title}/{name}"] for name in ("images", "masks", "probabilities"))
    figure, panels = plt.subplots(2, len(images), figsize=(2.3 * len(images), 5.0), squeeze=False)
    iou, _ = overlap(found > 0.5, masks.astype(bool))
    for column, (image, mask, probability) in enumerate(zip(images, masks, found, strict=True)):
        show_picture(panels[0, column], image)
        outline(panels[0, column], mask.astype(bool), "tab:green")
        outline(panels[0, column], probability > 0.5, "tab:red")
        panels[0, column].set_title(f"IoU {100 * iou[column]:.0f} %", fontsize=9)
        panels[1, column].imshow(probability, cmap="gray", vmin=0, vmax=1)
        frame_only(panels[1, column])
    figure.suptitle(f"{title}: people's outlines green, the model's red; below, how sure it is", fontsize=10)
    return figure


def outline(axes: Axes, mask: Bool[np.ndarray, "h w"], color: str) -> None:
    """Draws the outline of a mask; one without an object, or of nothing else, has none."""
    if mask.any() and not mask.all():
        axes.contour(mask.astype(np.float32), levels=[0.5], colors=[color], linewidths=1)


def answered(image: UInt8[np.ndarray, "h w c"], probability: Float[np.ndarray, "h w"], words: str) -> Figure:
    """Draws a picture with the outlines that a model found, beside the probabilities."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4.6))
    show_picture(left, image)
    outline(left, probability > 0.5, "tab:red")
    right.imshow(probability, cmap="gray", vmin=0, vmax=1)
    frame_only(right)
    figure.suptitle(f"{words}\nRed: outlines; right: how sure it is of each pixel", fontsize=10)
    return figure
