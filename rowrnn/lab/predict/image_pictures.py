"""Pictures of answers about images: the picture, what the model sees of it, and how its answer forms row by row."""

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
from rowrnn.saving.card import Card

CLASSES = 10  # most probable classes that are drawn


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Figure:
    """Draws a picture with its answer, and for a model that reads row by row the probabilities after each row."""
    picture = read_picture(item)
    seen = np.asarray(card.needed_preprocessing().to_bytes(picture[None]))
    by_row = getattr(model, "logits_by_row", None)
    figure, panels = plt.subplots(1, 3, figsize=(10, 3.6), width_ratios=[1, 1, 1.4])
    _show(panels[0], picture, shown(item.name))
    _show(panels[1], seen[0], "as the network sees it")
    probability = np.array([answer.details["probabilities"][name] for name in card.classes])
    best = np.argsort(-probability, kind="stable")[:CLASSES]
    if by_row is None:
        panels[2].barh(range(len(best)), 100 * probability[best], color="C0")
        panels[2].set_yticks(range(len(best)), [card.classes[k] for k in best])
        panels[2].invert_yaxis()
        panels[2].set(xlabel="probability (%)", xlim=(0, 100))
    else:
        floats = jnp.asarray(card.needed_preprocessing().to_floats(seen))
        rows = 100 * np.asarray(jax.nn.softmax(jax.jit(by_row)(floats)))[0]
        for k in best[: min(CLASSES, 6)]:
            panels[2].plot(range(1, len(rows) + 1), rows[:, k], label=card.classes[k])
        panels[2].set(xlabel="rows read, from the top", ylabel="probability (%)", ylim=(-2, 102))
        panels[2].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    unsure = ", unsure" if answer.unsure() else ""
    figure.suptitle(f"{answer.answer}: {answer.probability:.1%}{unsure}")
    return figure


def _show(axes: Axes, image: np.ndarray, title: str) -> None:
    axes.imshow(image if image.shape[-1] == 3 else image[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_title(title if len(title) <= 30 else f"…{title[-29:]}", fontsize=9)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
