"""Resampling of images in NumPy and JAX: two matrix products with the weights of a triangle filter.

The filter is widened where an image is made smaller: bilinear interpolation with antialiasing, as `PIL.Image.resize`
and `jax.image.resize` do it. Sizes may be symbolic dimensions of `jax.export`, scale and place values that are traced.
"""

from typing import Any

import numpy as np

EMPTY = 1e-6  # Sum of weights below which no pixel is near.


def resample(xp: Any, images: Any, vertical: Any, horizontal: Any) -> Any:
    """Returns images `[b, H, W, c]` of float images `[b, h, w, c]`, without rounding anything to fewer bits.

    Args:
        xp: NumPy or `jax.numpy`.
        images: floating-point images.
        vertical: weights `[H, h]` or `[b, H, h]`.
        horizontal: weights `[W, w]` or `[b, W, w]`.
    """
    exact = {} if xp is np else {"precision": "highest"}
    of_image = "b" if vertical.ndim == 3 else ""
    lower = xp.einsum(f"{of_image}yh,bhwc->bywc", vertical, images, optimize=True, **exact)
    return xp.einsum(f"{of_image}xw,bywc->byxc", horizontal, lower, optimize=True, **exact)


def triangle_weights(xp: Any, pixels: Any, centres: Any, step: Any) -> Any:
    """Returns the weights of a triangle filter, `[..., new, pixels]`; each row sums to 1, or is zero far away.

    Args:
        xp: NumPy or `jax.numpy`.
        pixels: number of pixels of an axis; the middle of the first is at 0.5.
        centres: where on that axis each new pixel has its middle, float32 `[..., new]`.
        step: distance of these, in pixels, float32 `[...]`.
    """
    middles = xp.arange(pixels, dtype=np.int32).astype(np.float32) + 0.5
    distances = xp.abs(middles.reshape((1,) * centres.ndim + (-1,)) - centres[..., None])
    weights = xp.maximum(1 - distances / xp.maximum(step, np.float32(1))[..., None, None], np.float32(0))
    return weights / xp.maximum(weights.sum(axis=-1, keepdims=True), np.float32(EMPTY))
