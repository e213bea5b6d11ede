"""Two-dimensional convolution, a function and a layer, fast to train on a CPU too."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

Pair = tuple[int, int]
Padding = Sequence[Pair]


def convolve(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
) -> Float[Array, "b y x o"]:
    """Cross-correlation of images with a kernel, of their dtypes the wider.

    Args:
        x: images `[b, h, w, i]`.
        kernel: `[kh, kw, i, o]`.
        strides: steps down and to the right.
        padding: zeros above and below, left and right.
    """
    dtype = jnp.result_type(x, kernel)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    how = {"strides": strides, "padding": padding}
    return jax.lax.platform_dependent(x, kernel, cpu=partial(_as_product, **how), default=partial(_library, **how))


def conv(
    inputs: int,
    outputs: int,
    size: int | Pair,
    strides: Pair = (1, 1),
    padding: Padding | None = None,
    *,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A layer `[b, h, w, inputs] → [b, y, x, outputs]`, its kernel drawn as He et al. (2015) for what a ReLU follows.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        size: height and width of the kernel, or both at once.
        strides: steps down and to the right.
        padding: zeros above and below, left and right; half a kernel on every side where not given.
        rngs: source of the initial kernel.
    """
    size = (size, size) if isinstance(size, int) else size
    return nnx.Conv(
        inputs,
        outputs,
        size,
        strides=strides,
        padding=[(side // 2, side // 2) for side in size] if padding is None else padding,
        kernel_init=nnx.initializers.he_normal(),
        conv_general_dilated=_without_options,
        rngs=rngs,
    )


def _without_options(x: Array, kernel: Array, strides: Pair, padding: Padding, **_: object) -> Array:
    """`convolve` as `nnx.Conv` calls it, whose other options no layer of `conv` has."""
    return convolve(x, kernel, strides, padding)


def _library(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _as_product(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """A convolution as one matrix product with the shifted copies of its input side by side (im2col).

    XLA on CPU runs both gradients of `lax.conv_general_dilated` inside a loop without threads or vectors, that of the
    kernel at 14x14x16 to 32 channels 15 times slower than the gradient of this.
    """
    (kernel_h, kernel_w, _, outputs), (stride_y, stride_x) = kernel.shape, strides
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    span_y, span_x = x.shape[1] - kernel_h + 1, x.shape[2] - kernel_w + 1
    shifted = [
        x[:, top : top + span_y : stride_y, left : left + span_x : stride_x]
        for top in range(kernel_h)
        for left in range(kernel_w)
    ]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, outputs)
