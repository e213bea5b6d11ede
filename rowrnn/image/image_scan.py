"""Layer that scans images in any order and returns outputs on the image's grid."""

from collections.abc import Callable, Hashable
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Key

from rowrnn.cells import Cell
from rowrnn.image.orders import ORDERS, Order
from rowrnn.machine.sharding import place_examples
from rowrnn.recurrence.arguments import check_cell
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence import Bidirectional, Recurrent, Stack, Transformer, VisionLSTM
from rowrnn.typing import Integers, Outputs, State

Grid = Float[Array, "b gh gw k"]


class ImageScan(nnx.Module):
    """Layer that runs a recurrent layer over images in an order and arranges the outputs on the image's grid.

    Args:
        layer: layer of `rowrnn.sequence`, or a cell, which is wrapped in `Recurrent`; its `features` are those of a
            step.
        order: a name in `rowrnn.image.orders.ORDERS`, or a function `(height, width, **options) → Order`.
        options: options of the order, such as `patch=(4, 4)`.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `layer` is neither a layer nor a cell of rowrnn, or `order` neither a name nor a function; an
            `Order` is not.
    """

    def __init__(
        self,
        layer: Cell | Recurrent | Bidirectional | Stack | Transformer | VisionLSTM,
        order: str | Callable[..., Order] = "rows",
        **options: Hashable,
    ) -> None:
        if not isinstance(layer, Recurrent | Bidirectional | Stack | Transformer | VisionLSTM):
            check_cell("ImageScan", layer)
        self.layer = Recurrent(layer) if isinstance(layer, Cell) else layer
        self.order = order_function(order)
        self.options = tuple(options.items())

    @property
    def outputs(self) -> int:
        """Number of output features."""
        return self.layer.outputs

    def __call__(
        self,
        images: ArrayLike,
        *,
        heights: Integers | None = None,
        widths: Integers | None = None,
        initial_state: Any = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Grid, State]:
        """Runs the layer over images.

        Args:
            images: floating-point images `[b, h, w, c]`.
            heights: number of valid rows of each image, `[b]`; rows below have no influence. Default: all.
            widths: number of valid columns of each image, `[b]`; columns beyond have no influence. Default: all.
            initial_state: state of the layer before the first step, with the leading axis `b·n` for an order of n
                sequences.
            key: random key of dropout and zoneout, in training.
            options: options of `rowrnn.scan` except `mask`.

        Returns:
            Outputs on the order's grid, `[b, gh, gw, outputs]`, and the layer's last state, `[b·n, ...]`.

        Raises:
            ValueError: if a shape does not fit the layer, patches do not divide the images, heights or widths known
                outside `jax.jit` exceed the images, or `mask` is given.
            TypeError: if images are not floating point, or heights or widths are not integers.
        """
        order, outputs, state = self.sequence_outputs(
            images, heights=heights, widths=widths, initial_state=initial_state, key=key, **options
        )
        return order.grid(outputs), state

    def sequence_outputs(
        self,
        images: ArrayLike,
        *,
        heights: Integers | None = None,
        widths: Integers | None = None,
        initial_state: Any = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Order, Outputs, State]:
        """Runs the layer as `__call__` does; returns order, outputs as sequences `[b·n, t, outputs]` and state."""
        images = jnp.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"A batch of images has shape [b, h, w, c], not {list(images.shape)}.")
        order = self.order(*images.shape[1:3], **dict(self.options))
        mask = None
        if heights is not None or widths is not None:
            within, mask = order.valid(heights, widths, images.shape[0])
            images = zero_where_invalid(images, place_examples(within, images))
        if "mask" in options:
            raise ValueError("An ImageScan makes its mask of heights and widths; give these.")
        outputs, state = self.layer(order.sequences(images), initial_state=initial_state, key=key, mask=mask, **options)
        return order, outputs, state


def order_function(order: Any) -> Callable[..., Order]:
    """Returns the function `(height, width, **options) → Order` with this name, or `order` itself if it is a function.

    Raises:
        ValueError: if the name is unknown.
        TypeError: if `order` is neither a name nor a function.
    """
    if isinstance(order, str):
        if order not in ORDERS:
            raise ValueError(f"There is no order {order!r}; there are {', '.join(ORDERS)}.")
        return ORDERS[order]
    if not callable(order):
        of_one_size = ": for images of one size write lambda height, width: order" if isinstance(order, Order) else ""
        raise TypeError(
            f"An order is a name or a function (height, width) → Order, not {type(order).__name__}{of_one_size}."
        )
    return order
