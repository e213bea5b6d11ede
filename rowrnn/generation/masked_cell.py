"""Convolutional LSTM whose input kernel is masked, for maps of pixels."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from rowrnn.cells import ConvLSTM
from rowrnn.cells.cell import expand_leading
from rowrnn.cells.convolution import convolve
from rowrnn.generation.masked_convolution import kernel_mask, zeros_around


class MaskedConvLSTM(ConvLSTM):
    """`ConvLSTM` with kernels of one row, that of the input masked (B): it ends with the pixel's own column.

    Args:
        features: number of input features of a pixel.
        hidden: number of features of the state.
        span: width of both kernels, odd.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, features: int, hidden: int, span: int, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        self.colours = colours
        super().__init__(features, hidden, (1, span), rngs=rngs)

    def project(self, x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w gates"]:
        maps = x.reshape(-1, *x.shape[-3:])
        product = convolve(maps, self.masked_input_kernel(), (1, 1), zeros_around(self.kernel))
        product = product.reshape(*x.shape[:-1], product.shape[-1])
        return product + expand_leading(self.bias[...], product)

    def masked_input_kernel(self) -> Float[Array, "kh kw c gates"]:
        """Returns the input kernel with zeros for what a pixel may not see."""
        kernel = self.input_kernel[...]
        mask = kernel_mask(self.kernel, kernel.shape[2], self.hidden, "B", self.colours)
        return jnp.where(np.tile(mask, len(self.gate_names)), kernel, jnp.zeros_like(kernel))

    def _input_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Float[Array, "kh kw c gates"]:
        return self._kernel_init((1, self.kernel[1] // 2 + 1), self.features, rngs, dtype)
