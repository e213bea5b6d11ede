"""Exported steps, their state in and out; and files that this JAX, or this installation, cannot read or write."""

import dataclasses
import sys
from collections import OrderedDict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rowrnn
from rowrnn import GRU, RowGRU, RowLSTM, program
from rowrnn.errors import InputError
from tests.helpers.problem import randomized


@pytest.mark.parametrize("make", [RowLSTM, RowGRU])
def test_a_step_is_exported_with_its_state(make, tmp_path):
    layer = randomized(lambda: make(4, 3, rngs=nnx.Rngs(0)))
    images = jax.random.normal(jax.random.key(0), (5, 6, 4))
    rowrnn.export(layer.step, tmp_path / "step.jax", layer.initial_state(images[:2, 0]), images[:2, 0])
    step, state, outputs = program.load(tmp_path / "step.jax"), layer.initial_state(images[:, 0]), []
    for row in range(6):
        state, output = step(state, images[:, row])
        outputs.append(output)
    expected, _ = rowrnn.scan(layer.cell, images)
    np.testing.assert_allclose(np.stack(outputs, axis=1), expected, rtol=0, atol=1e-6)


def test_pytrees_of_arrays_are_arguments(tmp_path):
    def add(tree, more):
        return {"sum": tree["a"] + tree["b"][0] + more[0]}

    tree = {"b": (jnp.ones((2, 3)),), "a": jnp.ones((2, 3))}
    rowrnn.export(add, tmp_path / "add.jax", tree, [jnp.ones((2, 3))])
    tree = jax.tree.map(lambda a: jnp.tile(a, (4, 1)), tree)
    found = program.load(tmp_path / "add.jax")(tree, [2 * jnp.ones((8, 3))])
    np.testing.assert_array_equal(found["sum"], np.full((8, 3), 4.0))


def test_an_ordered_dict_keeps_which_array_is_whose(tmp_path):
    def minus(given):
        return given["z"] - given["a"]

    given = OrderedDict(z=np.full((1, 2), 5.0, np.float32), a=np.full((1, 2), 2.0, np.float32))
    rowrnn.export(minus, tmp_path / "minus.jax", given)
    for how in (OrderedDict, dict):
        found = program.load(tmp_path / "minus.jax")(how(given))
        np.testing.assert_array_equal(found, np.full((1, 2), 3.0))


def test_examples_that_are_no_arrays(tmp_path):
    for examples in ((1.0,), ({"a": np.float32(1)},), ({},)):
        with pytest.raises(InputError, match="an example of each argument, arrays whose first axis is the batch"):
            rowrnn.export(lambda *x: x, tmp_path / "model.jax", *examples)


def test_without_flatbuffers_it_is_said_what_to_install(tmp_path, monkeypatch):
    rowrnn.export(lambda x: x, tmp_path / "model.jax", jnp.ones((2, 3)))
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    for name in [name for name in sys.modules if name.startswith("jax._src.export.serialization")]:
        monkeypatch.delitem(sys.modules, name)
    for what in (
        lambda: rowrnn.export(lambda x: x, tmp_path / "other.jax", jnp.ones((2, 3))),
        lambda: program.load(tmp_path / "model.jax"),
    ):
        with pytest.raises(InputError, match="pip install flatbuffers"):
            what()
    assert [path.name for path in tmp_path.iterdir()] == ["model.jax"]


def test_a_program_of_a_newer_jax_is_refused_when_it_is_loaded(tmp_path):
    cell = GRU(3, 4, rngs=nnx.Rngs(0))
    written = program.to_program(lambda x: rowrnn.scan(cell, x)[0], program.any_batch([jnp.ones((1, 2, 3))]), ["cpu"])
    # What comes in newer operations ends too early for this reader, as what is cut off does.
    newer = written.mlir_module_serialized[:-100]
    program.write_program(tmp_path / "new.jax", dataclasses.replace(written, mlir_module_serialized=newer))
    with pytest.raises(InputError, match=r"new.jax cannot be read by JAX .*: a newer JAX wrote it \(update jax"):
        program.load(tmp_path / "new.jax")
