"""Recognition of lines of handwriting: training and evaluation lines, loss, score and decoding."""

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

PAPERS = 3  # groups of line lengths in training, each with its own image width


class Transcription(NamedTuple):
    """The output of a reader for a batch of lines.

    Args:
        best_path: strings of the most probable paths.
        beam_search: strings found by prefix beam search.
        probabilities: probabilities of the classes and, last, of the blank, at every step.
    """

    best_path: ctc.Reading
    beam_search: ctc.Reading
    probabilities: Float[Array, "b t scores"]


def fixed_lines(seed: int, split: Split, count: int, *, digits: tuple[int, int]) -> Lines:
    """Generates a fixed set of lines, with images as uint8.

    Args:
        seed: seed of the random key.
        split: images and labels of digits.
        count: number of lines, at least 1.
        digits: smallest and largest number of digits of a line.

    Raises:
        InputError: if the images are not of one channel, or `digits` are below 1 or not in ascending order.
    """

    def make(key: Array, split: Split, numbers: Array) -> Lines:
        return write(key, split.images, split.labels, lines=len(numbers), digits=digits)

    return fixed_examples(make, jax.random.key(seed), split, count)


def training_lines(batch: Split, key: Array, *, digits: int, lines: int, augmentation: Augmentation) -> list[Lines]:
    """Generates lines of 1 to `digits` digits, as one batch for each third of that range.

    Images of each third are as wide as its lengths need: if all were wide enough for the longest lines, about half of
    the computation would be spent on padding.

    Args:
        batch: images and labels of digits.
        key: source of randomness.
        digits: largest number of digits of a line.
        lines: number of lines of each third.
        augmentation: random changes of each digit.

    Raises:
        ValueError: if the images are not of one channel, or `digits` or `lines` is below 1.
    """
    changing, key = jax.random.split(key)
    images = augment_each(as_float(batch.images), changing, augmentation)
    bounds = sorted({round(digits * part / PAPERS) for part in range(PAPERS + 1)})
    return [
        write(of_paper, images, batch.labels, lines=lines, digits=(fewer + 1, most), room=min(most + 1, digits))
        for of_paper, (fewer, most) in zip(jax.random.split(key, len(bounds) - 1), pairwise(bounds), strict=True)
    ]


def augment_each(images: Images, key: Array, augmentation: Augmentation) -> Images:
    """Augments images, each with its own random key."""

    def change(one: tuple[Array, Array]) -> Array:
        image, key = one
        return augmentation(image[None], key)[0]

    # Without a loop XLA would augment a digit again for every pixel of the lines that show it; a loop of one iteration
    # would be unrolled.
    return jax.lax.map(change, (images, jax.random.split(key, len(images))), batch_size=max(1, len(images) // 2))


def loss(
    model: Any, batch: Split, key: Array, *, digits: int, lines: int, augmentation: Augmentation
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean `ctc_loss` of new training lines.

    Args:
        model: function `(images, widths, key=...)` to logits `[b, t, classes + 1]`.
        batch: images and labels of digits, of which the lines are made.
        key: source of randomness of lines and dropout.
        digits: largest number of digits of a line.
        lines: number of lines of each third of the lengths.
        augmentation: random changes of each digit.
    """
    writing, dropping = jax.random.split(key)
    papers = training_lines(batch, writing, digits=digits, lines=lines, augmentation=augmentation)
    keys = jax.random.split(dropping, len(papers))
    mean = jnp.stack([ctc_loss(model, paper, key) for paper, key in zip(papers, keys, strict=True)]).mean()
    return mean, {}


def ctc_loss(model: Any, lines: Lines, key: Array) -> Float[Array, ""]:
    """Returns the CTC loss (Graves et al. 2006) in nats: minus the log-probability of a line's digits, mean over lines.

    It is infinite if a line has fewer steps than CTC needs: one for each digit, and one for the blank between equal
    neighbours.

    Args:
        model: function `(images, widths, key=...)` to logits `[b, t, classes + 1]`, the blank last.
        lines: training lines.
        key: source of randomness of dropout.
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
    # Optax gives such lines a loss of about 100,000; only an infinite one is reported as an error by the training.
    return jnp.where(ctc.steps_needed(lines.labels, lines.lengths) > steps, jnp.inf, of_lines).mean()


def predict(model: Any, lines: Lines) -> Float[Array, "b t scores"]:
    """Returns the logits of each line at every step."""
    return model(as_float(lines.images), lines.widths)


def best_path(model: Any, lines: Lines) -> ctc.Reading:
    """Decodes each line by its most probable path."""
    return ctc.best_path(predict(model, lines), strips(lines.widths))


def transcribe(model: Any, lines: Lines, *, beam: int) -> Transcription:
    """Decodes each line by its most probable path and by prefix beam search, which keeps `beam` strings."""
    scores, lengths = predict(model, lines), strips(lines.widths)
    searched = ctc.beam_search(scores, lengths, beam=beam)
    return Transcription(ctc.best_path(scores, lengths), searched, jax.nn.softmax(scores))


def exact(model: Any, lines: Lines) -> Float[Array, "b"]:
    """Returns 1 for each line that the most probable path decodes without an error, else 0."""
    read, labels = best_path(model, lines).labels, jnp.asarray(lines.labels)
    spare = ((0, 0), (0, read.shape[1] - labels.shape[1]))
    return (read == jnp.pad(labels, spare, constant_values=ctc.NOTHING)).all(axis=1).astype(jnp.float32)


def strings(lines: Lines | ctc.Reading) -> list[list[int]]:
    """Returns the labels of each line as a list, without padding."""
    return [line[:length].tolist() for line, length in zip(np.asarray(lines.labels), lines.lengths, strict=True)]


def strings_by_seed(readings: ctc.Reading) -> list[list[list[int]]]:
    """Returns the strings of each seed; the arrays of `readings` have a leading axis of seeds."""
    return [strings(ctc.Reading(*of_seed)) for of_seed in zip(*readings, strict=True)]
