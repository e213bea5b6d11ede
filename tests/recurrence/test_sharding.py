"""Scans on a mesh: on axes that are Explicit, as those of `jax.make_mesh` are, or Auto, and inside `jax.shard_map`."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import PartitionSpec as P

from rowrnn import CELLS, ConvGRU, ConvLSTM, scan
from rowrnn.recurrence import persistent
from tests.helpers import oracle
from tests.helpers.meshes import assert_same, in_shard_map, make_mesh, on_mesh, with_gradients

pytestmark = pytest.mark.slow

BATCH, STEPS, FEATURES, HIDDEN = 4, 5, 3, 6
LENGTHS = np.asarray([4, 0, 5, 2], np.int32)
GAPS = np.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
EPISODES = np.asarray([[1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 1, 1, 1], [0, 0, 0, 0, 1]], bool)
# What is given beside x, and the other options.
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ragged, reverse, from a state": ({"lengths": LENGTHS, "initial_state": True}, {"reverse": True}),
    "gaps": ({"mask": GAPS}, {"hold_outputs": True}),
    "episodes, ragged": ({"resets": EPISODES, "lengths": LENGTHS}, {"return_states": True, "checkpoint_every": 2}),
}
RAGGED, GAPPED, EPISODIC = CALLS
CASES = [
    *((kind, backend, RAGGED) for kind in ("lstm", "gru") for backend in ("fused", "auto")),
    ("lstm", "plain", RAGGED),
    ("elman", "fused", RAGGED),
    ("lru", "fused", RAGGED),
    ("min_gru", "parallel", RAGGED),
    ("gru", "plain", GAPPED),
    ("gru", "fused", GAPPED),
    ("lstm", "auto", GAPPED),
    ("lru", "parallel", GAPPED),
    ("lstm", "plain", EPISODIC),
    ("lru", "parallel", EPISODIC),
]


def draw(*shape):
    return oracle.draw(np.random.default_rng(len(shape)), *shape).astype(np.float32)


def make(kind):
    cell = CELLS[kind](FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    cell.bias[...] = jnp.linspace(-1, 1, cell.bias.size)
    return cell


def problem(kind, backend, call):
    """A function of a cell, x and what is given beside it, and these."""
    cell = make(kind)
    given, options = CALLS[call]
    if "initial_state" in given:
        zeros = cell.initialize_carry((BATCH, FEATURES))
        given = given | {"initial_state": jax.tree.map(lambda zero: draw(*zero.shape), zeros)}

    def run(cell, x, **given):
        outputs, state = scan(cell, x, backend=backend, **given, **options)
        # Where the state is not read it has no gradient.
        return outputs if "mask" in given else (outputs, state)

    return run, cell, draw(BATCH, STEPS, FEATURES), given


@cache
def on_one_device(*case):
    return with_gradients(*problem(*case))


@pytest.mark.parametrize("where", [on_mesh, in_shard_map])
@pytest.mark.parametrize(("kind", "backend", "call"), CASES)
def test_a_scan_on_a_mesh_is_the_scan_on_one_device(kind, backend, call, where):
    assert_same(where(*problem(kind, backend, call)), on_one_device(kind, backend, call))


def test_one_kernel_on_a_mesh_is_the_kernel_on_one_device(monkeypatch):
    """Pallas's interpreter does not run where arrays vary, inside `jax.shard_map`."""
    monkeypatch.setattr(persistent, "unavailable", lambda: "")
    assert_same(on_mesh(*problem("gru", "persistent", RAGGED)), on_one_device("gru", "plain", RAGGED))


@pytest.mark.parametrize(
    ("mesh", "spec"),
    [
        (("Explicit", (1,), ("d",)), P("d")),
        (("Explicit", (2,), ("d",)), P()),
        (("Explicit", (2, 1), ("a", "b")), P(("b", "a"))),
        (("Auto", (2,), ("d",)), P("d")),
    ],
    ids=["one device", "a whole batch", "swapped axes", "automatic axes"],
)
def test_a_scan_on_any_mesh_is_the_scan_on_one_device(mesh, spec):
    case = "lstm", "auto", RAGGED
    assert_same(on_mesh(*problem(*case), make_mesh(*mesh), spec), on_one_device(*case))


@pytest.mark.parametrize(("kind", "where"), [(ConvLSTM, on_mesh), (ConvGRU, on_mesh), (ConvGRU, in_shard_map)])
def test_maps_on_a_mesh_are_those_on_one_device(kind, where):
    def run(cell, x, lengths):
        return scan(cell, x, lengths=lengths)

    arguments = run, kind(1, 2, rngs=nnx.Rngs(0)), draw(BATCH, 3, 4, 2, 1), {"lengths": np.asarray([3, 0, 1, 2])}
    assert_same(where(*arguments), with_gradients(*arguments))


@pytest.mark.parametrize("kernel", [(3, 3), (3, 1)])
@pytest.mark.parametrize("kind", [ConvLSTM, ConvGRU])
@pytest.mark.parametrize("where", [on_mesh, in_shard_map])
def test_whole_sequences_of_maps_on_a_mesh_are_those_on_one_device(kind, kernel, where):
    """Those that compiled code computes, where it is at hand."""
    arguments = scan, kind(1, 2, kernel, rngs=nnx.Rngs(0)), draw(BATCH, 3, 4, 1, 1), {}
    assert_same(where(*arguments), with_gradients(*arguments))
