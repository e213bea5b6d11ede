"""Feature map of an image for detectors: convolutions that see near, and some that see far."""

from typing import Any

from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells.convolution import conv
from rowrnn.models.boxes import PLACE, Grid
from rowrnn.models.maps import enlarged, padded
from rowrnn.recurrence.arguments import check_rate

MULTIPLE = 2 * PLACE
"""The map is halved once more: other sides are padded at the bottom and on the right."""
FAINT = 1e-2
"""Epsilon of layer normalizations, large enough that empty background is not amplified."""


class FeatureMap(nnx.Module):
    """Convolutions that make a feature map of an eighth of an image's height and width.

    Three of them have stride 2; of their map a smaller one is made, which sees twice as far, and added to it again, as
    in feature pyramids (Lin et al. 2017). All but the first and the last are followed by layer normalization over
    channels.

    Args:
        channels: number of channels of an image.
        width: half the number of features of a place.
        dropout: probability with which a feature before the last convolution is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, channels: int, width: int, *, dropout: float = 0.0, rngs: nnx.Rngs) -> None:
        if min(channels, width) < 1:
            raise ValueError(f"A feature map needs at least one channel and one feature, not {channels} and {width}.")
        check_rate("dropout", dropout)
        quarter, half = -(-width // 4), -(-width // 2)

        def block(inputs: int, outputs: int, stride: int = 1) -> Any:
            norm = nnx.LayerNorm(outputs, epsilon=FAINT, rngs=rngs)
            return nnx.List([conv(inputs, outputs, 3, (stride, stride), rngs=rngs), norm])

        self.channels, self.outputs = channels, 2 * width
        self.first = conv(channels, quarter, 3, (2, 2), rngs=rngs)
        sizes = ((quarter, half, 2), (half, half), (half, width, 2), (width, width), (width, width))
        self.near = nnx.List([block(*size) for size in sizes])
        self.far = nnx.List([block(width, 2 * width, 2), *[block(2 * width, 2 * width) for _ in range(3)]])
        self.spread = nnx.Linear(2 * width, 4 * width, rngs=rngs)
        self.joined = block(width, width)
        self.last = conv(width, self.outputs, 3, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, images: ArrayLike, *, key: Array | None = None) -> tuple[Float[Array, "b p k"], Grid]:
        """Computes the features of all places, `[b, p, 2 · width]`, row by row, and height and width of the map.

        Args:
            images: floating-point images `[b, h, w, c]` of any size; the map is `⌈h / 16⌉ · 2` by `⌈w / 16⌉ · 2`.
            key: random key of dropout, in training.

        Raises:
            ValueError: if images have another shape or are not floating point.
        """
        x, _, _ = padded(images, self.channels, MULTIPLE)
        x = nnx.relu(self.first(x))
        for block in self.near:
            x = _through(block, x)
        far = x
        for block in self.far:
            far = _through(block, far)
        x = _through(self.joined, x + enlarged(self.spread(far)))
        x = nnx.relu(self.last(self.dropout(x, deterministic=key is None, rngs=key)))
        b, height, width, k = x.shape
        return x.reshape(b, height * width, k), (height, width)


def grid_of(height: int, width: int) -> Grid:
    """Returns height and width of the feature map of images of a size."""
    return 2 * -(-height // MULTIPLE), 2 * -(-width // MULTIPLE)


def _through(block: Any, x: Array) -> Array:
    """Computes a convolution, its normalization and ReLU; the input is added where it has the same shape."""
    convolution, norm = block
    found = norm(convolution(x))
    return nnx.relu(x + found if found.shape == x.shape else found)
