"""Row LSTM: an LSTM that reads an image row by row, each pixel from the states of three above it."""

import jax.numpy as jnp
from flax import nnx

from rowrnn.cells import LSTMState
from rowrnn.generation.masked_cell import MaskedConvLSTM
from rowrnn.generation.masked_convolution import Found, Maps
from rowrnn.recurrence.scan import scan

SPAN = 3
"""Width of the kernels."""


class RowCell(MaskedConvLSTM):
    """Cell of a Row LSTM (van den Oord et al. 2016, section 3.1), of rows of pixels as maps `[b, 1, w, features]`.

    The kernel of the state sees a pixel's three neighbours in the row above.

    Args:
        features: number of input features of a pixel.
        hidden: number of features of the state.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    map_recurrence = "lstm"

    def __init__(self, features: int, hidden: int, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, SPAN, colours=colours, rngs=rngs)


class RowLSTMLayer(nnx.Module):
    """Layer of a Row LSTM `[b, h, w, features] → [b, h, w, hidden]`.

    The output at a pixel depends on it, the pixel to its left, and a triangle above: four pixels one row up, six two
    rows up. The state above the first row is learned.

    Args:
        features: number of input features of a pixel.
        hidden: number of output features.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, features: int, hidden: int, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        self.cell = RowCell(features, hidden, colours=colours, rngs=rngs)
        self.first_hidden = nnx.Param(jnp.zeros((hidden,), jnp.float32))
        self.first_cell = nnx.Param(jnp.zeros((hidden,), jnp.float32))

    def __call__(self, x: Maps) -> Found:
        """Computes the outputs of all pixels, a row in each step."""
        b, _, w, _ = x.shape
        outputs, _ = scan(self.cell, x[:, :, None], initial_state=self.first_state(b, w))
        return outputs[:, :, 0]

    def first_state(self, batch: int, width: int) -> LSTMState:
        """Returns the state above the first row, maps `[b, 1, w, hidden]`."""
        first = (self.first_hidden[...], self.first_cell[...])
        return LSTMState(*(jnp.broadcast_to(part, (batch, 1, width, part.shape[0])) for part in first))
