"""Layer of a gated PixelCNN: two stacks of masked convolutions, the rival without recurrence."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from rowrnn.cells.convolution import conv
from rowrnn.generation.masked_convolution import Maps, MaskedConv


class GatedLayer(nnx.Module):
    """Layer of a gated PixelCNN (van den Oord et al. 2016b, figure 2): two maps `[b, h, w, width] → [b, h, w, width]`.

    The vertical map sees all rows above, without a blind spot; the horizontal one the pixels to the left, and what the
    vertical one has found. Each is tanh(a) · σ(b) of two halves; the horizontal one is added to its input.

    Args:
        width: number of features of each map.
        span: width of the kernels, odd.
        colours: number of colours of a pixel.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, width: int, span: int = 3, *, colours: int = 1, rngs: nnx.Rngs) -> None:
        self.above, self.beside = span // 2 + 1, span // 2
        # The kernel has the rows above and the pixel's own; moved down by one it sees those above only.
        around = (self.beside, self.beside)
        self.vertical = conv(width, 2 * width, (self.above, span), padding=((self.above - 1, 0), around), rngs=rngs)
        self.joined = nnx.Linear(2 * width, 2 * width, rngs=rngs)
        self.horizontal = MaskedConv(width, 2 * width, (1, span), "B", colours, rngs=rngs)
        self.merge = MaskedConv(width, width, (1, 1), "B", colours, rngs=rngs)

    def __call__(self, vertical: Maps, horizontal: Maps) -> tuple[Maps, Maps]:
        """Computes both maps; the vertical one at a pixel has seen its own row, which the horizontal one may not."""
        seen = self.vertical(vertical)
        found = self.horizontal(horizontal) + self.joined(moved_down(seen))
        return _gated(seen, 1), horizontal + self.merge(_gated(found, self.horizontal.colours))


def moved_down(x: Maps) -> Maps:
    """Moves maps down by one row, zeros above."""
    return jnp.pad(x, ((0, 0), (1, 0), (0, 0), (0, 0)))[:, :-1]


def _gated(x: Array, colours: int) -> Array:
    """Returns tanh(a) · σ(b) of the halves of the features of each colour."""
    parts = x.reshape(*x.shape[:-1], colours, 2, -1)
    return (jnp.tanh(parts[..., 0, :]) * nnx.sigmoid(parts[..., 1, :])).reshape(*x.shape[:-1], -1)
