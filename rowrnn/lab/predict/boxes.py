"""Answers about pictures as boxes: which objects are there, and where."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.predict.answer import Answer
from rowrnn.lab.tasks.boxes.files import boxes_before
from rowrnn.lab.tasks.boxes.pictures import answered
from rowrnn.saving import Card


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns how many objects of each class each picture has, and for programs every object with its box.

    The probability is that of the object of which the model is least sure; where it sees none, that there is none of
    the most probable.
    """
    answers = []
    for item in items:
        try:
            picture = read_picture(item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        answers.append(_answer(model, card, item.name, picture))
    return answers


def _answer(model: Any, card: Card, name: str, picture: np.ndarray) -> Answer:
    preprocessing = card.needed_preprocessing()
    boxes, kinds, scores = (np.asarray(part)[0] for part in _found(model, preprocessing(picture[None])))
    if kinds.max() >= len(card.classes):
        raise InputError(
            f"The model tells class {kinds.max()}, and its card names {len(card.classes)}: give rowrnn.save the card "
            "of this model."
        )
    height, width = picture.shape[:2]
    boxes = boxes_before(preprocessing, boxes, (height, width))
    sure = scores >= card.least_score
    objects = [
        {"class": card.classes[kind], "score": float(score), "box": _corner_and_size(box)}
        for box, kind, score in zip(boxes[sure], kinds[sure], scores[sure], strict=True)
    ]
    counted = Counter(one["class"] for one in objects)
    words = ", ".join(f"{counted[of_class]} {of_class}" for of_class in card.classes if counted[of_class])
    probability = float(scores[sure].min()) if sure.any() else 1 - float(scores.max())
    return Answer(name, words or "no object", probability, details={"objects": objects})


def _corner_and_size(box: np.ndarray) -> list[float]:
    """Returns left and top edge, width and height in pixels of the picture, to a tenth."""
    left, top, right, bottom = map(float, box)
    return [round(edge, 1) for edge in (left, top, right - left, bottom - top)]


@jax.jit
def _found(model: Any, images: Any) -> Any:
    return model(images)


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws a picture with the boxes that were found, numbered in the order in which they were said."""
    del model, card
    return answered(read_picture(item), answer.details["objects"], answer.answer)
