"""Layers take cells of rowrnn, and say so where they are given something else."""

import pytest
from flax import nnx

from rowrnn.cells import GRU
from rowrnn.recurrence.arguments import check_cell
from rowrnn.sequence import Bidirectional, Recurrent, Stack


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda rngs: Recurrent(GRU(4, 5, rngs=rngs)), "not rowrnn.sequence.recurrent.Recurrent: give its cell"),
        (
            lambda rngs: nnx.GRUCell(4, 5, rngs=rngs),
            "not flax.nnx.*GRUCell: rowrnn.interop.from_nnx and",
        ),
        (lambda rngs: GRU, "not the class GRU: make one, with features, hidden and rngs"),
    ],
    ids=["layer", "flax", "class"],
)
def test_what_is_no_cell_is_refused_by_name(make, message):
    given, cell = make(nnx.Rngs(0)), GRU(4, 5, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=f"Bidirectional takes cells of rowrnn, {message}"):
        check_cell("Bidirectional", given)
    # Here types are checked before; either way it is a TypeError, and no AttributeError later.
    for layer in (lambda: Recurrent(given), lambda: Bidirectional(given, cell), lambda: Bidirectional(cell, given)):
        with pytest.raises(TypeError):
            layer()


def test_a_stack_takes_layers_and_cells_alone():
    with pytest.raises(TypeError, match=r"Stack takes cells of rowrnn, not flax.nnx.*GRUCell"):
        Stack([GRU(4, 5, rngs=nnx.Rngs(0)), nnx.GRUCell(5, 5, rngs=nnx.Rngs(0))])
