"""PixelRNN: residual blocks of Row LSTM or Diagonal BiLSTM layers."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from rowrnn.generation.diagonal_layer import DiagonalLSTMLayer
from rowrnn.generation.head import Head
from rowrnn.generation.masked_convolution import FIRST_KERNEL, Maps, MaskedConv
from rowrnn.generation.pixel_model import PixelModel, Predictions, check_sizes
from rowrnn.generation.row_layer import RowLSTMLayer

LAYERS = {"row": RowLSTMLayer, "diagonal": DiagonalLSTMLayer}


class PixelBlock(nnx.Module):
    """Residual block (van den Oord et al. 2016, figure 5): a layer of half the features, and what it adds and shows."""

    def __init__(self, layer: str, width: int, colours: int, *, rngs: nnx.Rngs) -> None:
        self.layer: Any = LAYERS[layer](2 * width, width, colours=colours, rngs=rngs)
        self.added = MaskedConv(width, 2 * width, (1, 1), "B", colours, rngs=rngs)
        self.shown = MaskedConv(width, 2 * width, (1, 1), "B", colours, rngs=rngs)

    def __call__(self, x: Maps) -> tuple[Maps, Maps]:
        """Returns the input of the next block, and what the head gets to see of this one."""
        found = self.layer(x)
        return x + self.added(found), self.shown(found)


class PixelRNN(PixelModel):
    """PixelRNN (van den Oord, Kalchbrenner and Kavukcuoglu 2016): residual blocks of recurrent layers over pixels.

    A masked convolution of 7x7 pixels, blocks, and a head that sees the outputs of all blocks (skip connections). What
    a value sees of those before it, `causality` computes: with Row LSTMs a triangle above it; with Diagonal BiLSTMs all
    but the last value of the row above, from more than three columns away.

    Args:
        layer: "row", a Row LSTM, or "diagonal", a Diagonal BiLSTM.
        width: number of features of a layer; those between the blocks are twice as many.
        blocks: number of blocks.
        colours: number of values of a pixel.
        levels: number of different values; 2 for binary images.
        mixture: number of logistic distributions that predict a value; 0 for the logits of all levels.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if the layer is unknown, a number is out of range, or `width` is no multiple of the colours.
    """

    def __init__(
        self,
        layer: str,
        width: int,
        *,
        blocks: int = 7,
        colours: int = 1,
        levels: int = 2,
        mixture: int = 0,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(colours, levels, mixture)
        if layer not in LAYERS:
            raise ValueError(f"A PixelRNN has layers of {' or '.join(map(repr, LAYERS))}, not {layer!r}.")
        check_sizes("PixelRNN", width, blocks, colours)
        self.first = MaskedConv(colours, 2 * width, FIRST_KERNEL, "A", colours, rngs=rngs)
        self.blocks = nnx.List([PixelBlock(layer, width, colours, rngs=rngs) for _ in range(blocks)])
        self.head = Head(2 * width, colours, self.distribution.outputs, rngs=rngs)

    def predictions(self, x: Float[Array, "b h w c"]) -> Predictions:
        x = self.first(x)
        shown = x
        for block in self.blocks:
            x, more = block(x)
            shown = shown + more
        return self.head(shown)
