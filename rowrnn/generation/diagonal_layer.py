"""Diagonal BiLSTM: LSTMs that read an image diagonal by diagonal, from both upper corners."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, DTypeLike, Float, Shaped

from rowrnn.cells import LSTMState
from rowrnn.cells.convolutional import Padding
from rowrnn.generation.masked_cell import MaskedConvLSTM
from rowrnn.generation.masked_convolution import Found, Maps, moved_down
from rowrnn.recurrence.scan import scan

FIRMLY = 1e9
"""Size of a gate's argument at which the gate is 0 or 1."""


class DiagonalCell(MaskedConvLSTM):
    """Cell of a Diagonal BiLSTM (van den Oord et al. 2016, section 3.2), of diagonals, maps `[b, h, 1, gates]`.

    A place of a diagonal is a pixel of one row; its state follows from those of the pixel beside it, in the same row of
    the diagonal before, and of the pixel above that one's right neighbour, one row up there: which are the pixel to the
    left and the pixel above. What it reads are the input halves of the gates. The state outside the image is learned.

    Args:
        features: number of input features of a pixel.
        hidden: number of features of the state.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    map_recurrence = "lstm"

    def __init__(self, features: int, hidden: int, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        super().__init__(features, hidden, 1, colours=colours, rngs=rngs)
        self.features = len(self.gate_names) * hidden
        self.first_cell = nnx.Param(jnp.zeros((hidden,), jnp.float32))

    def project(self, x: Float[Array, "*b h w gates"]) -> Float[Array, "*b h w gates"]:
        return x

    @property
    def recurrent_padding(self) -> Padding:
        return (1, 0), (0, 0)

    def diagonals(self, x: Maps) -> Float[Array, "b t h one gates"]:
        """Computes what the cell reads of an image, `[b, h, w, features]`, diagonal by diagonal."""
        height, width = x.shape[1:3]
        of_pixels = super().project(x)
        above = (self._first().hidden @ self.recurrent_kernel[0, 0])[None, None]
        of_pixels = of_pixels.at[:, 0].add(above.astype(of_pixels.dtype))
        # Outside, the state that was there stays, and shows itself: what is before the first pixel of a row is learned.
        firm = {"input": -FIRMLY, "forget": FIRMLY, "cell": 0.0, "output": FIRMLY}
        closed = np.repeat([firm[name] for name in self.gate_names], self.hidden)[None, None, None]
        inside = skewed(np.ones((1, height, width, 1), bool))
        gates = jnp.where(inside, skewed(of_pixels), jnp.asarray(closed, of_pixels.dtype))
        return jnp.swapaxes(gates, 1, 2)[:, :, :, None]

    def first_state(self, batch: int, height: int) -> LSTMState:
        """Returns the state before the first diagonal, maps `[b, h, 1, hidden]`."""
        shape = (batch, height, 1, self.hidden)
        return LSTMState(*(jnp.broadcast_to(part[None, None, None], shape) for part in self._first()))

    def _first(self) -> LSTMState:
        cell = self.first_cell[...]
        return LSTMState(jnp.tanh(cell), cell)

    def _recurrent_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Float[Array, "kh kw c gates"]:
        return self._kernel_init((2, 1), self.hidden, rngs, dtype)


class DiagonalLSTMLayer(nnx.Module):
    """Layer of a Diagonal BiLSTM `[b, h, w, features] → [b, h, w, hidden]`.

    An LSTM reads the diagonals from the upper left corner; another one those from the upper right corner, and its
    outputs are moved one row down before they are added, since otherwise a pixel would see those to its right. So the
    output at a pixel depends on all pixels above it, and on those of its row up to itself.

    Args:
        features: number of input features of a pixel.
        hidden: number of output features.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, features: int, hidden: int, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        self.left = DiagonalCell(features, hidden, colours=colours, rngs=rngs)
        self.right = DiagonalCell(features, hidden, colours=colours, rngs=rngs)

    def __call__(self, x: Maps) -> Found:
        """Computes the outputs of all pixels in h + w - 1 steps."""
        from_left = _along_diagonals(self.left, x)
        from_right = _along_diagonals(self.right, x[:, :, ::-1])[:, :, ::-1]
        return from_left + moved_down(from_right)


def _along_diagonals(cell: DiagonalCell, x: Maps) -> Found:
    outputs, _ = scan(cell, cell.diagonals(x), initial_state=cell.first_state(*x.shape[:2]))
    return straight(jnp.swapaxes(outputs[:, :, :, 0], 1, 2))


def skewed(x: Shaped[Array | np.ndarray, "b h w k"]) -> Shaped[Array, "b h t k"]:
    """Moves row i of maps to the right by i pixels, `[b, h, w, k] → [b, h, w + h - 1, k]`, zeros elsewhere.

    A column of the result is a diagonal of the image. Rows are made h pixels longer and are then read in lengths of one
    pixel less.
    """
    b, h, w, k = x.shape
    padded = jnp.pad(x, ((0, 0), (0, 0), (0, h), (0, 0))).reshape(b, h * (w + h), k)
    return padded[:, : h * (w + h - 1)].reshape(b, h, w + h - 1, k)


def straight(x: Float[Array, "b h t k"]) -> Maps:
    """Undoes `skewed`: row i of maps `[b, h, w + h - 1, k]` begins i pixels from the left."""
    b, h, t, k = x.shape
    flat = jnp.pad(x.reshape(b, h * t, k), ((0, 0), (0, h), (0, 0)))
    return flat.reshape(b, h, t + 1, k)[:, :, : t + 1 - h]
