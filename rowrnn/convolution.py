"""Two-dimensional convolution, on a CPU as a matrix product."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def convolve(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    strides: tuple[int, int] = (1, 1),
    padding: Sequence[tuple[int, int]] = ((0, 0), (0, 0)),
    **_: object,
) -> Float[Array, "b y x o"]:
    """Cross-correlation of images with a kernel; `flax.nnx.Conv` takes it as its `conv_general_dilated`.

    Args:
        x: images `[b, h, w, i]`.
        kernel: `[kh, kw, i, o]`.
        strides: steps down and to the right.
        padding: zeros above and below, left and right.
    """

    def library(x: Array, kernel: Array) -> Array:
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def product(x: Array, kernel: Array) -> Array:
        return _as_product(x, kernel, strides, padding)

    return jax.lax.platform_dependent(x, kernel, cpu=product, default=library)


def _as_product(x: Array, kernel: Array, strides: tuple[int, int], padding: Sequence[tuple[int, int]]) -> Array:
    """A convolution as one matrix product with the shifted copies of its input side by side (im2col).

    XLA on CPU runs the kernel gradient of `lax.conv_general_dilated` inside a loop without threads or vectors, at
    14x14x16 to 32 channels 15 times slower than the gradient of this.
    """
    (kernel_h, kernel_w, inputs, outputs), (stride_y, stride_x) = kernel.shape, strides
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    span_y, span_x = x.shape[1] - kernel_h + 1, x.shape[2] - kernel_w + 1
    shifted = [
        x[:, top : top + span_y : stride_y, left : left + span_x : stride_x]
        for top in range(kernel_h)
        for left in range(kernel_w)
    ]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(kernel_h * kernel_w * inputs, outputs)
