"""Recurrent model of images as one sequence of values, in any order of pixels."""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from rowrnn.cells import Cell
from rowrnn.generation.pixel_model import PixelModel, Predictions
from rowrnn.image.image_scan import order_function
from rowrnn.image.orders import Order
from rowrnn.sequence import Recurrent


class PixelScan(PixelModel):
    """Model of images whose values are read one by one by a layer over sequences, each predicted from those before it.

    Args:
        layer: a layer over vectors that sees no later step: `Recurrent`, a `Stack` of such, or a causal `Transformer`;
            its `features` are 1 more than the colours: the value before, and which colour comes next.
        order: a name in `rowrnn.image.orders.ORDERS` or a function, of one pixel a step.
        colours: number of values of a pixel.
        levels: number of different values; 2 for binary images.
        mixture: number of logistic distributions that predict a value; 0 for the logits of all levels.
        rngs: random streams; the initial parameters use "params".
        options: options of the order.

    Raises:
        ValueError: if the layer sees later steps or reads other features, or a number is out of range.
    """

    def __init__(
        self,
        layer: Any,
        order: str | Callable[..., Order] = "pixels",
        *,
        colours: int = 1,
        levels: int = 2,
        mixture: int = 0,
        rngs: nnx.Rngs,
        **options: Hashable,
    ) -> None:
        super().__init__(colours, levels, mixture)
        if isinstance(layer, Cell):
            layer = Recurrent(layer)
        fits = getattr(layer, "num_feature_axes", None) == 1 and layer.causal and layer.features == 1 + colours
        if not fits:
            raise ValueError(
                f"A PixelScan has a layer over vectors of {1 + colours} features that sees no later step: the value "
                f"before, and which of {colours} colours comes next."
            )
        self.order, self.options = order_function(order), tuple(options.items())
        self.layer = layer
        self.norm = nnx.LayerNorm(layer.outputs, rngs=rngs)
        self.head = nnx.Linear(layer.outputs, self.distribution.outputs, rngs=rngs)

    def rank(self, height: int, width: int) -> Int[np.ndarray, "h w c"]:
        step = self.order_of(height, width).when()
        return step[..., None] * self.colours + np.arange(self.colours)

    def predictions(self, x: Float[Array, "b h w c"]) -> Predictions:
        b, h, w, c = x.shape
        order = self.order_of(h, w)
        values = order.sequences(x).reshape(b, h * w * c)
        before = jnp.pad(values, ((0, 0), (1, 0)))[:, :-1]
        outputs, _ = self.layer(self.steps(before, jnp.arange(h * w * c)))
        found = self.head(self.norm(outputs)).reshape(b, h * w, c * self.distribution.outputs)
        return order.images(found).reshape(b, h, w, c, self.distribution.outputs)

    def steps(self, before: Float[Array, "b t"], numbers: Int[Array, "t"]) -> Float[Array, "b t features"]:
        """Returns what the layer reads: the value before, and which colour comes next.

        Args:
            before: the values before those that come next, scaled.
            numbers: places of those that come next in the order.
        """
        coming = jax.nn.one_hot(numbers % self.colours, self.colours, dtype=before.dtype)
        return jnp.concatenate(
            [before[..., None], jnp.broadcast_to(coming[None], (*before.shape, self.colours))], axis=-1
        )

    def order_of(self, height: int, width: int) -> Order:
        """Returns the order of the pixels of an image of a size.

        Raises:
            ValueError: if it is not one pixel after another, each once.
        """
        order = self.order(height, width, **dict(self.options))
        once = sorted(order.pixels.ravel().tolist()) == list(range(height * width))
        if order.pixels.shape != (1, height * width, 1) or not once:
            raise ValueError(
                "A PixelScan reads one pixel at each step of one sequence, each once: take such an order, as 'pixels'."
            )
        return order
