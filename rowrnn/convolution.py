"""Two-dimensional convolution: a function, and a layer that is fast to train on a CPU too."""

from collections.abc import Callable, Sequence
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
    return _on_platform(_as_product, x, kernel, strides, padding)


def conv(
    inputs: int, outputs: int, size: int, strides: Pair = (1, 1), padding: Padding | None = None, *, rngs: nnx.Rngs
) -> nnx.Conv:
    """A layer `[b, h, w, inputs] → [b, y, x, outputs]`, its kernel drawn as He et al. (2015) for what a ReLU follows.

    On a CPU its gradients are written by hand, for reverse mode only (`jax.grad`, `jax.vjp`).

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        size: of a side of the kernel.
        strides: steps down and to the right.
        padding: zeros above and below, left and right; half a kernel on every side where not given.
        rngs: source of the initial kernel.
    """
    return nnx.Conv(
        inputs,
        outputs,
        (size, size),
        strides=strides,
        padding=((size // 2, size // 2),) * 2 if padding is None else padding,
        kernel_init=nnx.initializers.he_normal(),
        conv_general_dilated=_convolve_in_training,
        rngs=rngs,
    )


def _convolve_in_training(x: Array, kernel: Array, strides: Pair, padding: Padding, **_: object) -> Array:
    # One channel makes so few columns that one product with all of them is faster.
    return _on_platform(_as_product if kernel.shape[2] == 1 else _by_hand, x, kernel, strides, padding)


def _on_platform(on_cpu: Callable[..., Array], x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    dtype = jnp.result_type(x, kernel)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    how = {"strides": strides, "padding": tuple((before, after) for before, after in padding)}
    return jax.lax.platform_dependent(x, kernel, cpu=partial(on_cpu, **how), default=partial(_library, **how))


def _library(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


# XLA on a CPU has one fast convolution, the plain one. Both gradients of `_library` are others: inside a loop that of
# the kernel takes a hundred times as long.
@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _by_hand(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    return _library(x, kernel, strides, padding)


def _forward(x: Array, kernel: Array, strides: Pair, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    return _library(x, kernel, strides, padding), (x, kernel)


def _backward(strides: Pair, padding: Padding, seen: tuple[Array, Array], cotangent: Array) -> tuple[Array, Array]:
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


def _as_product(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """A convolution as one matrix product with the shifted copies of its input side by side (im2col)."""
    columns = jnp.concatenate(_shifted(x, kernel, strides, padding), axis=-1)
    return columns @ kernel.reshape(-1, kernel.shape[-1])


def _shifted(x: Array, kernel: Array, strides: Pair, padding: Padding) -> list[Array]:
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
