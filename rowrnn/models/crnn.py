"""Image classifier that runs a recurrent layer over the rows of a map of convolutions."""

from flax import nnx
from jaxtyping import Array, ArrayLike

from rowrnn.cells import GRU, Cell
from rowrnn.cells.convolution import conv
from rowrnn.image.image_scan import ImageScan
from rowrnn.models.cnn import convolved
from rowrnn.models.scan_classifier import ScanClassifier
from rowrnn.recurrence.arguments import check_cell_class
from rowrnn.sequence import Bidirectional
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Logits


class CRNN(nnx.Module):
    """Image classifier of convolutions and cells that read the rows of their map, from above and from below.

    As in Shi et al. 2015 (arXiv:1507.05717), who read the columns of a line of text; here the states after the last row
    of each direction are classified. The convolutions are those of `CNN`: 5x5 with stride 2, 3x3, 2x2 max pooling, and
    3x3, so that four rows of pixels are one step. Rows of pixels change altogether where a thing moves sideways by one
    column; the map changes little, so this model needs fewer examples than cells that read pixels.

    Args:
        shape: height, width and channels of an image.
        channels: number of output channels of the last convolution; the first has half of them.
        hidden: size of the state of each of the two cells.
        classes: number of classes.
        cell: a class of `rowrnn.cells`.
        dropout: probability with which a feature before or after the cells is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive.
        TypeError: if `cell` is not a class of cells.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: int,
        hidden: int,
        classes: int,
        *,
        cell: type[Cell] = GRU,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        check_cell_class("CRNN", cell)
        if min(*shape, channels, hidden, classes) < 1:
            raise ValueError(
                f"A CRNN needs at least one pixel, channel, unit and class, not images of {list(shape)}, {channels} "
                f"channels, {hidden} units and {classes} classes."
            )
        _, width, inputs = self.shape = tuple(shape)
        half = -(-channels // 2)
        self.conv1 = conv(inputs, half, 5, (2, 2), rngs=rngs)
        self.conv2 = conv(half, channels, 3, rngs=rngs)
        self.conv3 = conv(channels, channels, 3, rngs=rngs)
        features = -(-width // 4) * channels
        there, back = (cell(features, hidden, rngs=rngs) for _ in range(2))
        rows = ImageScan(Bidirectional(there, back), "rows")
        self.dropout = nnx.Dropout(dropout)
        self.reader = ScanClassifier([rows], classes, dropout=dropout, rngs=rngs)

    def __call__(self, images: ArrayLike, *, key: Array | None = None) -> Logits:
        """Computes logits `[b, classes]` of images `[b, h, w, c]`.

        Args:
            images: floating-point images of the model's shape.
            key: random key of dropout, in training.

        Raises:
            ValueError: if images have another shape or are not floating point.
        """
        below, above = split_key(key, 2)
        return self.reader(self.dropout(convolved(self, images), deterministic=key is None, rngs=below), key=above)
