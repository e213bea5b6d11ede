"""The task of image classification: its loss and what is asked of a trained model, whatever the model."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from rowrnn.lab.data import Augmentation, Split, as_float
from rowrnn.lab.tasks.classification.confusion import confusion_counts
from rowrnn.typing import Logits

MISTAKES = 12


def cross_entropy(
    model: Any, batch: Split, key: Array, *, augmentation: Augmentation
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean cross-entropy in nats of a training batch, with the metrics `loss` and `accuracy`.

    Args:
        model: `(images, key=...)` to logits `[b, classes]`.
        batch: images and labels.
        key: randomness of augmentation and dropout.
        augmentation: random changes of the images.
    """
    augmentation_key, dropout_key = jax.random.split(key)
    logits = model(augmentation(as_float(batch.images), augmentation_key), key=dropout_key)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
    return loss, {"accuracy": _hits(logits, batch).mean()}


def predict(model: Any, batch: Split) -> Logits:
    """Logits `[b, classes]` of a batch."""
    return model(as_float(batch.images))


def correct(model: Any, batch: Split) -> Float[Array, "b"]:
    """1 where the most probable class is the label, else 0."""
    return _hits(predict(model, batch), batch)


def correct_by_row(model: Any, batch: Split) -> Float[Array, "b h"]:
    """After each row: 1 where the class that is most probable from the rows so far is the label, else 0.

    A model without `logits_by_row` is shown the image with the rows still to come left blank.
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
    """What models of several seeds got wrong, as arrays to draw.

    Args:
        logits: of every test image, `[seeds, n, classes]`.
        test: the test split.

    Returns:
        `confusion` `[seeds, classes, classes]`, counts by label and prediction, and of the first seed the wrong
        answers it was surest of: `mistake_image`, `mistake_label`, `mistake_prediction`, `mistake_probability`.
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
    }
