"""Random changes of training images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Shaped


def random_shift(images: Shaped[Array, "b h w c"], key: Array, pixels: int) -> Shaped[Array, "b h w c"]:
    """Moves each image by up to `pixels` in both directions, an own random way each; what comes in is zero."""
    b, h, w, c = images.shape
    padded = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)))
    corners = jax.random.randint(key, (b, 2), 0, 2 * pixels + 1)

    def crop(image: Array, corner: Array) -> Array:
        return jax.lax.dynamic_slice(image, (corner[0], corner[1], jnp.zeros_like(corner[0])), (h, w, c))

    return jax.vmap(crop)(padded, corners)
