"""Two-dimensional convolution, whose gradients are fast on a CPU too."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Padding = Sequence[tuple[int, int]]


def convolve(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw i o"],
    strides: tuple[int, int] = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
    **_: object,
) -> Float[Array, "b y x o"]:
    """Cross-correlation of images with a kernel; `flax.nnx.Conv` takes it as its `conv_general_dilated`.

    It has gradients in reverse mode only (`jax.grad`, `jax.vjp`).

    Args:
        x: images `[b, h, w, i]`.
        kernel: `[kh, kw, i, o]`.
        strides: steps down and to the right.
        padding: zeros above and below, left and right.
    """
    padding = tuple((before, after) for before, after in padding)
    # One channel makes so few columns that one product with all of them is faster.
    on_cpu = _as_product if kernel.shape[2] == 1 else _by_hand
    how = {"strides": strides, "padding": padding}
    return jax.lax.platform_dependent(x, kernel, cpu=partial(on_cpu, **how), default=partial(_library, **how))


def _library(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


# XLA on a CPU has one fast convolution, the plain one. Both gradients of `_library` are others: inside a loop that of
# the kernel takes a hundred times as long.
@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_hand(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    return _library(x, kernel, strides, padding)


def _forward(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _library(x, kernel, strides, padding), (x, kernel)


def _backward(
    strides: tuple[int, int], padding: Padding, seen: tuple[Array, Array], cotangent: Array
) -> tuple[Array, Array]:
    x, kernel = seen
    # Of the images: a plain convolution of the cotangent, zeros between its pixels, with the kernel turned round.
    apart = [(0, 0, 0)]
    for axis in (1, 2):
        before = kernel.shape[axis - 1] - 1 - padding[axis - 1][0]
        length = (cotangent.shape[axis] - 1) * strides[axis - 1] + 1
        after = x.shape[axis] + kernel.shape[axis - 1] - 1 - length - before
        apart.append((before, after, strides[axis - 1] - 1))
    spread = jax.lax.pad(cotangent, jnp.zeros((), cotangent.dtype), [*apart, (0, 0, 0)])
    of_images = _library(spread, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), (1, 1), ((0, 0), (0, 0)))
    # Of the kernel: for each of its pixels and each image a product, which stays in the cache, then their sum.
    parts = [_pixels(part) for part in _shifted(x, kernel, strides, padding)]
    products = jnp.stack([jnp.einsum("bpi,bpo->bio", part, _pixels(cotangent)) for part in parts])
    return of_images, products.sum(axis=1).reshape(kernel.shape)


_by_hand.defvjp(_forward, _backward)


def _as_product(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> Array:
    """A convolution as one matrix product with the shifted copies of its input side by side (im2col)."""
    columns = jnp.concatenate(_shifted(x, kernel, strides, padding), axis=-1)
    return columns @ kernel.reshape(-1, kernel.shape[-1])


def _shifted(x: Array, kernel: Array, strides: tuple[int, int], padding: Padding) -> list[Array]:
    """What each pixel of the kernel sees of the images, row by row."""
    (kernel_h, kernel_w, *_), (stride_y, stride_x) = kernel.shape, strides
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    span_y, span_x = x.shape[1] - kernel_h + 1, x.shape[2] - kernel_w + 1
    return [
        x[:, top : top + span_y : stride_y, left : left + span_x : stride_x]
        for top in range(kernel_h)
        for left in range(kernel_w)
    ]


def _pixels(maps: Float[Array, "b h w c"]) -> Float[Array, "b p c"]:
    return maps.reshape(maps.shape[0], -1, maps.shape[-1])
