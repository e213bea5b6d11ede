"""Figures and the animation of models that write images: samples, endings of half-seen images, and where their nats go.

Arrays: `MODEL/samples` `[n, h, w, c]`, `MODEL/nearest` `[n, h, w, c]` the training image nearest to each; `given`
`[m, h, w, c]` images of which the first rows were given, `MODEL/endings` `[m, k, h, w, c]`; `MODEL/surprise` `[h, w]`
mean nats of each pixel, and `MODEL/context` `[h, w]`, by how much the prediction of the middle pixel depends on each
value before it. Images are grey values or colours from 0 to 255, binary ones too.
"""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays, frame_only, show_picture
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.generation.writing import writing

SHOWN = 10  # samples beside the nearest training images
SENTENCES = {
    "samples": "Images that the model wrote, and below each the training image nearest to it: a model that learnt its "
    "images by heart would write those.",
    "endings": "Images of which the upper half was given, left the true one, and the endings that the model drew.",
    "writing": "The images that the models wrote, row by row, as they were drawn.",
    "surprise": "Where the nats go: the mean surprise of each pixel of the test images, and what the prediction of the "
    "middle pixel sees of those before it.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws samples and endings of each model, and the surprise of all."""
    figures = {}
    for row in record.summary:
        title, name = row["model"], file_name(row["model"])
        figures[f"samples_{name}"] = samples(title, arrays)
        figures[f"endings_{name}"] = endings(title, arrays)
    return figures | {"surprise": surprise([row["model"] for row in record.summary], arrays)}


def animations(record: Record, arrays: Arrays) -> dict[str, np.ndarray]:
    """Renders images while they are written, `[t, height, width, 3]`, uint8."""
    return {"writing": writing([row["model"] for row in record.summary], arrays)}


def samples(title: str, arrays: Arrays) -> Figure:
    """Draws samples, and below each the nearest training image."""
    drawn, nearest = (arrays[f"{title}/{name}"][:SHOWN] for name in ("samples", "nearest"))
    figure, panels = plt.subplots(2, len(drawn), figsize=(1.1 * len(drawn), 2.7), squeeze=False)
    for column, (one, other) in enumerate(zip(drawn, nearest, strict=True)):
        show_picture(panels[0, column], one)
        show_picture(panels[1, column], other)
    figure.suptitle(f"{title}: above what it wrote, below the nearest training image", fontsize=10)
    return figure


def endings(title: str, arrays: Arrays) -> Figure:
    """Draws half-seen images, the true one first, and the endings that a model drew."""
    given, drawn = arrays["given"], arrays[f"{title}/endings"]
    lines, across = len(drawn), 1 + drawn.shape[1]
    figure, panels = plt.subplots(lines, across, figsize=(1.1 * across, 1.1 * lines + 0.5), squeeze=False)
    for line, (image, ends) in enumerate(zip(given, drawn, strict=True)):
        show_picture(panels[line, 0], image)
        for column, end in enumerate(ends, 1):
            show_picture(panels[line, column], end)
            panels[line, column].axhline(image.shape[0] / 2 - 0.5, color="tab:orange", linewidth=0.8)
    figure.suptitle(f"{title}: left the true image, then endings of its upper half", fontsize=10)
    return figure


def surprise(titles: list[str], arrays: Arrays) -> Figure:
    """Draws the mean surprise of each pixel, and what the prediction of the middle pixel sees."""
    figure, panels = plt.subplots(2, len(titles), figsize=(max(7.5, 2.6 * len(titles)), 5.4), squeeze=False)
    most = max(float(arrays[f"{title}/surprise"].max()) for title in titles)
    drawn: Any = None
    for column, title in enumerate(titles):
        drawn = panels[0, column].imshow(arrays[f"{title}/surprise"], cmap="magma", vmin=0, vmax=most)
        panels[0, column].set_title(title, fontsize=9)
        context = np.log10(np.maximum(arrays[f"{title}/context"], 1e-12))
        panels[1, column].imshow(context, cmap="viridis", vmin=context.max() - 6, vmax=context.max())
        for axes in panels[:, column]:
            frame_only(axes)
    figure.colorbar(drawn, ax=panels[0], shrink=0.8, label="nats")
    figure.suptitle("Above the mean surprise of each pixel, below what the middle one sees (log scale)", fontsize=10)
    return figure
