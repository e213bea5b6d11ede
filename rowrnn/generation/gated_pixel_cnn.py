"""Gated PixelCNN: two stacks of masked convolutions, the rival without recurrence."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rowrnn.generation.head import Head
from rowrnn.generation.masked_convolution import FIRST_KERNEL, Maps, MaskedConv, conv_above, moved_down
from rowrnn.generation.pixel_model import PixelModel, Predictions, check_sizes


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
        self.vertical = conv_above(width, 2 * width, (span, span), rngs=rngs)
        self.joined = nnx.Linear(2 * width, 2 * width, rngs=rngs)
        self.horizontal = MaskedConv(width, 2 * width, (1, span), "B", colours, rngs=rngs)
        self.merge = MaskedConv(width, width, (1, 1), "B", colours, rngs=rngs)

    def __call__(self, vertical: Maps, horizontal: Maps) -> tuple[Maps, Maps]:
        """Computes both maps; the vertical one at a pixel has seen its own row, which the horizontal one may not."""
        seen = self.vertical(vertical)
        found = self.horizontal(horizontal) + self.joined(moved_down(seen))
        return _gated(seen, 1), horizontal + self.merge(_gated(found, self.horizontal.colours))


class GatedPixelCNN(PixelModel):
    """Gated PixelCNN (van den Oord et al. 2016b), of masked convolutions alone.

    Args:
        width: number of features of each of its two maps.
        blocks: number of layers.
        span: width of the kernels of the layers, odd; they see `span // 2` pixels to the sides and as many rows up.
        colours: number of values of a pixel.
        levels: number of different values; 2 for binary images.
        mixture: number of logistic distributions that predict a value; 0 for the logits of all levels.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range, or `width` is no multiple of the colours.
    """

    def __init__(
        self,
        width: int,
        *,
        blocks: int = 7,
        span: int = 3,
        colours: int = 1,
        levels: int = 2,
        mixture: int = 0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(colours, levels, mixture)
        check_sizes("GatedPixelCNN", width, blocks, colours)
        self.above = conv_above(colours, width, FIRST_KERNEL, rngs=rngs)
        self.joined = nnx.Linear(width, width, rngs=rngs)
        self.beside = MaskedConv(colours, width, (1, FIRST_KERNEL[1]), "A", colours, rngs=rngs)
        self.layers = nnx.List([GatedLayer(width, span, colours=colours, rngs=rngs) for _ in range(blocks)])
        self.head = Head(width, colours, self.distribution.outputs, rngs=rngs)

    def predictions(self, x: Float[Array, "b h w c"]) -> Predictions:
        vertical = self.above(x)
        horizontal = self.beside(x) + self.joined(moved_down(vertical))
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        return self.head(horizontal)


def _gated(x: Array, colours: int) -> Array:
    """Returns tanh(a) · σ(b) of the halves of the features of each colour."""
    parts = x.reshape(*x.shape[:-1], colours, 2, -1)
    return (jnp.tanh(parts[..., 0, :]) * nnx.sigmoid(parts[..., 1, :])).reshape(*x.shape[:-1], -1)
