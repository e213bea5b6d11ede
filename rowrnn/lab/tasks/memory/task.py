"""Classification of a digit after a delay: model, loss, score and gradient norms by row."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from rowrnn.cells import Cell
from rowrnn.lab.data import as_float
from rowrnn.sequence import Recurrent, Transformer


class Questions(NamedTuple):
    """A batch of images with labels and delays.

    Args:
        images: `[b, h, w, c]`.
        labels: `[b]`.
        delays: number of rows between the last row of each image and the answer, `[b]`.
    """

    images: Any
    labels: Any
    delays: Any


class Witness(nnx.Module):
    """Classifier of row sequences: a recurrent cell or a causal Transformer, and a linear layer on its last output.

    Args:
        reader: any of `rowrnn.cells`, or a causal `Transformer`.
        classes: number of classes.
        rngs: source of the initial parameters.
    """

    def __init__(self, reader: Cell | Transformer, classes: int, *, rngs: nnx.Rngs) -> None:
        self.layer = Recurrent(reader) if isinstance(reader, Cell) else reader
        self.head = nnx.Linear(self.layer.outputs, classes, rngs=rngs)

    def __call__(self, rows: Float[Array, "b t d"], lengths: Int[Array, "b"]) -> Float[Array, "b classes"]:
        """Returns the logits after the last valid row.

        Args:
            rows: sequences of rows.
            lengths: number of valid rows of each sequence.
        """
        outputs, _ = self.layer(rows, lengths=lengths, hold_outputs=True)
        return self.head(outputs[:, -1])


def fixed_delays(count: int, *, delay: int) -> Int[np.ndarray, "n"]:
    """Returns `count` delays between 0 and `delay`, log-uniformly distributed and the same in every call."""
    drawn = np.random.default_rng(0).uniform(0, np.log(delay + 2), count)
    return np.clip(np.exp(drawn).astype(np.int32) - 1, 0, delay)


def delayed_rows(images: Array, key: Array, *, delay: int, noise: bool) -> Float[Array, "b t d"]:
    """Returns the rows of images, followed by `delay` rows of zeros or uniform noise, `[b, h + delay, w·c]`.

    Args:
        images: `[b, h, w, c]`, uint8 or floating point in [0, 1].
        key: source of the noise.
        delay: number of rows that follow.
        noise: whether they are noise in [0, 1).
    """
    rows = as_float(images).reshape(*images.shape[:2], -1)
    blank = jnp.zeros((rows.shape[0], delay, rows.shape[2]))
    after = jax.random.uniform(key, blank.shape) if noise else blank
    return jnp.concatenate([rows, after], axis=1)


def loss(
    model: Witness, batch: Any, key: Array, *, delay: int, noise: bool
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean cross-entropy in nats after random delays.

    Args:
        model: the classifier.
        batch: images and labels.
        key: source of randomness of delays and noise.
        delay: longest delay, in rows; delays from 0 on are drawn log-uniformly.
        noise: whether the rows after the image are noise instead of zeros.
    """
    delay_key, noise_key = jax.random.split(key)
    drawn = jax.random.uniform(delay_key, (len(batch.images),), maxval=float(np.log(delay + 2)))
    delays = jnp.clip(jnp.exp(drawn).astype(jnp.int32) - 1, 0, delay)
    rows = delayed_rows(batch.images, noise_key, delay=delay, noise=noise)
    logits = model(rows, batch.images.shape[1] + delays)
    mean = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
    return mean, {}


def correct(model: Witness, batch: Questions, *, longest: int, noise: bool) -> Float[Array, "b"]:
    """Returns 1 for each image whose most probable class after its delay is its label, else 0.

    Args:
        model: the classifier.
        batch: images with labels and delays.
        longest: longest delay of the batch, or more.
        noise: whether the rows after the image are noise instead of zeros.
    """
    rows = delayed_rows(batch.images, jax.random.key(0), delay=longest, noise=noise)
    logits = model(rows, batch.images.shape[1] + batch.delays)
    return (logits.argmax(axis=-1) == batch.labels).astype(jnp.float32)


def gradient_norms(model: Witness, batch: Any, *, delay: int, noise: bool) -> Float[Array, "b t"]:
    """Returns the norm of the gradient of each image's cross-entropy with respect to each of its rows.

    Args:
        model: the classifier.
        batch: images and labels.
        delay: number of rows after each image.
        noise: whether they are noise instead of zeros.
    """
    rows = delayed_rows(batch.images, jax.random.key(0), delay=delay, noise=noise)
    lengths = jnp.full((len(rows),), rows.shape[1], jnp.int32)

    def total(rows: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(rows, lengths), batch.labels).sum()

    return jnp.linalg.norm(jax.grad(total)(rows), axis=-1)
