"""Images as sequences of rows: one row of pixels is one time step.

An image `[h, w, c]` is a sequence of `h` steps with `w·c` features, read from the top. For other orders see
`rowrnn.image.image_scan.ImageScan` and `rowrnn.image.renet.ReNet`.
"""

import math
from typing import Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, DTypeLike, Shaped

from rowrnn.cells import GRU, LSTM, Cell
from rowrnn.recurrence.arguments import as_state, check_cell
from rowrnn.recurrence.scan import ScanOptions, scan
from rowrnn.typing import Hidden, Integers, Outputs, State


def image_rows(images: ArrayLike) -> Shaped[Array, "b t d"]:
    """Reshapes images `[b, h, w, c]` or `[b, h, w]` to sequences of rows, `[b, h, w·c]`.

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
    """Layer that runs a cell over the rows of images, one row in each step.

    Args:
        cell: any of `rowrnn.cells`; its `features` are the width of a row times its channels.

    Raises:
        TypeError: if `cell` is not a cell of rowrnn.
    """

    def __init__(self, cell: Cell) -> None:
        check_cell("Rows", cell)
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
        """Runs the cell over images `[b, h, w, c]` or `[b, h, w]`.

        Args:
            images: floating-point images, with `w·c` equal to the cell's `features`.
            heights: number of valid rows of each image, `[b]`; outputs of rows below are zero. Default: all.
            initial_state: state before the first row; default: zeros.
            reverse: whether to read from the bottom up.
            options: options of `rowrnn.scan`; `heights` replace its `lengths`.

        Returns:
            Outputs after every row, `[b, h, outputs]`, and the last state.

        Raises:
            ValueError: if a shape does not fit the cell, a height known outside `jax.jit` is outside [0, h], or lengths
                are given too.
            TypeError: if images are not floating point, or heights are not integers.
        """
        if heights is not None:
            if options.get("lengths") is not None:
                raise ValueError("Rows takes heights or lengths, which are the same here, not both.")
            options["lengths"] = heights
        return scan(self.cell, image_rows(images), initial_state=initial_state, reverse=reverse, **options)

    def initial_state(self, row: ArrayLike) -> State:
        """Returns the zero state before the first row, for rows `[b, w, c]` or `[b, w]`."""
        return self.cell.initial_state(self.cell.project(self._row(row)))

    def step(self, state: State, row: ArrayLike) -> tuple[State, Hidden]:
        """Reads one row of each image, `[b, w, c]` or `[b, w]`, for example from a line-scan camera.

        The caller passes the state on, starting from `initial_state`: `state, output = layer.step(state, row)`. The
        outputs equal those of the whole image.

        Raises:
            ValueError: if the row's shape does not fit the cell, or the state's does not fit the row.
        """
        projected = self.cell.project(self._row(row))
        zeros = jax.eval_shape(self.cell.initial_state, projected)
        return self.cell.step(as_state(state, like=zeros), projected)

    def gates(self, images: ArrayLike) -> dict[str, Outputs]:
        """Computes the activations of the cell's gates at every row, by name, each `[b, h, hidden]`."""
        x = image_rows(images)
        _, after = scan(self.cell, x, return_states=True)
        # Gates depend on the state before their row.
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
    """Layer that runs an LSTM over the rows of images; see `Rows` for its call, `rowrnn.cells.LSTM` for the equations.

    Args:
        features: width of a row times its channels.
        hidden: size of the hidden state.
        forget_bias: initial bias of the forget gate.
        dtype: dtype of the parameters.
        rngs: random streams; the initial parameters use "params".
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
    """Layer that runs a GRU over the rows of images; see `Rows` for its call, `rowrnn.cells.GRU` for the equations.

    Args:
        features: width of a row times its channels.
        hidden: size of the hidden state.
        dtype: dtype of the parameters.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, features: int, hidden: int, *, dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        super().__init__(GRU(features, hidden, dtype=dtype, rngs=rngs))
