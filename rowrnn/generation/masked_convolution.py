"""Masked convolution: a pixel sees those above it, those to its left and, of its own colours, those before."""

from typing import Literal

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from rowrnn.cells.convolution import conv, convolve

Kind = Literal["A", "B"]
Maps = Float[Array, "b h w k"]
Found = Float[Array, "b h w found"]

FIRST_KERNEL = (7, 7)
"""Kernel of the first convolution of a model, which sees values and not the pixel's own (mask A)."""


def colours_of(features: int, colours: int) -> np.ndarray:
    """Returns the colour that each feature of a place belongs to, `[features]`: equal parts, in order.

    Raises:
        ValueError: if there are fewer features than colours.
    """
    if features < colours:
        raise ValueError(f"Each of {colours} colours needs a feature of its own; there are {features}.")
    return np.arange(features) * colours // features


def own_mask(inputs: int, outputs: int, kind: Kind, colours: int) -> Bool[np.ndarray, "inputs outputs"]:
    """Returns which features of a pixel those of the same pixel may be computed from.

    A feature of a colour sees, by mask A, those of the colours before it, and by mask B those of its own colour too
    (van den Oord, Kalchbrenner and Kavukcuoglu 2016, section 3.4). Values of a pixel are seen by A, features that were
    computed from it by B.
    """
    of_input, of_output = colours_of(inputs, colours), colours_of(outputs, colours)
    return (of_input[:, None] <= of_output[None]) if kind == "B" else (of_input[:, None] < of_output[None])


def kernel_mask(
    kernel: tuple[int, int], inputs: int, outputs: int, kind: Kind, colours: int
) -> Bool[np.ndarray, "kh kw inputs outputs"]:
    """Returns which weights of a kernel of odd sides may differ from zero.

    Rows below the pixel, and for one-row kernels columns to its right, are left out: all their weights would be zero.
    """
    (high, wide), own = kernel, own_mask(inputs, outputs, kind, colours)
    mask = np.zeros((high // 2 + 1, wide if high > 1 else wide // 2 + 1, inputs, outputs), bool)
    mask[:-1] = True
    mask[-1, : wide // 2] = True
    mask[-1, wide // 2] = own
    return mask


def zeros_around(kernel: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Returns the zeros (above, below) and (left, right) of maps that such a kernel keeps the size of."""
    high, wide = kernel
    return (high // 2, 0), (wide // 2, wide // 2 if high > 1 else 0)


class MaskedConv(nnx.Module):
    """Masked convolution `[b, h, w, inputs] → [b, h, w, outputs]`, zeros outside the image.

    Args:
        inputs: number of input features of a pixel.
        outputs: number of output features.
        kernel: height and width, odd.
        kind: "A" for values of pixels, "B" for features; see `own_mask`.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a side of the kernel is even, or there are fewer features than colours.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int], kind: Kind, colours: int, *, rngs: nnx.Rngs
    ) -> None:
        if min(kernel) < 1 or not all(side % 2 for side in kernel):
            raise ValueError(f"A masked convolution needs a kernel of odd sides, not {kernel}.")
        self.kind: Kind = kind
        self.colours, self.size = colours, kernel
        mask = kernel_mask(kernel, inputs, outputs, kind, colours)
        # Scale by the number of inputs that the mask keeps.
        seen = max(1, int(mask.sum() / outputs))
        drawn = nnx.initializers.normal((1 / seen) ** 0.5)(rngs.params(), mask.shape, jnp.float32)
        self.kernel = nnx.Param(jnp.where(mask, drawn, 0.0))
        self.bias = nnx.Param(jnp.zeros((outputs,), jnp.float32))

    def __call__(self, x: Maps) -> Found:
        """Computes the features of each pixel from those that it may see."""
        found = convolve(x, self.masked_kernel(), (1, 1), zeros_around(self.size))
        return found + self.bias[...][None, None, None]

    def masked_kernel(self) -> Float[Array, "kh kw inputs outputs"]:
        """Returns the kernel with zeros for what a pixel may not see."""
        *_, inputs, outputs = self.kernel.shape
        mask = kernel_mask(self.size, inputs, outputs, self.kind, self.colours)
        return jnp.where(mask, self.kernel[...], jnp.zeros_like(self.kernel[...]))


def conv_above(inputs: int, outputs: int, kernel: tuple[int, int], *, rngs: nnx.Rngs) -> nnx.Conv:
    """Returns a convolution of the rows up to a pixel's own, `[b, h, w, inputs] → [b, h, w, outputs]`.

    Args:
        inputs: number of input features of a pixel.
        outputs: number of output features.
        kernel: height and width, odd, of which the rows below the pixel are left out.
        rngs: random streams; the initial kernel uses "params".
    """
    return conv(inputs, outputs, (kernel[0] // 2 + 1, kernel[1]), padding=zeros_around(kernel), rngs=rngs)


def moved_down(x: Maps) -> Maps:
    """Moves maps down by one row, zeros above."""
    return jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]
