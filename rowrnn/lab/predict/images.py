"""Answers about images: the class of each."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from rowrnn.errors import InputError
from rowrnn.lab.data.labelled import shaped
from rowrnn.lab.data.listing import Item
from rowrnn.lab.predict.answer import Answer, of_probabilities
from rowrnn.saving.card import Card

BATCH = 64  # images at a time


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns the class of each picture; one that cannot be read gets an answer with the error."""
    answers: dict[str, Answer] = {}
    preprocessing, readable, pictures = card.needed_preprocessing(), [], []
    for item in items:
        try:
            pictures.append(shaped(preprocessing, item))
            readable.append(item)
        except InputError as error:
            answers[item.name] = Answer(item.name, error=str(error))
    for item, of_item in zip(readable, probabilities(model, card, pictures), strict=True):
        answers[item.name] = of_probabilities(item.name, card.classes, of_item, {})
    return [answers[item.name] for item in items]


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws an answer; see `rowrnn.lab.predict.image_pictures`."""
    from rowrnn.lab.predict import image_pictures  # Imported only where used: Matplotlib takes long.

    return image_pictures.picture_of(model, card, item, answer)


def probabilities(model: Any, card: Card, pictures: Sequence[np.ndarray]) -> Float[np.ndarray, "n classes"]:
    """Returns the probability of every class for pictures as the model sees them, uint8 `[h, w, c]` of one size."""
    if not pictures:
        return np.zeros((0, len(card.classes)), np.float32)
    size = min(BATCH, len(pictures))
    to_floats = card.needed_preprocessing().to_floats
    ask = jax.jit(lambda model, images: jax.nn.softmax(model(to_floats(images))))
    found = []
    for start in range(0, len(pictures), size):
        batch = np.stack(pictures[start : start + size])
        spare = np.zeros((size - len(batch), *batch.shape[1:]), batch.dtype)  # one shape is compiled once
        found.append(np.asarray(ask(model, jnp.asarray(np.concatenate([batch, spare]))))[: len(batch)])
    return np.concatenate(found)
