"""Zoneout: units of the state that keep their value at a step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from rowrnn.cells.cell import Cell
from rowrnn.cells.gated import lerp
from rowrnn.typing import Output, State


class ZoneoutCell(Cell):
    """Cell with zoneout (Krueger et al. 2017), used by `rowrnn.sequence.Recurrent`.

    A step's features are followed by the zoneout rates or masks of all state arrays. An output that is one of the
    state's arrays, as in every cell of `rowrnn.cells` that takes zoneout, is subject to zoneout too; any other output
    is that of the cell.

    Args:
        cell: the cell.
        state: a state of it, or the shapes of one.
    """

    def __init__(self, cell: Cell, state: Any) -> None:
        self.cell, self.takes_dropout = cell, cell.takes_dropout
        shapes, self.structure = jax.tree.flatten(state)
        self.sizes = tuple(shape.shape[-1] for shape in shapes)
        self.features = cell.features + sum(self.sizes)
        self.bias = cell.bias

    @property
    def outputs(self) -> int:
        return self.cell.outputs

    def split(self, x: Float[Array, "*b d"]) -> tuple[Float[Array, "*b features"], State]:
        """Splits a step's features into those of the cell, and the rates or masks in the form of a state."""
        edges = np.cumsum([self.cell.features, *self.sizes]).tolist()
        x, *holds, _ = jnp.split(x, edges, axis=-1)
        return x, jax.tree.unflatten(self.structure, holds)

    def project(self, x: Float[Array, "*b d"]) -> Any:
        x, holds = self.split(x)
        return self.cell.project(x), holds

    def step(self, state: State, projected: Any, *dropout_mask: Array) -> tuple[State, Output]:
        projected, holds = projected
        stepped, output = self.cell.step(state, projected, *dropout_mask)
        new = jax.tree.map(hold_units, stepped, state, holds)
        # An output that is one of the state's arrays is held too.
        pairs = zip(jax.tree.leaves(stepped), jax.tree.leaves(new), strict=True)
        return new, next((held for array, held in pairs if array is output), output)

    def initial_state(self, projected: Any) -> State:
        return self.cell.initial_state(projected[0])


def without_zoneout(cell: Cell) -> Cell:
    """Returns the cell of a `ZoneoutCell`, and any other as it is."""
    return cell.cell if isinstance(cell, ZoneoutCell) else cell


def hold_units(new: Array, old: Array, hold: Array) -> Array:
    """Computes `(1 - hold) new + hold old`, an array of the state after zoneout.

    A unit held with mask 1 keeps exactly its value; a rate below 1, used without a key, gives the expected value.
    """
    return jnp.where(hold == 1, old, lerp(new, hold, old))
