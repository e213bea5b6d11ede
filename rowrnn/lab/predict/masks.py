"""Answers about pictures as masks: which pixels belong to an object."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from scipy import ndimage

from rowrnn.errors import InputError
from rowrnn.lab.data.labelled import shaped
from rowrnn.lab.data.listing import Item
from rowrnn.lab.predict.answer import Answer
from rowrnn.lab.tasks.masks.pictures import answered
from rowrnn.lab.tasks.masks.task import probabilities
from rowrnn.lab.tasks.masks.tiles import by_tiles
from rowrnn.saving import Card

TILE, OVERLAP = 256, 64
"""Height and width of the tiles that larger pictures are read in, and the fewest pixels that neighbours share."""


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns what share of each picture belongs to objects, and how many parts that are not connected they have.

    The probability is the mean over the pixels of how sure the model is of each, whether object or not.
    """
    answers = []
    for item in items:
        try:
            found = _found(model, card, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        mask = found > 0.5
        _, parts = ndimage.label(mask)
        sure = float(np.maximum(found, 1 - found).mean())
        words = f"{100 * mask.mean():.1f} % in {parts} part{'s' * (parts != 1)}"
        answers.append(Answer(item.name, words, sure, details={"share": float(mask.mean()), "parts": int(parts)}))
    return answers


def _picture(card: Card, item: Item) -> UInt8[np.ndarray, "h w c"]:
    """Reads a picture in its own size."""
    return shaped(dataclasses.replace(card.needed_preprocessing(), size=(None, None)), item)


def _found(model: Any, card: Card, item: Item) -> Float[np.ndarray, "h w"]:
    """Returns the probability of each pixel of a picture."""
    floats = card.needed_preprocessing().to_floats(_picture(card, item))
    return by_tiles(partial(_probabilities, model), np.asarray(floats), TILE, OVERLAP)


@jax.jit
def _probabilities(model: Any, images: Any) -> Any:
    return probabilities(model, images)


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws a picture with the outlines of what was found."""
    return answered(_picture(card, item), _found(model, card, item), answer.answer)


def images_of(model: Any, card: Card, item: Item) -> dict[str, UInt8[np.ndarray, "1 h w"]]:
    """Returns the mask of a picture, 255 where an object is, by the ending of its file."""
    return {"-mask.png": np.where(_found(model, card, item) > 0.5, 255, 0).astype(np.uint8)[None]}
