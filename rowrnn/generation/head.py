"""The last layers of a model of images, which predict the values of each pixel from its features."""

from flax import nnx

from rowrnn.generation.masked_convolution import Maps, MaskedConv
from rowrnn.generation.pixel_model import Predictions


class Head(nnx.Module):
    """Two layers of each pixel, from its features to the predictions of its values, `[b, h, w, c, outputs]`.

    Args:
        width: number of features of a pixel.
        colours: number of colours of a pixel.
        outputs: number of parameters of the distribution of a value.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, width: int, colours: int, outputs: int, *, rngs: nnx.Rngs) -> None:
        self.colours = colours
        self.between = MaskedConv(width, width, (1, 1), "B", colours, rngs=rngs)
        self.last = MaskedConv(width, colours * outputs, (1, 1), "B", colours, rngs=rngs)

    def __call__(self, x: Maps) -> Predictions:
        """Computes the predictions."""
        found = self.last(nnx.relu(self.between(nnx.relu(x))))
        return found.reshape(*found.shape[:3], self.colours, -1)
