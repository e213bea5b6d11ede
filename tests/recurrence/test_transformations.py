"""`scan` under JAX's transformations, on several devices, and in other dtypes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import BATCH, EPISODES, FEATURES, GAPS, HIDDEN, RAGGED, STEPS, Problem, flat, make_cell
from tests.helpers.scans import FUSED, REPRESENTATIVES, every_loop, needs_compiler, representative_cell, some_cells


@pytest.mark.parametrize(
    ("kind", "backend"),
    thinned(
        [*((kind, "plain") for kind in REPRESENTATIVES), *((kind, "fused") for kind in FUSED), ("min_gru", "parallel")],
        2,
    ),
)
def test_second_derivatives(kind, backend):
    problem = Problem(kind, (1, 2, 1, 1), backend=backend)
    with jax.enable_x64(True):
        cell, x, state = problem.arguments(jnp.float64)

        def slope(x):
            return jax.grad(lambda x: problem.loss(cell, x, state)[0])(x)

        by_jax = jax.jit(jax.jacrev(slope))(x)[0, :, 0, 0, :, 0]
    step = 1e-6

    def gradient_at(offset, index):
        moved = problem.x.copy()
        moved[0, index, 0] += offset
        return oracle.gradients(kind, problem.parameters, moved, problem.initial, problem.weights)[1][0, :, 0]

    differences = [(gradient_at(step, i) - gradient_at(-step, i)) / (2 * step) for i in range(2)]
    np.testing.assert_allclose(by_jax, np.stack(differences, axis=1), rtol=0, atol=1e-8)


@representative_cell
def test_forward_mode(kind):
    problem = Problem(kind, lengths=RAGGED, mask=GAPS, resets=EPISODES, reverse=True, backend="plain")
    rng = np.random.default_rng(2)
    with jax.enable_x64(True):
        arguments = problem.arguments(jnp.float64)
        tangents = jax.tree.map(lambda leaf: jnp.asarray(oracle.draw(rng, *leaf.shape)), arguments)
        run = jax.jit(partial(jax.jvp, lambda *arguments: problem.loss(*arguments)[0]))
        _, slope = run(arguments, tangents)
    expected = sum(np.sum(g * t) for g, t in zip(problem.expected_gradients(), flat(*tangents), strict=True))
    assert float(slope) == pytest.approx(expected, rel=0, abs=1e-12)


@every_loop
def test_vmap_over_cells_sequences_and_lengths(kind, backend):
    cells = [make_cell(kind, seed=seed) for seed in (1, 2)]
    x = oracle.draw(np.random.default_rng(5), 2, BATCH, STEPS, FEATURES)
    lengths = np.asarray([[4, 0, 2], [1, 3, 4]])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cells)
    one = partial(scan, reverse=True, backend=backend)
    run = jax.jit(jax.vmap(lambda cell, x, lengths: one(cell, x, lengths=lengths)))
    outputs, last = run(stacked, x.astype(np.float32), lengths)
    for n, cell in enumerate(cells):
        expected, state = oracle.run(kind, oracle.parameters_of(cell), x[n], lengths=lengths[n], reverse=True)
        np.testing.assert_allclose(outputs[n], expected, rtol=0, atol=1e-5)
        for leaf, value in zip(jax.tree.leaves(last), state, strict=True):
            np.testing.assert_allclose(leaf[n], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    ("backend", "axis"),
    [("fused", "Auto"), *(pytest.param("native", axis, marks=needs_compiler) for axis in ("Auto", "Explicit"))],
)
@pytest.mark.parametrize(("kind", "ragged"), [("lstm", True), ("gru", False)])
def test_batch_sharding_is_inherited(jit, backend, axis, kind, ragged):
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType[axis],))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    with jax.set_mesh(mesh):
        cell = jax.device_put(make_cell(kind), NamedSharding(mesh, PartitionSpec()))
        x = oracle.draw(np.random.default_rng(7), 4, STEPS, FEATURES)
        x_sharded = jax.device_put(x.astype(np.float32), sharding)
        lengths = jax.device_put(np.asarray([4, 0, 2, 1]), sharding) if ragged else None
        run = partial(scan, cell, backend=backend)
        outputs, last = (jax.jit(run) if jit else run)(x_sharded, lengths=lengths)
    for leaf in (outputs, *jax.tree.leaves(last)):
        assert leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
    expected, _ = oracle.run(kind, oracle.parameters_of(cell), x, lengths=(4, 0, 2, 1) if ragged else None)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)


@some_cells
def test_bfloat16_cell_and_input_give_bfloat16(kind):
    cell = jax.tree.map(lambda p: p.astype(jnp.bfloat16), make_cell(kind))
    x = jnp.asarray(oracle.draw(np.random.default_rng(6), BATCH, STEPS, FEATURES), jnp.bfloat16)
    outputs, last = scan(cell, x, lengths=np.asarray([4, 0, 2]))
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, last))} == {jnp.dtype(jnp.bfloat16)}
    expected, _ = oracle.run(kind, oracle.parameters_of(cell), np.asarray(x, np.float64), lengths=(4, 0, 2))
    np.testing.assert_allclose(np.asarray(outputs, np.float64), expected, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("rg_lru", "decay"),
        ("lru", "phase"),
        ("peephole_lstm", "peephole"),
        ("mgu", "recurrent_kernel"),
        ("gru", "bias"),
    ],
)
@pytest.mark.parametrize("backend", ["plain", "auto"])
def test_parameters_of_different_dtypes(kind, name, backend):
    cell = jax.tree.map(lambda p: p.astype(jnp.bfloat16), make_cell(kind))
    setattr(cell, name, nnx.Param(getattr(make_cell(kind), name)[...]))
    x = jnp.asarray(oracle.draw(np.random.default_rng(6), BATCH, STEPS, FEATURES), jnp.bfloat16)
    with jax.numpy_dtype_promotion("standard"):
        outputs, last = scan(cell, x, backend=backend)
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, last))} == {jnp.dtype(jnp.float32)}
    expected, _ = oracle.run(kind, oracle.parameters_of(cell), np.asarray(x, np.float64))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=0.05)


def test_initial_state_takes_the_dtype_of_the_computation():
    x = np.zeros((BATCH, STEPS, FEATURES), np.float32)
    outputs, last = scan(make_cell("gru"), x, initial_state=jnp.zeros((BATCH, HIDDEN), jnp.bfloat16))
    assert outputs.dtype == last.dtype == jnp.float32


@pytest.mark.parametrize("kind", ["lstm", "layer_norm_lstm", "mgu"])
@needs_compiler
def test_a_gradient_outside_of_jit_keeps_nothing_of_another_platforms_loop(kind):
    steps = 100  # so many that what is kept of each step is larger than any parameter
    cell, x = make_cell(kind), jnp.ones((BATCH, steps, FEATURES))
    _, gradient = jax.vjp(lambda cell, x: scan(cell, x, backend="native")[0].sum(), cell, x)
    of_steps = [leaf for leaf in jax.tree.leaves(gradient) if jnp.size(leaf) >= BATCH * steps]
    assert of_steps
    assert not any((np.asarray(leaf) == 0).all() for leaf in of_steps)
