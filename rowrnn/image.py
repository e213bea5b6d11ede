"""Images as sequences: a row of pixels is one time step, or what another order makes one.

An image `[h, w, c]` is a sequence of `h` steps with `w·c` features, read from the top (`Rows`); `ImageScan` reads it in
any order of `rowrnn.orders`, and `ReNet` from all four sides.
"""

import math
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Key, Shaped

from rowrnn.arguments import as_state
from rowrnn.cells import GRU, LSTM, Cell
from rowrnn.masking import zeroed
from rowrnn.orders import ORDERS, Order
from rowrnn.scan import scan
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Hidden, Outputs, State

Grid = Float[Array, "b gh gw k"]


def rows(images: ArrayLike) -> Shaped[Array, "b t d"]:
    """Images `[b, h, w, c]` or `[b, h, w]` as sequences of their rows, `[b, h, w·c]`.

    Raises:
        ValueError: if `images` has another rank.
    """
    images = jnp.asarray(images)
    if images.ndim not in (3, 4):
        raise ValueError(
            f"A batch of images has shape [b, h, w] or [b, h, w, c], not {list(images.shape)}; "
            "a single image becomes a batch with image[None]."
        )
    return images.reshape(*images.shape[:2], math.prod(images.shape[2:]))


class Rows(nnx.Module):
    """Runs a cell over the rows of images, one row a step.

    Args:
        cell: any of `rowrnn.cells`, its `features` the width of a row times its channels.
    """

    def __init__(self, cell: Cell) -> None:
        self.cell = cell

    def __call__(self, images: ArrayLike, *, heights: ArrayLike | None = None, reverse: bool = False) -> Outputs:
        """Outputs after every row, `[b, h, hidden]`, of images `[b, h, w, c]` or `[b, h, w]`.

        Args:
            images: floating-point images, `w·c` equal to the cell's `features`.
            heights: number of valid rows of each image, `[b]`; rows below give zero. All rows where not given.
            reverse: read from the bottom up.

        Raises:
            ValueError: if a shape does not fit the cell, or heights leave [0, h].
        """
        outputs, _ = scan(self.cell, rows(images), lengths=heights, reverse=reverse)
        return outputs

    def initial_state(self, row: ArrayLike) -> State:
        """State before the first row, for a batch of rows `[b, w, c]` or `[b, w]`."""
        return self.cell.initial_state(self.cell.project(self._row(row)))

    def step(self, state: State, row: ArrayLike) -> tuple[State, Hidden]:
        """One row of each image, `[b, w, c]` or `[b, w]`, as it arrives from a line-scan camera.

        The caller carries the state from `initial_state` on: `state, output = layer.step(state, row)`. The outputs
        are those of the whole image.

        Raises:
            ValueError: if the row's shape does not fit the cell, or the state's does not fit the row.
        """
        projected = self.cell.project(self._row(row))
        return self.cell.step(as_state(state, self.cell.initial_state(projected)), projected)

    def gates(self, images: ArrayLike) -> dict[str, Outputs]:
        """Activations of the cell's gates at every row, by name, each `[b, h, hidden]`: what the cell did and when."""
        x = rows(images)
        _, after = scan(self.cell, x, return_states=True)
        # A gate sees the state before its row.
        before = jax.tree.map(lambda a: jnp.concatenate([jnp.zeros_like(a[:, :1]), a[:, :-1]], axis=1), after)
        return self.cell.gates(before, self.cell.project(x))

    def _row(self, row: ArrayLike) -> Hidden:
        row = jnp.asarray(row)
        if row.ndim not in (2, 3) or math.prod(row.shape[1:]) != self.cell.features:
            raise ValueError(
                f"A batch of rows has shape [b, w] or [b, w, c] with w·c = {self.cell.features}, not {list(row.shape)}."
            )
        return row.reshape(row.shape[0], self.cell.features)


class RowLSTM(Rows):
    """An LSTM over the rows of images; see `Rows` for its use and `rowrnn.cells.LSTM` for the equations.

    Args:
        features: width of a row times its channels.
        hidden: size of the hidden state.
        forget_bias: initial bias of the forget gate.
        dtype: dtype of the parameters.
        rngs: source of the initial parameters.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        *,
        forget_bias: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        super().__init__(LSTM(features, hidden, forget_bias=forget_bias, dtype=dtype, rngs=rngs))


class RowGRU(Rows):
    """A GRU over the rows of images; see `Rows` for its use and `rowrnn.cells.GRU` for the equations.

    Args:
        features: width of a row times its channels.
        hidden: size of the hidden state.
        dtype: dtype of the parameters.
        rngs: source of the initial parameters.
    """

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(GRU(features, hidden, dtype=dtype, rngs=rngs))


class ImageScan(nnx.Module):
    """Runs a layer over images in an order; its outputs lie on the grid of the image again.

    Args:
        layer: a layer of `rowrnn.sequence`, or a cell, which becomes a `Recurrent` one; its `features` those of a step.
        order: a name of `rowrnn.orders.ORDERS`, or a function `(height, width, **options) → Order`.
        options: those of the order, as `patch=(4, 4)`.

    Raises:
        ValueError: for an unknown order.
    """

    def __init__(
        self,
        layer: Cell | Recurrent | Bidirectional | Stack,
        order: str | Callable[..., Order] = "rows",
        **options: Hashable,
    ) -> None:
        if isinstance(order, str):
            if order not in ORDERS:
                raise ValueError(f"There is no order {order!r}; there are {', '.join(ORDERS)}.")
            order = ORDERS[order]
        self.layer = Recurrent(layer) if isinstance(layer, Cell) else layer
        self.order = order
        self.options = tuple(options.items())

    @property
    def outputs(self) -> int:
        """Number of features of an output."""
        return self.layer.outputs

    def __call__(
        self,
        images: ArrayLike,
        *,
        heights: ArrayLike | None = None,
        widths: ArrayLike | None = None,
        **options: Any,
    ) -> tuple[Grid, State]:
        """Outputs on the order's grid, `[b, gh, gw, outputs]`, and the layer's last state, `[b·n, ...]`.

        Args:
            images: floating-point images `[b, h, w, c]`.
            heights: number of valid rows of each image, `[b]`; what lies below has no influence. All where not given.
            widths: number of valid columns of each image, `[b]`. All where not given.
            options: those of the layer's call other than `mask`.

        Raises:
            ValueError: if a shape does not fit the layer, patches do not divide the images, or heights or widths, where
                known outside `jax.jit`, leave the images.
        """
        images = jnp.asarray(images)
        if images.ndim != 4:
            raise ValueError(f"A batch of images has shape [b, h, w, c], not {list(images.shape)}.")
        order = self.order(*images.shape[1:3], **dict(self.options))
        mask = None
        if heights is not None or widths is not None:
            within, mask = order.valid(heights, widths, images.shape[0])
            images = zeroed(images, within)
        if "mask" in options:
            raise ValueError("An ImageScan makes its mask of heights and widths; give these.")
        outputs, state = self.layer(order.sequences(images), mask=mask, **options)
        return order.grid(outputs), state


class ReNet(nnx.Module):
    """A layer that sees an image from all four sides (Visin et al. 2015): every column of patches is read downwards and
    upwards, then every row of what came of it from the left and from the right.

    It keeps the grid, so that it can stand in place of a convolution block, and be stacked.

    Args:
        features: channels of an image.
        hidden: size of the state of each of the four cells; an output has twice as many features as theirs.
        patch: height and width of a patch.
        cell: class of `rowrnn.cells`.
        rngs: source of the initial parameters.
        options: those of the cell.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        patch: tuple[int, int] = (2, 2),
        *,
        cell: type[Cell] = GRU,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        def both(features: int) -> Bidirectional:
            return Bidirectional(*(cell(features, hidden, rngs=rngs, **options) for _ in range(2)))

        self.patch = patch
        self.vertical = ImageScan(both(math.prod(patch) * features), "down", patch=patch)
        self.horizontal = ImageScan(both(self.vertical.outputs), "across")

    @property
    def outputs(self) -> int:
        """Number of features of an output."""
        return self.horizontal.outputs

    def __call__(
        self,
        images: ArrayLike,
        *,
        heights: ArrayLike | None = None,
        widths: ArrayLike | None = None,
        initial_state: tuple[State, State] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Any,
    ) -> tuple[Grid, tuple[State, State]]:
        """Outputs on the grid of patches, `[b, h / patch, w / patch, 2·hidden]`, and the last states of both sweeps.

        Args:
            images: as for `ImageScan`.
            heights: as for `ImageScan`; a patch that has any valid pixel is valid.
            widths: as for `ImageScan`.
            initial_state: states before both sweeps.
            key: randomness of training.
            options: further ones of a layer's call.

        Raises:
            ValueError: as `ImageScan`.
        """
        above, left = (None, None) if initial_state is None else initial_state
        keys = split_key(key, 2)
        sizes = {"heights": heights, "widths": widths}
        grid, vertical = self.vertical(images, **sizes, initial_state=above, key=keys[0], **options)
        for (name, given), side in zip(sizes.items(), self.patch, strict=True):
            if given is not None:  # In a dtype of signs: a patch that is begun counts.
                sizes[name] = (jnp.asarray(given).astype(jnp.int32) + (side - 1)) // side
        grid, horizontal = self.horizontal(grid, **sizes, initial_state=left, key=keys[1], **options)
        return grid, (vertical, horizontal)
