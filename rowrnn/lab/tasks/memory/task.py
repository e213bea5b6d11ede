"""The task of remembering a digit over many rows: its model, loss and score, and gradients by row."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from rowrnn.cells import Cell, LSTMState
from rowrnn.lab.data import as_float
from rowrnn.recurrence.scan import scan


class Questions(NamedTuple):
    """Images, their labels, and after how many rows each is asked about."""

    images: Any
    labels: Any
    delays: Any


class Witness(nnx.Module):
    """A cell, and a linear layer that tells the class from its last state."""

    def __init__(self, cell: Cell, classes: int, *, rngs: nnx.Rngs) -> None:
        self.cell = cell
        self.head = nnx.Linear(cell.outputs, classes, rngs=rngs)

    def __call__(self, rows: Float[Array, "b t d"], lengths: Int[Array, "b"]) -> Float[Array, "b classes"]:
        """Logits after the last of its rows."""
        _, last = scan(self.cell, rows, lengths=lengths)
        return self.head(last.hidden if isinstance(last, LSTMState) else last)


def fixed_delays(count: int, *, delay: int) -> Int[np.ndarray, "n"]:
    """Delays up to `delay`, log-uniform and always the same."""
    drawn = np.random.default_rng(0).uniform(0, np.log(delay + 2), count)
    return np.clip(np.exp(drawn).astype(np.int32) - 1, 0, delay)


def delayed_rows(images: Array, key: Array, *, delay: int, noise: bool) -> Float[Array, "b t d"]:
    """The rows of images and the rows that follow, blank or uniform noise: `[b, h + delay, w·c]`."""
    rows = as_float(images).reshape(*images.shape[:2], -1)
    blank = jnp.zeros((rows.shape[0], delay, rows.shape[2]))
    after = jax.random.uniform(key, blank.shape) if noise else blank
    return jnp.concatenate([rows, after], axis=1)


def loss(
    model: Witness, batch: Any, key: Array, *, delay: int, noise: bool
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean cross-entropy in nats after delays of up to `delay`, drawn log-uniformly."""
    delay_key, noise_key = jax.random.split(key)
    drawn = jax.random.uniform(delay_key, (len(batch.images),), maxval=float(np.log(delay + 2)))
    delays = jnp.clip(jnp.exp(drawn).astype(jnp.int32) - 1, 0, delay)
    rows = delayed_rows(batch.images, noise_key, delay=delay, noise=noise)
    logits = model(rows, batch.images.shape[1] + delays)
    mean = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
    return mean, {}


def correct(model: Witness, batch: Questions, *, longest: int, noise: bool) -> Float[Array, "b"]:
    """1 where the class after an image's delay, at most `longest`, is right, else 0."""
    rows = delayed_rows(batch.images, jax.random.key(0), delay=longest, noise=noise)
    logits = model(rows, batch.images.shape[1] + batch.delays)
    return (logits.argmax(axis=-1) == batch.labels).astype(jnp.float32)


def gradient_norms(model: Witness, batch: Any, *, delay: int, noise: bool) -> Float[Array, "b t"]:
    """Norm of the gradient of each image's loss with respect to its rows, after so long a delay."""
    rows = delayed_rows(batch.images, jax.random.key(0), delay=delay, noise=noise)
    lengths = jnp.full((len(rows),), rows.shape[1], jnp.int32)

    def total(rows: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(rows, lengths), batch.labels).sum()

    return jnp.linalg.norm(jax.grad(total)(rows), axis=-1)
