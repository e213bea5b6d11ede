"""Pictures with the boxes of their objects."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Shaped


class Scenes(NamedTuple):
    """Pictures with the boxes of their objects.

    Args:
        images: uint8 `[n, h, w, c]`, or floating point.
        boxes: left, top, right and bottom edge in pixels, float32 `[n, m, 4]`; those beyond the count have no meaning.
        classes: number of the class of each, int32 `[n, m]`.
        counts: number of objects of each picture, int32 `[n]`.
    """

    images: Shaped[Any, "n h w c"]
    boxes: Shaped[Any, "n m 4"]
    classes: Shaped[Any, "n m"]
    counts: Shaped[Any, "n"]

    @property
    def present(self) -> Bool[Array, "n m"]:
        """Which boxes are of an object."""
        return jnp.arange(self.boxes.shape[1])[None] < jnp.asarray(self.counts)[:, None]
