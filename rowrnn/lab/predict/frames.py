"""Answers about films as the frames that come next."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from rowrnn.errors import InputError
from rowrnn.lab.data.clips import shaped_clip
from rowrnn.lab.data.listing import Item
from rowrnn.lab.predict.answer import Answer
from rowrnn.lab.tasks.frames.pictures import continued
from rowrnn.saving import Card


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns how far the frames that come after each film differ from its last one."""
    answers = []
    for item in items:
        try:
            given, coming = _continued(model, card, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        changed = float(np.abs(coming[-1] - given[-1] / 255).mean())
        words = f"{len(coming)} frames; by the last one pixels change by {100 * changed:.1f} % on average"
        answers.append(Answer(item.name, words, details={"ahead": len(coming), "changed": changed}, comes_next=True))
    return answers


def _continued(
    model: Any, card: Card, item: Item
) -> tuple[UInt8[np.ndarray, "given h w c"], Float[np.ndarray, "ahead h w c"]]:
    """Returns the last frames of a film that the model reads, and those that it predicts.

    Raises:
        InputError: if the film cannot be read or has too few frames, or the card does not say how many it needs.
    """
    if card.given is None or card.ahead is None:
        raise InputError(
            "The model's card does not say how many frames it reads and predicts: give rowrnn.save a card with given "
            "and ahead."
        )
    frames = shaped_clip(card.needed_preprocessing(), item)
    if len(frames) < card.given:
        raise InputError(f"{item.name} has {len(frames)} frames; expected {card.given} or more, from which it goes on.")
    given = frames[-card.given :]
    floats = card.needed_preprocessing().to_floats(given)
    return given, np.clip(np.asarray(_predicted(model, np.asarray(floats)[None], card.ahead))[0], 0, 1)


@partial(jax.jit, static_argnames="ahead")
def _predicted(model: Any, frames: Any, ahead: int) -> Any:
    return model(frames, ahead)


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws the frames that were read and those that were predicted."""
    del answer
    return continued(*_continued(model, card, item))


def images_of(model: Any, card: Card, item: Item) -> dict[str, UInt8[np.ndarray, "t h w c"]]:
    """Returns the film with what follows, by the ending of its file."""
    given, coming = _continued(model, card, item)
    whole = np.concatenate([given, np.round(255 * coming).astype(np.uint8)])
    return {".gif": whole if whole.shape[-1] == 3 else np.repeat(whole, 3, axis=-1)}
