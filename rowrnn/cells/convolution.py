"""Two-dimensional convolution, as a function and as a layer, with fast gradients on CPUs too."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rowrnn.machine.compiled_convolution import compiled_convolution, maps_size
from rowrnn.machine.default import default_backend
from rowrnn.machine.native_library import unavailable

Pair = tuple[int, int]
Padding = Sequence[Pair]


def convolve(
    x: Float[Array, "b h w i"],
    kernel: Float[Array, "kh kw c o"],
    strides: Pair = (1, 1),
    padding: Padding = ((0, 0), (0, 0)),
) -> Float[Array, "b y x o"]:
    """Computes the cross-correlation of images with a kernel, in their promoted dtype.

    On a CPU, in float32, compiled code computes it and its derivatives of any order (`rowrnn/machine/kernels/`); where
    that is not at hand or not wanted (`default_backend`), one matrix product. On other platforms it is XLA's.

    Args:
        x: images `[b, h, w, i]`.
        kernel: `[kh, kw, c, o]`, c that of the images, i.
        strides: vertical and horizontal stride.
        padding: number of zeros (above, below) and (left, right).

    Returns:
        Feature maps `[b, y, x, o]`.

    Raises:
        ValueError: if the images have other channels than the kernel.
    """
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[3] != kernel.shape[2]:
        raise ValueError(
            f"A kernel [kh, kw, c, o] is for images [b, h, w, c] of as many channels, not {list(kernel.shape)} for "
            f"{list(x.shape)}."
        )
    dtype = jnp.result_type(x, kernel)
    x, kernel = x.astype(dtype), kernel.astype(dtype)
    how = {"strides": strides, "padding": padding}
    wanted = default_backend.value in {"auto", "native"} and jax.default_backend() == "cpu"
    on_cpu = compiled_convolution if wanted and _compilable(x, kernel, **how) and not unavailable() else _as_product
    return jax.lax.platform_dependent(x, kernel, cpu=partial(on_cpu, **how), default=partial(_library, **how))


def _compilable(x: Array, kernel: Array, strides: Pair, padding: Padding) -> bool:
    """Returns whether the compiled code can compute a convolution: float32, all sizes known, of one image at least."""
    sizes = (*x.shape, *kernel.shape)
    if x.dtype != jnp.float32 or not all(isinstance(size, int) and size > 0 for size in sizes):
        return False
    split = any(name is not None for name in jax.typeof(x).sharding.spec[1:])  # rows, columns or channels
    zeros = [number for pair in padding for number in pair]
    return not split and min(zeros) >= 0 and min(maps_size(x.shape, kernel.shape, strides, padding)) > 0


def conv(
    inputs: int,
    outputs: int,
    size: int | Pair,
    strides: Pair = (1, 1),
    padding: Padding | None = None,
    *,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Returns a convolution layer, `[b, h, w, inputs] → [b, y, x, outputs]`.

    The kernel is initialized for a following ReLU (He et al. 2015).

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        size: height and width of the kernel; an integer for a square one.
        strides: vertical and horizontal stride.
        padding: number of zeros (above, below) and (left, right); default: half the kernel's size on every side.
        rngs: random streams; the initial kernel uses "params".
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
    """Calls `convolve` with the signature that `nnx.Conv` expects; layers made by `conv` use no other option."""
    return convolve(x, kernel, strides, padding)


def _library(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _as_product(x: Array, kernel: Array, strides: Pair, padding: Padding) -> Array:
    """Computes a convolution as one matrix product with shifted copies of its input (im2col).

    XLA on CPU runs both gradients of `lax.conv_general_dilated` in a loop without threads or vector instructions: the
    kernel gradient at 14x14x16 to 32 channels is 15 times slower than that of this function.
    """
    (kernel_h, kernel_w, _, outputs), (stride_y, stride_x) = kernel.shape, strides
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    # From the first to behind the last place of the kernel, in the form of `_library`'s shapes: a symbolic width of an
    # exported program must come out as the same expression.
    span_y = stride_y * ((x.shape[1] - kernel_h) // stride_y) + 1
    span_x = stride_x * ((x.shape[2] - kernel_w) // stride_x) + 1
    shifted = [
        x[:, top : top + span_y : stride_y, left : left + span_x : stride_x]
        for top in range(kernel_h)
        for left in range(kernel_w)
    ]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, outputs)
