"""Image classification: loss, score and evaluation, for any model from images to logits."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float

from rowrnn.lab.data import Augmentation, Split, as_float
from rowrnn.lab.tasks.classification.confusion import confusion_counts
from rowrnn.lab.tasks.classification.measures import calibration
from rowrnn.typing import Logits

MISTAKES = 12

Floats = Callable[[Any], Any]


def cross_entropy(
    model: Any,
    batch: Split,
    key: Array,
    *,
    augmentation: Augmentation,
    floats: Floats = as_float,
    outside: ArrayLike = 0.0,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean cross-entropy in nats of a training batch, with the metric `accuracy`.

    Args:
        model: function `(images, key=...)` to logits `[b, classes]`.
        batch: images and labels.
        key: source of randomness of augmentation and dropout.
        augmentation: random changes of the images.
        floats: function of the images to those that the model takes.
        outside: value, after `floats`, of pixels from outside an image.
    """
    augmentation_key, dropout_key = jax.random.split(key)
    logits = model(augmentation(floats(batch.images), augmentation_key, outside), key=dropout_key)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
    return loss, {"accuracy": _hits(logits, batch).mean()}


def predict(model: Any, batch: Split, *, floats: Floats = as_float) -> Logits:
    """Returns the logits of a batch, `[b, classes]`."""
    return model(floats(batch.images))


def correct(model: Any, batch: Split, *, floats: Floats = as_float) -> Float[Array, "b"]:
    """Returns 1 for each image whose most probable class is its label, else 0."""
    return _hits(predict(model, batch, floats=floats), batch)


def correct_by_row(model: Any, batch: Split) -> Float[Array, "b h"]:
    """Returns, for each image and row, 1 if the most probable class given the rows up to it is the label, else 0.

    A model without a method `logits_by_row` is given the images with the remaining rows set to zero.
    """
    images = as_float(batch.images)
    by_row = getattr(model, "logits_by_row", partial(_logits_of_upper_rows, model))
    logits = by_row(images)
    return (logits.argmax(axis=-1) == batch.labels[:, None]).astype(jnp.float32)


def _logits_of_upper_rows(model: Callable[[Array], Array], images: Array) -> Float[Array, "b h classes"]:
    row = jnp.arange(images.shape[1])

    def upper(last: Array) -> Array:
        return model(jnp.where((row <= last)[None, :, None, None], images, jnp.zeros_like(images)))

    return jnp.swapaxes(jax.lax.map(upper, row), 0, 1)


def _hits(logits: Logits, batch: Split) -> Float[Array, "b"]:
    return (logits.argmax(axis=-1) == batch.labels).astype(jnp.float32)


def examine(logits: Float[np.ndarray, "seeds n classes"], test: Split) -> dict[str, np.ndarray]:
    """Computes the errors of models of several seeds, as arrays for figures.

    Args:
        logits: logits of every test image, `[seeds, n, classes]`.
        test: the test split.

    Returns:
        `confusion` `[seeds, classes, classes]`, counts by label and prediction, and the first seed's most confident
        mistakes: `mistake_image`, `mistake_label`, `mistake_prediction` and `mistake_probability`, that of the
        prediction; and `calibration` `[seeds, bins, 3]`.
    """
    labels, answers = np.asarray(test.labels), logits.argmax(axis=-1)
    probability = np.asarray(jax.nn.softmax(logits[0])).max(axis=-1)
    wrong = np.flatnonzero(answers[0] != labels)
    surest = wrong[np.argsort(-probability[wrong], kind="stable")][:MISTAKES]
    return {
        "confusion": confusion_counts(labels, answers, logits.shape[-1]),
        "mistake_image": np.asarray(test.images)[surest],
        "mistake_label": labels[surest],
        "mistake_prediction": answers[0][surest],
        "mistake_probability": probability[surest],
        "calibration": np.stack([calibration(labels, of_seed) for of_seed in logits]),
    }
