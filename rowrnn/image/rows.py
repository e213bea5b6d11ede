"""Images as sequences: a row of pixels is one time step, or what another order makes one.

An image `[h, w, c]` is a sequence of `h` steps with `w·c` features, read from the top (`Rows`); `ImageScan` reads it in
any order of `rowrnn.image.orders`, and `ReNet` from all four sides.
"""

import math
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, DTypeLike, Shaped

from rowrnn.cells import GRU, LSTM, Cell
from rowrnn.recurrence.arguments import as_state
from rowrnn.recurrence.scan import ScanOptions, scan
from rowrnn.typing import Hidden, Integers, Outputs, State


def image_rows(images: ArrayLike) -> Shaped[Array, "b t d"]:
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

    def __call__(
        self,
        images: ArrayLike,
        *,
        heights: Integers | None = None,
        initial_state: State | None = None,
        reverse: bool = False,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, State]:
        """Returns outputs `[b, h, hidden]` after every row of images `[b, h, w, c]` or `[b, h, w]`, and the last state.

        Args:
            images: floating-point images, `w·c` equal to the cell's `features`.
            heights: number of valid rows of each image, `[b]`; rows below give zero. All rows where not given.
            initial_state: state before the first row; zeros where not given.
            reverse: read from the bottom up.
            options: those of `rowrnn.scan`; `heights` are its `lengths`.

        Raises:
            ValueError: if a shape does not fit the cell, or heights leave [0, h].
        """
        if heights is not None:
            options["lengths"] = heights
        return scan(self.cell, image_rows(images), initial_state=initial_state, reverse=reverse, **options)

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
        zeros = jax.eval_shape(self.cell.initial_state, projected)
        return self.cell.step(as_state(state, like=zeros), projected)

    def gates(self, images: ArrayLike) -> dict[str, Outputs]:
        """Activations of the cell's gates at every row, by name, each `[b, h, hidden]`: what the cell did and when."""
        x = image_rows(images)
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
