"""The task of reading lines of handwriting: its lines, its loss and what is asked of a trained reader."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from rowrnn.decoding import ctc
from rowrnn.lab.data import Augmentation, Split, as_float
from rowrnn.lab.data.fixed import fixed_examples
from rowrnn.lab.tasks.lines.examples import Lines, write
from rowrnn.models.line_reader import strips
from rowrnn.typing import Images

PAPERS = 3  # sizes of paper in training


class Transcription(NamedTuple):
    """Lines as a reader transcribes them.

    Args:
        best_path: strings by the most probable path.
        beam_search: strings by prefix beam search.
        probabilities: of every class and, last, of the blank at every strip.
    """

    best_path: ctc.Reading
    beam_search: ctc.Reading
    probabilities: Float[Array, "b t scores"]


def fixed_lines(seed: int, split: Split, count: int, *, digits: tuple[int, int]) -> Lines:
    """Lines that are always the same, of the fewest to the most digits."""

    def make(key: Array, split: Split, numbers: Array) -> Lines:
        return write(key, split.images, split.labels, lines=len(numbers), digits=digits)

    return fixed_examples(make, jax.random.key(seed), split, count)


def training_lines(batch: Split, key: Array, *, digits: int, lines: int, augmentation: Augmentation) -> list[Lines]:
    """Lines of 1 to `digits` digits of a batch, so many of each third of the lengths, each digit changed first.

    Each third has paper of its own: on paper for the longest lines half of what a reader computes would be about
    nothing.
    """
    changing, key = jax.random.split(key)
    images = augment_each(as_float(batch.images), changing, augmentation)
    bounds = sorted({round(digits * part / PAPERS) for part in range(PAPERS + 1)})
    return [
        write(of_paper, images, batch.labels, lines=lines, digits=(fewer + 1, most), room=min(most + 1, digits))
        for of_paper, (fewer, most) in zip(jax.random.split(key, len(bounds) - 1), pairwise(bounds), strict=True)
    ]


def augment_each(images: Images, key: Array, augmentation: Augmentation) -> Images:
    """Images, each changed at random on its own."""

    def change(one: tuple[Array, Array]) -> Array:
        image, key = one
        return augmentation(image[None], key)[0]

    # Else XLA changes a digit anew for every pixel of a line that shows it; a loop of one pass it would dissolve.
    return jax.lax.map(change, (images, jax.random.split(key, len(images))), batch_size=max(1, len(images) // 2))


def loss(
    model: Any, batch: Split, key: Array, *, digits: int, lines: int, augmentation: Augmentation
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean `ctc_loss` of the training lines of a batch."""
    writing, dropping = jax.random.split(key)
    papers = training_lines(batch, writing, digits=digits, lines=lines, augmentation=augmentation)
    keys = jax.random.split(dropping, len(papers))
    mean = jnp.stack([ctc_loss(model, paper, key) for paper, key in zip(papers, keys, strict=True)]).mean()
    return mean, {}


def ctc_loss(model: Any, lines: Lines, key: Array) -> Float[Array, ""]:
    """Mean over lines of the negative log-probability of their digits, in nats a line.

    It is infinite where a line has fewer strips than its digits need, one for each and one between two equal ones.

    Args:
        model: `(images, widths, key=...)` to scores `[b, t, classes + 1]` of every strip.
        lines: training lines.
        key: randomness of dropout.
    """
    logits = model(as_float(lines.images), lines.widths, key=key)
    steps = strips(lines.widths)
    beyond = jnp.arange(logits.shape[1])[None, :] >= steps[:, None]
    absent = lines.labels < 0
    of_lines = optax.ctc_loss(
        logits,
        beyond.astype(logits.dtype),
        jnp.where(absent, 0, lines.labels),
        absent.astype(logits.dtype),
        blank_id=logits.shape[-1] - 1,
    )
    # Optax would say 100,000: finite, and so no fault that a training could name.
    return jnp.where(ctc.steps_needed(lines.labels, lines.lengths) > steps, jnp.inf, of_lines).mean()


def predict(model: Any, lines: Lines) -> Float[Array, "b t scores"]:
    """Scores of every strip of each line."""
    return model(as_float(lines.images), lines.widths)


def best_path(model: Any, lines: Lines) -> ctc.Reading:
    """The string of each line by its most probable path."""
    return ctc.best_path(predict(model, lines), strips(lines.widths))


def transcribe(model: Any, lines: Lines, *, beam: int) -> Transcription:
    """Both decodings of each line, and the probabilities behind them."""
    scores, lengths = predict(model, lines), strips(lines.widths)
    searched = ctc.beam_search(scores, lengths, beam=beam)
    return Transcription(ctc.best_path(scores, lengths), searched, jax.nn.softmax(scores))


def exact(model: Any, lines: Lines) -> Float[Array, "b"]:
    """1 where the most probable path reads a line without an error, else 0."""
    read, labels = best_path(model, lines).labels, jnp.asarray(lines.labels)
    spare = ((0, 0), (0, read.shape[1] - labels.shape[1]))
    return (read == jnp.pad(labels, spare, constant_values=ctc.NOTHING)).all(axis=1).astype(jnp.float32)


def strings(lines: Lines | ctc.Reading) -> list[list[int]]:
    """The labels of each line as a list."""
    return [line[:length].tolist() for line, length in zip(np.asarray(lines.labels), lines.lengths, strict=True)]


def strings_by_seed(readings: ctc.Reading) -> list[list[list[int]]]:
    """The strings that each seed reads."""
    return [strings(ctc.Reading(*of_seed)) for of_seed in zip(*readings, strict=True)]
