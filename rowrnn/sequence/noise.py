"""Noise of recurrent layers: the keys that it is drawn with, and zoneout."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rowrnn.cells import Cell
from rowrnn.cells.gated import lerp
from rowrnn.typing import Output, State


class ZoneoutCell(Cell):
    """Cell with zoneout, used by `Recurrent`.

    A step's features are followed by the zoneout rates or masks of all state arrays. An output that is one of the
    state's arrays, as in every cell of `rowrnn.cells` that takes zoneout, is subject to zoneout too; any other output
    is that of the cell.

    Args:
        cell: the cell.
        sizes: sizes of the state's arrays.
    """

    def __init__(self, cell: Cell, sizes: Sequence[int]) -> None:
        self.cell, self.sizes, self.takes_dropout = cell, tuple(sizes), cell.takes_dropout
        self.features = cell.features + sum(sizes)
        self.bias = cell.bias

    @property
    def outputs(self) -> int:
        return self.cell.outputs

    def project(self, x: Float[Array, "*b d"]) -> Any:
        edges = np.cumsum([self.cell.features, *self.sizes]).tolist()
        x, *holds, _ = jnp.split(x, edges, axis=-1)
        return self.cell.project(x), holds

    def step(self, state: State, projected: Any, *dropout_mask: Array) -> tuple[State, Output]:
        projected, holds = projected
        stepped, output = self.cell.step(state, projected, *dropout_mask)
        old, structure = jax.tree.flatten(state)
        stepped = jax.tree.leaves(stepped)
        # A unit held with mask 1 keeps exactly its value; a rate below 1, used without a key, gives the expected value.
        new = [jnp.where(hold == 1, b, lerp(a, hold, b)) for a, hold, b in zip(stepped, holds, old, strict=True)]
        # An output that is one of the state's arrays is held too.
        shown = next((held for array, held in zip(stepped, new, strict=True) if array is output), output)
        return jax.tree.unflatten(structure, new), shown

    def initial_state(self, projected: Any) -> State:
        return self.cell.initial_state(projected[0])


def split_key(key: Array | None, count: int) -> Sequence[Array | None]:
    """Splits a key into `count` keys; without a key returns `count` times None."""
    return [None] * count if key is None else list(jax.random.split(key, count))
