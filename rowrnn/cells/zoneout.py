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
        self.sizes = tuple(leaf.shape[-1] for leaf in jax.tree.leaves(state))
        self.features = cell.features + sum(self.sizes)
        self.bias = cell.bias

    @property
    def outputs(self) -> int:
        return self.cell.outputs

    def split(self, x: Float[Array, "*b d"]) -> tuple[Float[Array, "*b features"], list[Array]]:
        """Splits a step's features into those of the cell, and the rates or masks of each state array."""
        edges = np.cumsum([self.cell.features, *self.sizes]).tolist()
        x, *holds, _ = jnp.split(x, edges, axis=-1)
        return x, holds

    def project(self, x: Float[Array, "*b d"]) -> Any:
        x, holds = self.split(x)
        return self.cell.project(x), holds

    def step(self, state: State, projected: Any, *dropout_mask: Array) -> tuple[State, Output]:
        projected, holds = projected
        stepped, output = self.cell.step(state, projected, *dropout_mask)
        old, structure = jax.tree.flatten(state)
        stepped = jax.tree.leaves(stepped)
        new = [hold_units(*of_one) for of_one in zip(stepped, old, holds, strict=True)]
        # An output that is one of the state's arrays is held too.
        shown = next((held for array, held in zip(stepped, new, strict=True) if array is output), output)
        return jax.tree.unflatten(structure, new), shown

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
