"""PixelRNN: residual blocks of Row LSTM or Diagonal BiLSTM layers, and a gated PixelCNN of the same form."""

from typing import Any

from flax import nnx
from jaxtyping import Array, Float

from rowrnn.cells.convolution import conv
from rowrnn.generation.diagonal_layer import DiagonalLSTMLayer
from rowrnn.generation.gated_layer import GatedLayer, moved_down
from rowrnn.generation.masked_convolution import Maps, MaskedConv
from rowrnn.generation.pixel_model import PixelModel, Predictions
from rowrnn.generation.row_layer import RowLSTMLayer

FIRST = (7, 7)
"""Kernel of the first convolution, which sees values and not the pixel's own (mask A)."""
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


class Head(nnx.Module):
    """Two layers of each pixel, from its features to the predictions of its values, `[b, h, w, c, outputs]`."""

    def __init__(self, width: int, colours: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.colours = colours
        self.between = MaskedConv(width, width, (1, 1), "B", colours, rngs=rngs)
        self.last = MaskedConv(width, colours * outputs, (1, 1), "B", colours, rngs=rngs)

    def __call__(self, x: Maps) -> Predictions:
        """Computes the predictions."""
        found = self.last(nnx.relu(self.between(nnx.relu(x))))
        return found.reshape(*found.shape[:3], self.colours, -1)


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
        self.first = MaskedConv(colours, 2 * width, FIRST, "A", colours, rngs=rngs)
        self.blocks = nnx.List([PixelBlock(layer, width, colours, rngs=rngs) for _ in range(blocks)])
        self.head = Head(2 * width, colours, self.values.outputs, rngs=rngs)

    def predictions(self, x: Float[Array, "b h w c"]) -> Predictions:
        x = self.first(x)
        shown = x
        for block in self.blocks:
            x, more = block(x)
            shown = shown + more
        return self.head(shown)


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
        high, wide = FIRST
        around = ((high // 2, 0), (wide // 2, wide // 2))
        self.above = conv(colours, width, (high // 2 + 1, wide), padding=around, rngs=rngs)
        self.joined = nnx.Linear(width, width, rngs=rngs)
        self.beside = MaskedConv(colours, width, (1, wide), "A", colours, rngs=rngs)
        self.layers = nnx.List([GatedLayer(width, span, colours=colours, rngs=rngs) for _ in range(blocks)])
        self.head = Head(width, colours, self.values.outputs, rngs=rngs)

    def predictions(self, x: Float[Array, "b h w c"]) -> Predictions:
        vertical = self.above(x)
        horizontal = self.beside(x) + self.joined(moved_down(vertical))
        for layer in self.layers:
            vertical, horizontal = layer(vertical, horizontal)
        return self.head(horizontal)


def check_sizes(model: str, width: int, blocks: int, colours: int) -> None:
    """Checks the sizes of a model.

    Raises:
        ValueError: if one is not positive, or each colour cannot have as many features.
    """
    if min(width, blocks) < 1 or width % colours:
        raise ValueError(
            f"A {model} has at least one block, and a width that is a multiple of its {colours} colours, not {blocks} "
            f"and {width}."
        )
