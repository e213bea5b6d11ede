"""Answers about clips: the class of each."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from rowrnn.errors import InputError
from rowrnn.lab.data.clips import read_frames, shaped_clip
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.predict.answer import Answer, of_probabilities
from rowrnn.lab.tasks.clips.examples import evenly_spaced
from rowrnn.lab.tasks.clips.task import after_each_frame
from rowrnn.models import VideoClassifier
from rowrnn.saving import Card


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns the class of each clip; one that cannot be read gets an answer with the error.

    Clips are read one after the other, so that none but one is in memory. Of a clip that is longer than those of the
    training, evenly spaced frames are taken, as there. A model that answers after the last frame reads frames one after
    the other, so that a clip of any length fits into memory.
    """
    answers = []
    for item in items:
        try:
            probability, frames = _answer(model, card, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        answers.append(of_probabilities(item.name, card.classes, probability, {"frames": frames}))
    return answers


def by_frame(model: Any, card: Card, item: Item) -> Float[np.ndarray, "t classes"]:
    """Returns the probability of every class after each frame of a clip, as if it ended there.

    Raises:
        InputError: if the clip cannot be read.
    """
    if _reads_frame_by_frame(model):
        return _streamed(model, card, item)
    frames = _frames(card, item)
    floats = jnp.asarray(card.needed_preprocessing().to_floats(frames[None]))
    return np.asarray(_after_each_frame(model, floats, jnp.array([len(frames)])))[0]


def _answer(model: Any, card: Card, item: Item) -> tuple[Float[np.ndarray, "classes"], int]:
    """Returns the probability of every class for a clip, and the number of frames that were read."""
    if _reads_frame_by_frame(model):
        by_end = _streamed(model, card, item)
        return by_end[-1], len(by_end)
    floats, length = _whole(card, item)
    return np.asarray(_probability(model, floats, length))[0], int(length[0])


def _reads_frame_by_frame(model: Any) -> bool:
    return getattr(model, "pooling", None) == "last"


def _whole(card: Card, item: Item) -> tuple[Float[jax.Array, "1 t h w c"], Int[jax.Array, "1"]]:
    """Returns the frames of a clip as the model takes them, padded, and their number."""
    frames = _frames(card, item)
    # Lengths are rounded up, so that clips of similar length share a compiled program.
    room = 1 << (len(frames) - 1).bit_length()
    padded = np.zeros((1, room, *frames.shape[1:]), np.uint8)
    padded[0, : len(frames)] = frames
    return jnp.asarray(card.needed_preprocessing().to_floats(padded)), jnp.array([len(frames)])


def _frames(card: Card, item: Item) -> UInt8[np.ndarray, "t h w c"]:
    frames = shaped_clip(card.needed_preprocessing(), item)
    return frames[evenly_spaced(len(frames), card.most_frames or len(frames))]


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
def _probability(model: Any, frames: Any, lengths: Any) -> Any:
    return jax.nn.softmax(model(frames, lengths=lengths))


@jax.jit
def _after_each_frame(model: Any, frames: Any, lengths: Any) -> Any:
    return jax.nn.softmax(after_each_frame(model, frames, lengths))


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws a clip as a film strip, with the probabilities after each frame."""
    del answer
    from rowrnn.lab.tasks.clips.pictures import film  # Imported only where used: Matplotlib takes long.

    return film(_frames(card, item), by_frame(model, card, item), card.classes)
