"""Answers about clips: the class of each."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from rowrnn.errors import InputError
from rowrnn.lab.data.clips import read_frames
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.predict.answer import Answer, of_probabilities
from rowrnn.lab.tasks.clips.examples import evenly_spaced
from rowrnn.lab.tasks.clips.files import shaped_clip
from rowrnn.models import VideoClassifier
from rowrnn.saving import Card


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns the class of each clip; one that cannot be read gets an answer with the error.

    Clips are read one after the other, so that none but one is in memory; see `by_frame`.
    """
    answers = []
    for item in items:
        try:
            probability = by_frame(model, card, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        answers.append(of_probabilities(item.name, card.classes, probability[-1], {"frames": len(probability)}))
    return answers


def by_frame(model: Any, card: Card, item: Item) -> Float[np.ndarray, "t classes"]:
    """Returns the probability of every class after each frame of a clip.

    Of a clip that is longer than those of the training, evenly spaced frames are taken, as there. A model that answers
    after the last frame reads frames one after the other, so that a clip of any length fits into memory.

    Raises:
        InputError: if the clip cannot be read.
    """
    if getattr(model, "pooling", None) == "last":
        return _streamed(model, card, item)
    frames = shaped_clip(card.needed_preprocessing(), item)
    frames = frames[evenly_spaced(len(frames), card.most_frames or len(frames))]
    # Lengths are rounded up, so that clips of similar length share a compiled program.
    room = 1 << (len(frames) - 1).bit_length()
    padded = np.zeros((1, room, *frames.shape[1:]), np.uint8)
    padded[0, : len(frames)] = frames
    floats = jnp.asarray(card.needed_preprocessing().to_floats(padded))
    logits = _logits(model, floats, jnp.array([len(frames)]))
    return np.asarray(jax.nn.softmax(logits))[0, : len(frames)]


def _streamed(model: VideoClassifier, card: Card, item: Item) -> Float[np.ndarray, "t classes"]:
    preprocessing, state, logits = card.needed_preprocessing(), None, []
    kept = None
    if card.most_frames is not None:  # Only who has seen the last frame knows which ones are evenly spaced.
        length = sum(1 for _ in read_frames(item)[0])
        kept = set(evenly_spaced(length, card.most_frames).tolist())
    frames, _ = read_frames(item)
    for number, frame in enumerate(frames):
        if kept is not None and number not in kept:
            continue
        floats = jnp.asarray(preprocessing.to_floats(np.asarray(preprocessing.to_bytes(frame[None]))))
        state, of_frame = _step(model, model.initial_state(floats) if state is None else state, floats)
        logits.append(of_frame[0])
    if not logits:
        raise Unreadable(f"{item.name} has no frames.")
    return np.asarray(jax.nn.softmax(jnp.stack(logits)))


@jax.jit
def _step(model: Any, state: Any, frame: Any) -> Any:
    return model.step(state, frame)


@jax.jit
def _logits(model: Any, frames: Any, lengths: Any) -> Any:
    return model.logits_by_frame(frames, lengths=lengths)


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws a clip as a film strip, with the probabilities after each frame."""
    del answer
    from rowrnn.lab.tasks.clips.pictures import film  # Imported only where used: Matplotlib takes long.

    frames = shaped_clip(card.needed_preprocessing(), item)
    frames = frames[evenly_spaced(len(frames), card.most_frames or len(frames))]
    return film(frames, by_frame(model, card, item), card.classes)
