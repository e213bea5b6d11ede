"""A layer that reads images in any order and returns its outputs on the image's grid."""

from collections.abc import Callable, Hashable
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Key

from rowrnn.cells import Cell
from rowrnn.image.orders import ORDERS, Order
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.typing import Integers, Outputs, State

Grid = Float[Array, "b gh gw k"]


class ImageScan(nnx.Module):
    """Runs a layer over images in an order; its outputs lie on the grid of the image again.

    Args:
        layer: a layer of `rowrnn.sequence`, or a cell, which becomes a `Recurrent` one; its `features` those of a step.
        order: a name of `rowrnn.image.orders.ORDERS`, or a function `(height, width, **options) → Order`.
        options: those of the order, as `patch=(4, 4)`.

    Raises:
        ValueError: for an unknown order.
        TypeError: for what is no function, as an `Order`.
    """

    def __init__(
        self,
        layer: Cell | Recurrent | Bidirectional | Stack,
        order: str | Callable[..., Order] = "rows",
        **options: Hashable,
    ) -> None:
        self.layer = Recurrent(layer) if isinstance(layer, Cell) else layer
        self.order = order_function(order)
        self.options = tuple(options.items())

    @property
    def outputs(self) -> int:
        """Number of features of an output."""
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
        """Outputs on the order's grid, `[b, gh, gw, outputs]`, and the layer's last state, `[b·n, ...]`.

        Args:
            images: floating-point images `[b, h, w, c]`.
            heights: number of valid rows of each image, `[b]`; what lies below has no influence. All where not given.
            widths: number of valid columns of each image, `[b]`. All where not given.
            initial_state: the layer's state before the first step.
            key: randomness of training.
            options: those of `rowrnn.scan` other than `mask`.

        Raises:
            ValueError: if a shape does not fit the layer, patches do not divide the images, or heights or widths, where
                known outside `jax.jit`, leave the images.
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
        """Runs the layer as `__call__` does: the order, outputs step by step, `[b·n, t, outputs]`, and the last state.

        Raises:
            ValueError: as `__call__`.
        """
        images = jnp.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"A batch of images has shape [b, h, w, c], not {list(images.shape)}.")
        order = self.order(*images.shape[1:3], **dict(self.options))
        mask = None
        if heights is not None or widths is not None:
            within, mask = order.valid(heights, widths, images.shape[0])
            images = zero_where_invalid(images, within)
        if "mask" in options:
            raise ValueError("An ImageScan makes its mask of heights and widths; give these.")
        outputs, state = self.layer(order.sequences(images), initial_state=initial_state, key=key, mask=mask, **options)
        return order, outputs, state


def order_function(order: Any) -> Callable[..., Order]:
    """The function `(height, width, **options) → Order` that a name stands for, or that is given.

    Raises:
        ValueError, TypeError: as `ImageScan`.
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
