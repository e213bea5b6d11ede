"""Scans on a mesh: inside `jax.shard_map`, and on axes that are Explicit, as those of `jax.make_mesh` are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from rowrnn import CELLS, ImageScan, Recurrent, scan
from rowrnn.decoding import ctc
from rowrnn.decoding.sentences import SpecialTokens, beam_search
from tests.helpers import oracle

BATCH, STEPS, FEATURES, HIDDEN = 4, 5, 3, 6
CASES = [
    *((kind, backend) for kind in ("lstm", "gru") for backend in ("plain", "fused", "auto")),
    ("elman", "fused"),
    ("min_gru", "parallel"),
    ("min_gru", "fused"),
    ("lru", "parallel"),
    ("lru", "plain"),
]


def make(kind):
    cell = CELLS[kind](FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    cell.bias[...] = jnp.linspace(-1, 1, cell.bias.size)
    return cell


X = oracle.draw(np.random.default_rng(0), BATCH, STEPS, FEATURES).astype(np.float32)
MARKS = np.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [0, 1, 1, 0, 1], [1, 0, 0, 0, 0]], bool)


def gradients(run, cell, x):
    """Of a loss that reads the outputs only, so that the last state has no gradient."""
    return jax.jit(jax.grad(lambda cell, x: (run(cell, x) ** 2).sum(), argnums=(0, 1)))(cell, x)


@pytest.mark.parametrize("mask", [None, MARKS], ids=["all", "gaps"])
@pytest.mark.parametrize(("kind", "backend"), CASES)
def test_a_scan_in_a_shard_map_is_the_scan_on_one_device(kind, backend, mask):
    cell, x = make(kind), jnp.asarray(X)
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    options = {"backend": backend}
    marks = jnp.ones(X.shape[:2], bool) if mask is None else jnp.asarray(mask)

    def whole(cell, x):
        return scan(cell, x, mask=None if mask is None else marks, **options)[0]

    def part(cell, x, marks):
        return scan(cell, x, mask=None if mask is None else marks, **options)[0]

    mapped = jax.shard_map(part, mesh=mesh, in_specs=(P(), P("d"), P("d")), out_specs=P("d"))

    def cut(cell, x):
        return mapped(cell, x, marks)

    np.testing.assert_allclose(jax.jit(cut)(cell, x), whole(cell, x), rtol=0, atol=1e-6)
    for found, expected in zip(
        *map(jax.tree.leaves, (gradients(cut, cell, x), gradients(whole, cell, x))), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


def test_a_learned_state_in_a_shard_map():
    layer = Recurrent(make("gru"), learn_initial_state=True)
    layer.initial_state[...] = jnp.linspace(-1, 1, HIDDEN)
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(lambda layer, x: layer(x)[0], mesh=mesh, in_specs=(P(), P("d")), out_specs=P("d"))
    np.testing.assert_allclose(jax.jit(mapped)(layer, X), layer(X)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("kind", "backend"), CASES)
def test_a_scan_on_an_explicit_mesh_is_the_scan_on_one_device(kind, backend):
    cell = make(kind)

    def run(cell, x):
        return scan(cell, x, backend=backend)[0]

    expected, alone = run(cell, jnp.asarray(X)), gradients(run, cell, jnp.asarray(X))
    with jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))):
        placed, x = jax.device_put(cell, P()), jax.device_put(X, P("d"))
        np.testing.assert_allclose(jax.jit(run)(placed, x), expected, rtol=0, atol=1e-6)
        found = gradients(run, placed, x)
    for each, one in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(each, one, rtol=0, atol=2e-5)


@pytest.mark.parametrize("order", ["rows", "pixels", "down"])
def test_images_on_an_explicit_mesh_are_read_as_on_one_device(order):
    layer = ImageScan(CELLS["gru"](4 if order == "rows" else 1, HIDDEN, rngs=nnx.Rngs(0)), order)
    images = oracle.draw(np.random.default_rng(1), BATCH, 3, 4, 1).astype(np.float32)
    expected, _ = layer(images)
    with jax.set_mesh(jax.make_mesh((2,), ("d",), axis_types=(AxisType.Explicit,))):
        found, _ = jax.jit(lambda layer, x: layer(x))(jax.device_put(layer, P()), jax.device_put(images, P("d")))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("decode", [ctc.beam_search, ctc.best_path])
def test_decoding_in_a_shard_map(decode):
    scores = jnp.asarray(oracle.draw(np.random.default_rng(2), BATCH, 6, 4), jnp.float32)
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    mapped = jax.shard_map(decode, mesh=mesh, in_specs=P("d"), out_specs=P("d"))
    for found, expected in zip(jax.jit(mapped)(scores), decode(scores), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_sentences_in_a_shard_map():
    # Words 0 pad, 1 begin, 2 end; the model says 3 or 4 by its state, then the end.
    after = jnp.log(jnp.asarray([[0.1, 0.1, 0.1, 0.5, 0.2], [0.1, 0.1, 0.6, 0.1, 0.1]]))

    def step(state, word):
        first = (word == 1).astype(jnp.float32)[:, None]
        return state, after[(word > 2).astype(jnp.int32)] + 2 * first * state * jax.nn.one_hot(4, 5)[None]

    def decode(state):
        return beam_search(step, state, SpecialTokens(0, 1, 2), 3, width=2)

    states = jnp.asarray([[0.0], [1.0], [1.0], [0.0]])
    mesh = jax.make_mesh((2,), ("d",), axis_types=(AxisType.Auto,))
    found = jax.jit(jax.shard_map(decode, mesh=mesh, in_specs=P("d"), out_specs=P("d")))(states)
    assert found.words[:, 0, 0].tolist() == [3, 4, 4, 3]
    for each, expected in zip(found, decode(states), strict=True):
        np.testing.assert_allclose(each, expected, rtol=0, atol=1e-6)
