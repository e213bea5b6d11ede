"""Row LSTM: an LSTM that reads an image row by row, each pixel from the states of three above it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float

from rowrnn.cells import ConvLSTM, LSTMState
from rowrnn.cells.cell import expand_leading
from rowrnn.cells.convolution import convolve
from rowrnn.generation.masked_convolution import Found, Maps, kernel_mask, zeros_around
from rowrnn.recurrence.scan import scan


class RowCell(ConvLSTM):
    """Cell of a Row LSTM (van den Oord et al. 2016, section 3.1), of rows of pixels as maps `[b, 1, w, features]`.

    It is a `ConvLSTM` with kernels of one row: that of the input is masked (B), and ends with the pixel's own column;
    that of the state sees a pixel's three (or `span`) neighbours in the row above.

    Args:
        features: number of input features of a pixel.
        hidden: number of features of the state.
        span: width of both kernels, odd.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    map_recurrence = "lstm"

    def __init__(self, features: int, hidden: int, span: int = 3, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        self.colours = colours
        super().__init__(features, hidden, (1, span), rngs=rngs)

    def project(self, x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w gates"]:
        return masked_projection(self, x)

    def _input_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Float[Array, "kh kw c gates"]:
        shape = (1, self.kernel[1] // 2 + 1, self.features, len(self.gate_names) * self.hidden)
        return nnx.initializers.lecun_normal()(rngs.params(), shape, dtype)


def masked_projection(cell: Any, x: Float[Array, "*b h w c"]) -> Float[Array, "*b h w gates"]:
    """Computes the input half of every gate of a cell with `colours`, by its input kernel masked (B)."""
    maps = x.reshape(-1, *x.shape[-3:])
    product = convolve(maps, masked_input_kernel(cell), (1, 1), zeros_around(cell.kernel))
    product = product.reshape(*x.shape[:-1], product.shape[-1])
    return product + expand_leading(cell.bias[...], product)


def masked_input_kernel(cell: Any) -> Float[Array, "kh kw c gates"]:
    """Returns the input kernel of a cell with `colours`, with zeros for what a pixel may not see (B)."""
    features = cell.input_kernel.shape[2]
    mask = np.tile(kernel_mask(cell.kernel, features, cell.hidden, "B", cell.colours), len(cell.gate_names))
    return jnp.where(mask, cell.input_kernel[...], jnp.zeros_like(cell.input_kernel[...]))


class RowLSTMLayer(nnx.Module):
    """Layer of a Row LSTM `[b, h, w, features] → [b, h, w, hidden]`.

    The output at a pixel depends on its row up to itself and on a triangle above, three pixels wide one row up, five
    two rows up. The state above the first row is learned.

    Args:
        features: number of input features of a pixel.
        hidden: number of output features.
        span: width of the kernels, odd.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, features: int, hidden: int, span: int = 3, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        self.cell = RowCell(features, hidden, span, colours=colours, rngs=rngs)
        self.first_hidden = nnx.Param(jnp.zeros((hidden,), jnp.float32))
        self.first_cell = nnx.Param(jnp.zeros((hidden,), jnp.float32))

    @property
    def outputs(self) -> int:
        """Number of output features."""
        return self.cell.hidden

    def __call__(self, x: Maps) -> Found:
        """Computes the outputs of all pixels, a row in each step."""
        b, _, w, _ = x.shape
        outputs, _ = scan(self.cell, x[:, :, None], initial_state=self.initial_state(b, w))
        return outputs[:, :, 0]

    def initial_state(self, batch: int, width: int) -> LSTMState:
        """Returns the state above the first row, maps `[b, 1, w, hidden]`."""
        first = (self.first_hidden[...], self.first_cell[...])
        return LSTMState(*(jnp.broadcast_to(part, (batch, 1, width, part.shape[0])) for part in first))
