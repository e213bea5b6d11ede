"""Maps of images: padding to whole places, and a larger map of a smaller one."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from rowrnn.typing import Images


def padded(images: ArrayLike, channels: int, multiple: int) -> tuple[Images, Any, Any]:
    """Returns images padded with zeros, at the bottom and on the right, to sides that are multiples of a number, and
    their height and width before.

    Raises:
        ValueError: if images are not `[b, h, w, channels]` with a pixel, or are not floating point.
    """
    images = jnp.asarray(images)
    whole = images.ndim == 4 and images.shape[3] == channels and 0 not in images.shape[1:3]
    if not whole or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"This network takes floating-point images [b, h, w, {channels}], not {images.dtype} of shape "
            f"{list(images.shape)}."
        )
    height, width = images.shape[1:3]
    return jnp.pad(images, ((0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0))), height, width


def enlarged(x: Float[Array, "b h w c"]) -> Float[Array, "b _ _ _"]:
    """Makes 2x2 places of each place of a map, a quarter of its features for each: the reverse of 2x2 patches."""
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, 2, 2, c // 4)
    return jnp.swapaxes(x, 2, 3).reshape(b, 2 * h, 2 * w, c // 4)
