"""Pictures of answers about images: the picture, what the model sees of it, and how gates and answer go row by row."""

from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.predict.answer import Answer, shown
from rowrnn.lab.report.style import shortened, show_picture
from rowrnn.lab.tasks.classification import gate_picture
from rowrnn.lab.tasks.classification.read_along import read_along
from rowrnn.models import Classifier
from rowrnn.saving.card import Card

CLASSES = 10  # most probable classes that are drawn
CURVES = 6  # classes that were the most probable ones after some row
ABOVE = 3.6  # inches


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Figure:
    """Draws a picture with its answer; for a model that reads rows of pixels, what happened in it row by row too."""
    picture = read_picture(item)
    seen = np.asarray(card.needed_preprocessing().to_bytes(picture[None]))
    floats = jnp.asarray(card.needed_preprocessing().to_floats(seen))
    if isinstance(model, Classifier):
        along = jax.tree.map(np.asarray, jax.jit(read_along)(model, floats))
        width, height = gate_picture.size(along)
        figure = plt.figure(figsize=(max(10.0, width), height + ABOVE))
        parts: Any = figure.subfigures(2, 1, height_ratios=[ABOVE, height])
        above, below = parts
        sorted_by = gate_picture.draw(below, seen[0], along, card.classes, "read from the top")
        below.suptitle(f"every unit, row by row; units are sorted by their mean activation of the {sorted_by}", size=10)
    else:
        figure = plt.figure(figsize=(10, ABOVE))
        above, along = figure, None
    panels = above.subplots(1, 3, width_ratios=[1, 1, 1.4])
    _show(panels[0], picture, shown(item.name))
    _show(panels[1], seen[0], "as the network sees it")
    probability = np.array([answer.details["probabilities"][name] for name in card.classes])
    best = np.argsort(-probability, kind="stable")[:CLASSES]
    if along is None:
        panels[2].barh(range(len(best)), 100 * probability[best], color="C0")
        panels[2].set_yticks(range(len(best)), [shortened(card.classes[k]) for k in best])
        panels[2].invert_yaxis()
        panels[2].set(xlabel="probability (%)", xlim=(0, 100))
    else:
        rows = 100 * along["probability"]
        for k in np.argsort(-rows.max(axis=0), kind="stable")[:CURVES]:
            panels[2].plot(range(1, len(rows) + 1), rows[:, k], label=shortened(card.classes[k]))
        panels[2].set(xlabel="rows read, from the top", ylabel="probability (%)", ylim=(-2, 102))
        panels[2].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    unsure = ", unsure" if answer.unsure() else ""
    figure.suptitle(f"{shortened(answer.answer, 80)}: {answer.probability:.1%}{unsure}")
    return figure


def _show(axes: Axes, image: np.ndarray, title: str) -> None:
    show_picture(axes, image)
    axes.set_title(shortened(title), fontsize=9)
