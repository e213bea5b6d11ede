"""Which rows of an image matter to a classifier: what becomes of its answer where one of them is hidden."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from rowrnn.lab.data import Split


def row_influence(
    model: Any, batch: Split, *, floats: Callable[[Any], Any], mean: Float[ArrayLike, "h w c"]
) -> Float[Array, "b h"]:
    """Returns by how much the log-probability of each image's label falls where a row of it is that of a mean image.

    Args:
        model: function of images to logits `[b, classes]`.
        batch: images and labels.
        floats: function of the images to those that the model takes.
        mean: the mean image, as the model takes it.
    """
    images, mean = floats(batch.images), jnp.asarray(mean)
    labels = jnp.asarray(batch.labels)[:, None]

    def of_label(images: Array) -> Float[Array, "b"]:
        return jnp.take_along_axis(jax.nn.log_softmax(model(images)), labels, axis=1)[:, 0]

    def without(row: Array) -> Float[Array, "b"]:
        hidden = (jnp.arange(images.shape[1], dtype=row.dtype) == row)[None, :, None, None]
        return of_label(jnp.where(hidden, mean[None].astype(images.dtype), images))

    each = jax.lax.map(without, jnp.arange(images.shape[1], dtype=jnp.int32))
    return of_label(images)[:, None] - jnp.swapaxes(each, 0, 1)
