"""The task of reading lines of handwriting: its loss and what is asked of a trained reader, whatever the reader."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from rowrnn.decoding import ctc
from rowrnn.lab.data import as_float
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.models.line_reader import strips


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


def ctc_loss(model: Any, lines: Lines, key: Array) -> Float[Array, ""]:
    """Mean over lines of the negative log-probability of their digits, in nats a line.

    Args:
        model: `(images, widths, key=...)` to scores `[b, t, classes + 1]` of every strip.
        lines: training lines.
        key: randomness of dropout.
    """
    logits = model(as_float(lines.images), lines.widths, key=key)
    beyond = jnp.arange(logits.shape[1])[None, :] >= strips(lines.widths)[:, None]
    absent = lines.labels < 0
    return optax.ctc_loss(
        logits,
        beyond.astype(logits.dtype),
        jnp.where(absent, 0, lines.labels),
        absent.astype(logits.dtype),
        blank_id=logits.shape[-1] - 1,
    ).mean()


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
