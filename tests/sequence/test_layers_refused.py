"""Layers take cells of rowrnn, and say so where they are given something else."""

import jax
import pytest
from flax import nnx

from rowrnn.cells import GRU, ConvLSTM
from rowrnn.image.renet import ReNet
from rowrnn.image.rows import RowLSTM
from rowrnn.recurrence.arguments import check_cell
from rowrnn.sequence import Bidirectional, Recurrent, Stack
from rowrnn.sequence.stack import stack


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


@pytest.mark.parametrize("rngs", [0, jax.random.key(0)], ids=["seed", "key"])
@pytest.mark.parametrize("make", [GRU, ConvLSTM, RowLSTM])
def test_a_seed_or_a_key_in_place_of_random_streams(make, rngs, unchecked_types):
    with pytest.raises(TypeError, match=rf"takes random streams, rngs=nnx.Rngs\(0\), not {type(rngs).__name__}: nnx"):
        make(4, 5, rngs=rngs)


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("gru", "'gru'"),
        (nnx.GRUCell, "<class 'flax.*GRUCell'>"),
        (GRU(4, 5, rngs=nnx.Rngs(0)), "an object of GRU"),
    ],
    ids=["name", "flax", "cell"],
)
def test_what_is_no_class_of_cells_is_refused_by_name(given, named, unchecked_types):
    message = f"takes a class of cells, such as rowrnn.GRU, not {named}: rowrnn.CELLS has"
    with pytest.raises(TypeError, match=f"stack {message}"):
        stack(given, 4, 5, rngs=nnx.Rngs(0))
    with pytest.raises(TypeError, match=f"ReNet {message}"):
        ReNet(1, 5, cell=given, rngs=nnx.Rngs(0))
