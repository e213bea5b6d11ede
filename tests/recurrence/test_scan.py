"""`scan` against the oracle in values and gradients, and the promise that padding never matters."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.experimental import rnn
from jax.extend.core import jaxprs_in_params
from jax.sharding import NamedSharding, PartitionSpec

from rowrnn.cells import CELLS, LSTM, LSTMState, MinGRU
from rowrnn.recurrence import cudnn, native
from rowrnn.recurrence.array_form import Weights
from rowrnn.recurrence.backend_choice import default_backend, explain
from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.problem import (
    BATCH,
    EPISODES,
    FEATURES,
    GAPS,
    HIDDEN,
    KINDS,
    RAGGED,
    STEPS,
    Problem,
    deviation,
    flat,
    full_jit,
    make_cell,
)

FUSED = ("elman", "gru", "lstm")
LINEAR = ("lru", "min_gru", "min_lstm", "rg_lru")
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
every_cell = pytest.mark.parametrize("kind", KINDS)
fused_cell = pytest.mark.parametrize("kind", FUSED)
needs_compiler = pytest.mark.skipif(bool(native.unavailable()), reason=native.unavailable())

ON_STEPS = {
    "full, from zeros": {"given_state": False},
    "ragged, reverse": {"lengths": RAGGED, "reverse": True},
    "gaps": {"mask": GAPS},
    "gaps, ragged, reverse": {"mask": GAPS, "lengths": RAGGED, "reverse": True},
}
WITH_EPISODES = {
    "episodes, gaps, ragged": {"resets": EPISODES, "mask": GAPS, "lengths": RAGGED},
    "episodes, ragged, reverse": {"resets": EPISODES, "lengths": RAGGED, "reverse": True},
}
CASES = [
    pytest.param(kind, backend, options, id=f"{kind}-{backend}-{name}")
    for backend, kinds, cases in (
        ("plain", KINDS, {**ON_STEPS, **WITH_EPISODES}),
        ("fused", FUSED, {**ON_STEPS, "full, reverse": {"reverse": True}, "ragged": {"lengths": RAGGED}}),
        ("fused", LINEAR, {**ON_STEPS, **WITH_EPISODES}),
        ("parallel", LINEAR, {**ON_STEPS, **WITH_EPISODES}),
    )
    for kind in kinds
    for name, options in cases.items()
]
IN_FLOAT32 = [
    *((kind, "plain") for kind in KINDS),
    *((kind, "fused") for kind in (*FUSED, *LINEAR)),
    *((kind, "parallel") for kind in LINEAR),
    *(pytest.param(kind, "native", marks=needs_compiler) for kind in ("gru", "lstm")),
]


@pytest.mark.parametrize(("kind", "backend", "options"), CASES)
def test_values_and_gradients_are_the_oracles(kind, backend, options):
    problem = Problem(kind, backend=backend, **options)
    with jax.enable_x64(True):
        values, gradients = problem.solve(jnp.float64)
    assert deviation(values, problem.expected_values()) < 1e-12
    assert deviation(gradients, problem.expected_gradients()) < 1e-12


@pytest.mark.parametrize("case", ["full, from zeros", "gaps, ragged, reverse"])
@pytest.mark.parametrize(("kind", "backend"), IN_FLOAT32)
def test_float32(kind, backend, case):
    problem = Problem(kind, backend=backend, **ON_STEPS[case])
    values, gradients = problem.solve(jnp.float32)
    without_gradients = jax.jit(problem.run)(*problem.arguments(jnp.float32))
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(without_gradients, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 1e-5


@pytest.mark.parametrize("case", ["ragged", "gaps, reverse"])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
@needs_compiler
def test_native_runs_over_lengths_and_gaps(kind, case):
    options = {"ragged": {"lengths": RAGGED}, "gaps, reverse": {"mask": GAPS, "reverse": True}}[case]
    problem = Problem(kind, backend="native", **options)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 1e-5


# What is shown: outputs held over gaps, and the state after every step.


@pytest.mark.parametrize("backend", ["plain", "auto"])
@both_directions
def test_outputs_are_held_over_gaps(reverse, backend):
    options = {"lengths": (3, 0, 4), "mask": GAPS, "reverse": reverse}
    problem = Problem("gru", backend=backend, hold_outputs=True, **options)
    outputs = problem.run(*problem.arguments(jnp.float32))[0]
    shown, _ = oracle.run("gru", problem.parameters, problem.x, problem.initial, **options)
    for k in range(BATCH):
        last = np.zeros(HIDDEN)
        for t in reversed(range(STEPS)) if reverse else range(STEPS):
            last = shown[k, t] if GAPS[k, t] and t < options["lengths"][k] else last
            np.testing.assert_allclose(outputs[k, t], last, rtol=0, atol=1e-5)


@pytest.mark.parametrize("every", [None, 3])
@both_directions
@pytest.mark.parametrize("kind", ["lstm", "layer_norm_gru", "min_gru"])
def test_every_state_on_request(kind, reverse, every):
    options = {"lengths": RAGGED, "mask": GAPS, "reverse": reverse}
    problem = Problem(kind, return_states=True, checkpoint_every=every, **options)
    _, *states = problem.run(*problem.arguments(jnp.float32))
    for t in range(STEPS):
        # The state after step t is the last one of a run that ends there.
        marks = GAPS & ((np.arange(STEPS) >= t) if reverse else (np.arange(STEPS) <= t))
        _, expected = oracle.run(kind, problem.parameters, problem.x, problem.initial, **{**options, "mask": marks})
        for state, value in zip(states, expected, strict=True):
            np.testing.assert_allclose(state[:, t], value, rtol=0, atol=1e-5)


# Wider than a vector and higher than a group of rows, each by a remainder, so that tiles of every height and width and
# more than one lane take part; of few rows, threads that share the units. The oracle of these sizes is the plain
# scan in float64, itself judged above.
@pytest.mark.parametrize(
    "sizes", [(197, 6, 21, 37), (1, 40, 1, 129), (34, 3, 70, 16), (3, 9, 21, 32), (3, 90, 21, 48)], ids=str
)
@pytest.mark.parametrize("kind", ["gru", "lstm"])
@needs_compiler
def test_native_is_as_exact_as_autodiff_and_bitwise_repeatable(kind, sizes):
    lengths = np.random.default_rng(8).integers(0, sizes[1] + 1, sizes[0])
    problem = Problem(kind, sizes, lengths=lengths, reverse=True)

    def results(backend, dtype, jit=full_jit):
        with default_backend(backend):
            values, gradients = problem.solve(dtype, jit)
        return [np.asarray(array) for array in (*values, *gradients)]

    with jax.enable_x64(True):
        exact = results("plain", jnp.float64, jax.jit)
    native, autodiff = results("native", jnp.float32), results("plain", jnp.float32)
    chex.assert_trees_all_equal(native, results("native", jnp.float32))

    def error(arrays):
        errors = [np.sqrt(np.mean((a - e) ** 2) / np.mean(e**2)) for a, e in zip(arrays, exact, strict=True)]
        return np.asarray(errors)

    assert error(native).max() < 2e-6
    assert np.exp(np.log(error(native) / error(autodiff)).mean()) < 1.2


@pytest.mark.parametrize("every", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(
    ("kind", "backend", "options"),
    [
        ("lstm", "fused", {"lengths": RAGGED}),
        ("gru", "plain", {"mask": GAPS, "resets": EPISODES}),
        ("gru", "auto", {"mask": GAPS, "lengths": RAGGED}),
        ("min_lstm", "parallel", {"mask": GAPS, "resets": EPISODES}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@both_directions
def test_checkpoints_change_nothing(kind, backend, options, reverse, every):
    problem = Problem(kind, reverse=reverse, backend=backend, checkpoint_every=every, **options)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 1e-5


@pytest.mark.parametrize(
    ("kind", "backend"),
    [*((kind, "plain") for kind in KINDS), *((kind, "fused") for kind in FUSED), ("min_gru", "parallel")],
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


@every_cell
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


@pytest.mark.parametrize(
    "sizes",
    [(1, 4, 3, 5), (3, 1, 3, 5), (3, 4, 1, 5), (3, 4, 3, 1), (1, 1, 1, 1)],
    ids=["b=1", "t=1", "d=1", "hidden=1", "all=1"],
)
@every_cell
def test_axes_of_one(kind, sizes):
    problem = Problem(kind, sizes, lengths=(sizes[1], 0, 1)[: sizes[0]], reverse=True)
    with jax.enable_x64(True):
        arguments = problem.arguments(jnp.float64)
        values = jax.jit(problem.run)(*arguments)
        assert deviation(values, problem.expected_values()) < 1e-12
        if max(sizes) == 1:
            assert deviation(problem.solve(jnp.float64)[1], problem.expected_gradients()) < 1e-12


@every_cell
def test_no_sequences(kind):
    outputs, last = scan(make_cell(kind), np.zeros((0, STEPS, FEATURES), np.float32), lengths=np.zeros(0, np.int32))
    assert outputs.shape == (0, STEPS, oracle.sizes(kind, oracle.parameters_of(make_cell(kind)))[0])
    assert {leaf.shape[0] for leaf in jax.tree.leaves(last)} == {0}


@pytest.mark.parametrize("every", [None, 3])
@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_no_sequences_have_no_gradient(kind, every):
    # As wide as a vector of any processor, where few sequences go a way of their own.
    cell, x = make_cell(kind, hidden=16), jnp.zeros((0, STEPS, FEATURES))
    gradient = jax.grad(lambda cell: scan(cell, x, checkpoint_every=every)[0].sum())(cell)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


@needs_compiler
def test_native_passes_every_nan_on():
    # The lowest bits of a NaN may hold anything.
    nan = np.array([0x7FC00001], np.uint32).view(np.float32)
    x = np.zeros((1, 1, FEATURES), np.float32)
    x[0, 0, 0] = nan[0]
    outputs, _ = scan(make_cell("lstm"), x, backend="native")
    assert np.isnan(outputs).all()


# Padding. The bits are compared: the same program, run on two paddings, has no reason to differ.


@partial(jax.jit, static_argnames="reverse")
def with_gradients(cell, x, lengths, reverse):
    def loss(cell, x):
        outputs, last = scan(cell, x, lengths=lengths, reverse=reverse)
        return (outputs**2).sum() + sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(last)), (outputs, last)

    gradients, values = jax.grad(loss, argnums=(0, 1), has_aux=True)(cell, x)
    return values, gradients


def two_paddings(kind, lengths, padding, reverse):
    """Values and gradients with zeros in the padding, and with `padding` there; and which steps are valid."""
    rng = np.random.default_rng(1)
    cell, x = make_cell(kind), rng.normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)
    valid = np.asarray([[step < length for step in range(STEPS)] for length in lengths])
    clean, padded = x.copy(), x.copy()
    clean[~valid] = 0
    padded[~valid] = np.resize(np.asarray(padding, np.float32), padded[~valid].shape)
    run = partial(with_gradients, cell, lengths=np.asarray(lengths), reverse=reverse)
    return run(clean), run(padded), valid


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


some_lengths = st.tuples(*[st.integers(0, STEPS)] * BATCH)
anything = st.lists(st.floats(width=32), min_size=1, max_size=5)
finite = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5)
few_examples = settings(max_examples=30, deadline=None, derandomize=True, database=None)


@every_cell
@both_directions
@few_examples
@given(lengths=some_lengths, padding=anything)
@example(lengths=(4, 0, 2), padding=[np.nan])
@example(lengths=(1, 3, 4), padding=[np.inf, -np.inf])
def test_padding_never_changes_values(kind, reverse, lengths, padding):
    (clean, _), ((outputs, last), _), valid = two_paddings(kind, lengths, padding, reverse)
    assert_same_bits(clean, (outputs, last))
    assert not np.asarray(outputs)[~valid].any()
    assert (np.asarray(outputs)[valid] != 0).all()


@every_cell
@both_directions
@few_examples
@given(lengths=some_lengths, padding=finite)
def test_finite_padding_never_changes_gradients(kind, reverse, lengths, padding):
    (_, clean), (_, gradients), valid = two_paddings(kind, lengths, padding, reverse)
    assert_same_bits(clean, gradients)
    by_x = np.asarray(gradients[1])
    assert not by_x[~valid].any()
    assert (by_x[valid] != 0).all()


@pytest.mark.parametrize("padding", [np.nan, np.inf], ids=str)
@both_directions
@every_cell
def test_nonfinite_padding_never_changes_gradients(kind, reverse, padding):
    (_, clean), (_, gradients), valid = two_paddings(kind, (4, 0, 2), [padding], reverse)
    assert_same_bits(clean, gradients)
    assert not np.asarray(gradients[1])[~valid].any()


@every_cell
def test_padded_sequences_are_the_cut_ones(kind):
    cell, cut, reverse = make_cell(kind), STEPS - 1, True  # Reverse: the first step taken is the last valid one.
    x = oracle.draw(np.random.default_rng(2), BATCH, STEPS, FEATURES).astype(np.float32)
    (outputs, last), (by_cell, by_x) = with_gradients(cell, x, np.full(BATCH, cut), reverse)
    (cut_outputs, cut_last), (by_cut_cell, by_cut_x) = with_gradients(cell, x[:, :cut], None, reverse)
    padded = (outputs[:, :cut], last, by_cell, by_x[:, :cut])
    chex.assert_trees_all_close(padded, (cut_outputs, cut_last, by_cut_cell, by_cut_x), rtol=0, atol=1e-5)
    expected, _ = oracle.run(kind, oracle.parameters_of(cell), x[:, :cut], reverse=reverse)
    np.testing.assert_allclose(cut_outputs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("kind", "backend"), [("gru", "plain"), *((k, b) for k in LINEAR for b in ("fused", "parallel"))]
)
def test_episodes_do_not_see_each_other(kind, backend, reverse):
    cell = make_cell(kind)
    x = oracle.draw(np.random.default_rng(10), BATCH, STEPS, FEATURES).astype(np.float32)
    resets = np.zeros((BATCH, STEPS), bool)
    resets[:, 2] = True
    own, other = (slice(0, 2), slice(2, 4)) if reverse else (slice(2, 4), slice(0, 2))

    @jax.jit
    def solve(x):
        def loss(cell, x):
            outputs, _ = scan(cell, x, resets=resets, reverse=reverse, backend=backend)
            return (outputs[:, own] ** 2).sum(), outputs

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(cell, x)

    (_, by_x), outputs = solve(x)
    assert not np.asarray(by_x)[:, other].any()
    x[:, other] = np.nan
    _, seen = solve(x)
    np.testing.assert_array_equal(np.asarray(seen)[:, own], np.asarray(outputs)[:, own])


# Under JAX's transformations, and other dtypes.


def test_lengths_out_of_range_act_as_the_nearest_bound_inside_jit():
    cell = make_cell("gru")
    x = oracle.draw(np.random.default_rng(3), BATCH, STEPS, FEATURES)
    run = jax.jit(lambda x, lengths: scan(cell, x, lengths=lengths))
    outputs, last = run(x.astype(np.float32), np.asarray([9, -3, 2]))
    expected, (state,) = oracle.run("gru", oracle.parameters_of(cell), x, lengths=(4, 0, 2))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(last, state, rtol=0, atol=1e-5)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    ("dtype", "steps"),
    [(np.int8, 4), (np.uint8, 4), (np.int8, 130)],
    ids=["int8", "uint8", "int8, 130 steps"],
)
def test_narrow_integer_lengths(dtype, steps, jit):
    cell = make_cell("elman", features=1, hidden=1)
    x = oracle.draw(np.random.default_rng(4), BATCH, steps, 1)
    lengths = np.asarray([min(steps, 127), 0, 2], dtype)
    run = partial(scan, cell)
    outputs, _ = (jax.jit(run) if jit else run)(x.astype(np.float32), lengths=lengths)
    expected, _ = oracle.run("elman", oracle.parameters_of(cell), x, lengths=lengths)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)


@every_cell
def test_vmap_over_cells_sequences_and_lengths(kind):
    cells = [make_cell(kind, seed=seed) for seed in (1, 2)]
    x = oracle.draw(np.random.default_rng(5), 2, BATCH, STEPS, FEATURES)
    lengths = np.asarray([[4, 0, 2], [1, 3, 4]])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cells)
    run = jax.jit(jax.vmap(lambda cell, x, lengths: scan(cell, x, lengths=lengths, reverse=True)))
    outputs, last = run(stacked, x.astype(np.float32), lengths)
    for n, cell in enumerate(cells):
        expected, state = oracle.run(kind, oracle.parameters_of(cell), x[n], lengths=lengths[n], reverse=True)
        np.testing.assert_allclose(outputs[n], expected, rtol=0, atol=1e-5)
        for leaf, value in zip(jax.tree.leaves(last), state, strict=True):
            np.testing.assert_allclose(leaf[n], value, rtol=0, atol=1e-5)


@every_cell
def test_bfloat16_cell_and_input_give_bfloat16(kind):
    cell = jax.tree.map(lambda p: p.astype(jnp.bfloat16), make_cell(kind))
    x = jnp.asarray(oracle.draw(np.random.default_rng(6), BATCH, STEPS, FEATURES), jnp.bfloat16)
    outputs, last = scan(cell, x, lengths=np.asarray([4, 0, 2]))
    assert {leaf.dtype for leaf in jax.tree.leaves((outputs, last))} == {jnp.dtype(jnp.bfloat16)}
    expected, _ = oracle.run(kind, oracle.parameters_of(cell), np.asarray(x, np.float64), lengths=(4, 0, 2))
    np.testing.assert_allclose(np.asarray(outputs, np.float64), expected, rtol=0, atol=0.05)


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


# Which backend.


class Subclass(LSTM):
    """A cell that may step otherwise than its base."""


class Bounded(MinGRU):
    """A linear cell that shows another output."""

    def step(self, state, projected):
        state, output = super().step(state, projected)
        return state, jnp.tanh(output)


def test_a_cell_that_steps_otherwise_is_run_by_its_step():
    cell = Bounded(FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    x = jnp.asarray(oracle.draw(np.random.default_rng(6), BATCH, STEPS, FEATURES), jnp.float32)
    assert explain(cell, x) == "plain: Bounded is none of Elman, LSTM, GRU"
    outputs, _ = scan(cell, x)
    expected, _ = oracle.run("min_gru", oracle.parameters_of(cell), np.asarray(x))
    np.testing.assert_allclose(outputs, np.tanh(expected), rtol=0, atol=1e-5)


def test_explain_says_what_auto_takes_and_why():
    x = jnp.zeros((BATCH, STEPS, FEATURES))
    make = {"elman": CELLS["elman"], "lstm": LSTM, "subclass": Subclass}
    cells = {name: cell(FEATURES, HIDDEN, rngs=nnx.Rngs(0)) for name, cell in make.items()}
    assert explain(cells["elman"], x).startswith("fused: native is out, it runs a float32 LSTM or GRU")
    assert explain(cells["lstm"], x, compute_dtype=jnp.bfloat16).startswith("fused: ")
    assert explain(cells["subclass"], x) == "plain: Subclass is none of Elman, LSTM, GRU"
    assert explain(cells["lstm"], x, backend="plain") == "plain: asked for"
    with default_backend("fused"):
        assert explain(cells["lstm"], x) == "fused: asked for"


@needs_compiler
def test_auto_takes_native_on_a_cpu():
    cell, x = make_cell("gru"), jnp.zeros((BATCH, STEPS, FEATURES))
    assert explain(cell, x) == "native: a float32 GRU on a CPU"
    assert "rowrnn.gru_forward" in jax.jit(partial(scan, cell)).lower(x).as_text()


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        ("warp", {}, r"knows no backend 'warp'; there are auto, plain, fused, native, parallel, cudnn"),
        ("cudnn", {}, r"'cudnn': cuDNN needs a CUDA GPU, and JAX runs on cpu here"),
        (
            "native",
            {"compute_dtype": jnp.bfloat16},
            r"'native': it runs a float32 LSTM or GRU, not a float32 LSTM in b",
        ),
        ("plain", {"compute_dtype": jnp.bfloat16}, r"'plain': it rounds nothing to bfloat16"),
        ("auto", {"checkpoint_every": 0}, r"checkpoint_every of at least 1 step, not 0"),
    ],
    ids=["unknown", "cudnn", "native", "plain", "checkpoint"],
)
def test_backends_that_cannot_be_taken(backend, options, message):
    with pytest.raises(ValueError, match=message):
        scan(make_cell("lstm"), zeros(BATCH, STEPS, FEATURES), backend=backend, **options)


def test_cudnn_weights_are_in_its_order():
    """cuDNN runs on CUDA only; JAX's reference of it reads the same flat weights."""
    cell = make_cell("lstm")
    arrays = [cell.input_kernel[...], cell.bias[...], cell.recurrent_kernel[...], jnp.zeros(0)]
    unpacked = rnn.unpack_lstm_weights(cudnn.flat_weights(Weights(*arrays)), FEATURES, HIDDEN, 1, False)
    x = oracle.draw(np.random.default_rng(9), BATCH, STEPS, FEATURES)
    state = jnp.zeros((1, BATCH, HIDDEN))
    full = jnp.full((BATCH,), STEPS, jnp.int32)
    sizes = (FEATURES, HIDDEN, 1, 0.0, False)
    outputs, _, _ = rnn.lstm_ref(jnp.asarray(x, jnp.float32), state, state, *unpacked, full, *sizes)
    expected, _ = oracle.run("lstm", oracle.parameters_of(cell), x)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)


@fused_cell
def test_products_in_bfloat16_keep_sums_and_states_in_float32(kind):
    problem = Problem(kind, lengths=RAGGED, compute_dtype=jnp.bfloat16)
    values, gradients = problem.solve(jnp.float32)
    assert 1e-5 < deviation(values, problem.expected_values()) < 0.05
    assert deviation(gradients, problem.expected_gradients()) < 0.3


# The program, not the clock.


def equations(jaxpr):
    """All equations of a program, those of its loops and calls included."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from equations(inner)


@pytest.mark.parametrize("steps", [7, 50])
@fused_cell
def test_fused_keeps_few_residuals_and_multiplies_once_a_step(kind, steps):
    def products(equations):
        return sum(equation.primitive.name == "dot_general" for equation in equations)

    problem = Problem(kind, (BATCH, steps, FEATURES, 11), backend="fused", given_state=False)
    cell, x, state = problem.arguments(jnp.float32)
    program = jax.make_jaxpr(jax.grad(lambda cell: problem.loss(cell, x, state)[0]))(cell).jaxpr
    loops = [equation for equation in equations(program) if equation.primitive.name == "scan"]
    insides = [loop.params["jaxpr"].jaxpr for loop in loops]
    # What a step returns is stacked, and has an axis more outside; the state has not.
    stacked = [
        sum(outer.aval.ndim > inner.aval.ndim for outer, inner in zip(loop.outvars, inside.outvars, strict=True))
        for loop, inside in zip(loops, insides, strict=True)
    ]
    bodies = [list(equations(inside)) for inside in insides]
    # Forward: outputs and cells, and four gates, of a GRU one of them its candidate's recurrent half. Backward: the
    # gradients of the gates.
    assert stacked == [{"elman": 2, "lstm": 6, "gru": 6}[kind], 2]
    # Besides, two before the loop, one for the form of the initial state, which XLA drops, and two after it for the
    # weights' gradient; none for x, for whose gradient nobody asks.
    assert [products(body) for body in bodies] == [1, 1]
    assert products(equations(program)) == 6


@pytest.mark.parametrize("kind", LINEAR)
def test_parallel_has_no_loop(kind):
    def primitives(backend):
        problem = Problem(kind, (BATCH, 40, FEATURES, HIDDEN), backend=backend)
        cell, x, state = problem.arguments(jnp.float32)
        program = jax.make_jaxpr(jax.grad(lambda cell: problem.loss(cell, x, state)[0]))(cell).jaxpr
        return {equation.primitive.name for equation in equations(program)}

    assert not {"scan", "while"} & primitives("parallel")
    assert "scan" in primitives("fused")


@pytest.mark.parametrize("backend", ["plain", "fused"])
def test_checkpoints_keep_little(backend):
    def planned(every):
        problem = Problem("gru", (BATCH, 100, FEATURES, 16), backend=backend, checkpoint_every=every)
        run = jax.jit(jax.grad(lambda *arguments: problem.loss(*arguments)[0]))
        memory: Any = run.lower(*problem.arguments(jnp.float32)).compile().memory_analysis()
        return memory.temp_size_in_bytes

    assert planned(10) < 0.5 * planned(None)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@needs_compiler
def test_native_is_one_call_each_way_whatever_the_steps(kind):
    def calls(steps):
        problem = Problem(kind, (BATCH, steps, FEATURES, HIDDEN), given_state=False)
        cell, x, state = problem.arguments(jnp.float32)
        program = jax.jit(jax.grad(lambda cell: problem.loss(cell, x, state)[0])).lower(cell).as_text()
        assert "while" not in program
        # Nobody asks for the gradient of x, and nothing multiplies for it.
        assert "dot_general" not in program
        return program.count(f"@rowrnn.{kind}")

    assert calls(3) == calls(50) == 2


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
@every_cell
def test_lowers_for_every_platform(kind, platform):
    def gradient(cell, x, lengths):
        def loss(cell, x):
            outputs, _ = scan(cell, x, lengths=lengths, reverse=True, checkpoint_every=2)
            return outputs.sum()

        return jax.grad(loss, argnums=(0, 1))(cell, x)

    arguments = make_cell(kind), jnp.zeros((BATCH, STEPS, FEATURES)), jnp.asarray([4, 0, 2])
    # Compiled code of this machine cannot be exported.
    with default_backend("auto" if platform != "cpu" else "fused" if kind in (*FUSED, *LINEAR) else "plain"):
        exported = jax.export.export(jax.jit(gradient), platforms=[platform])(*arguments)
    assert exported.platforms == (platform,)


# Errors.


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (zeros(STEPS, FEATURES), ValueError, r"shape \[b, t, d\].*was given \[4, 3\]"),
        (zeros(1, BATCH, STEPS, FEATURES), ValueError, r"shape \[b, t, d\].*was given \[1, 3, 4, 3\]"),
        (zeros(BATCH, STEPS, 2), ValueError, r"d = 3 features, and was given \[3, 4, 2\]"),
        (zeros(BATCH, 0, FEATURES), ValueError, r"at least one step.*was given \[3, 0, 3\]"),
        (zeros(BATCH, STEPS, FEATURES, dtype=np.int32), TypeError, "floating-point sequences and was given int32"),
        (zeros(BATCH, STEPS, FEATURES, dtype=np.uint8), TypeError, "was given uint8: convert and scale them"),
    ],
    ids=["rank 2", "rank 4", "features", "no steps", "int32", "uint8"],
)
def test_sequences_that_do_not_fit(x, error, message):
    with pytest.raises(error, match=message):
        scan(make_cell("gru"), x)


@pytest.mark.parametrize(
    ("lengths", "error", "message"),
    [
        (np.asarray([4, 5, 2]), ValueError, r"between 0 and t = 4.*run from 2 to 5"),
        (np.asarray([4, -1, 2]), ValueError, r"between 0 and t = 4.*run from -1 to 4"),
        (np.asarray([4, 2]), ValueError, r"one length for each of 3 sequences, \[3\], not \[2\]"),
        (np.asarray([[4, 2, 1]]), ValueError, r"not \[1, 3\]"),
        (np.asarray(4), ValueError, r"not \[\]"),
        (np.asarray([4.0, 2.0, 1.0], np.float32), TypeError, "integer lengths and was given float32"),
        (np.asarray([True, False, True]), TypeError, "integer lengths and was given bool"),
    ],
    ids=["too long", "negative", "too few", "rank 2", "rank 0", "float", "bool"],
)
def test_lengths_that_do_not_fit(lengths, error, message):
    with pytest.raises(error, match=message):
        scan(make_cell("gru"), zeros(BATCH, STEPS, FEATURES), lengths=lengths)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"mask": np.ones((BATCH, 3), bool)}, ValueError, r"a mask of shape \[b, t\] = \[3, 4\].*not \[3, 3\]"),
        ({"mask": np.ones(STEPS, bool)}, ValueError, r"a mask of shape .*not \[4\]"),
        ({"mask": np.ones((BATCH, STEPS), np.int32)}, TypeError, "a mask of booleans and was given int32"),
        ({"resets": np.ones((2, STEPS), bool)}, ValueError, r"resets of shape .*not \[2, 4\]"),
        ({"resets": np.ones((BATCH, STEPS), np.float32)}, TypeError, "resets of booleans and was given float32"),
    ],
)
def test_marks_that_do_not_fit(options, error, message):
    with pytest.raises(error, match=message):
        scan(make_cell("gru"), zeros(BATCH, STEPS, FEATURES), **options)


@pytest.mark.parametrize(
    ("kind", "backend", "options", "message"),
    [
        ("gru", "native", {"resets": EPISODES}, "'native': it has no resets"),
        ("lstm", "fused", {"return_states": True}, "'fused': it has no states to return but the last"),
        ("gru", "parallel", {}, "'parallel': GRU is no linear cell"),
        (
            "mgu",
            "auto",
            {"compute_dtype": jnp.bfloat16},
            "round the products of MGU to bfloat16, which Elman, LSTM, GRU can",
        ),
        ("mgu", "fused", {}, "'fused': MGU is none of Elman, LSTM, GRU"),
        ("min_gru", "native", {}, "'native': MinGRU is none of Elman, LSTM, GRU"),
    ],
)
def test_backends_that_lack_what_is_asked(kind, backend, options, message):
    with pytest.raises(ValueError, match=message):
        scan(make_cell(kind), zeros(BATCH, STEPS, FEATURES), backend=backend, **options)


def test_explain_knows_what_is_asked():
    cell, x = make_cell("gru"), jnp.zeros((BATCH, STEPS, FEATURES))
    assert explain(cell, x, resets=True) == "plain: it has no resets"
    assert explain(cell, x, return_states=True) == "plain: it has no states to return but the last"
    assert explain(make_cell("rg_lru"), x, resets=True) == "fused: a float32 RGLRU on cpu"


def test_shapes_are_checked_inside_jit_too():
    run = jax.jit(partial(scan, make_cell("gru")))
    with pytest.raises(ValueError, match=r"d = 3 features, and was given \[3, 4, 2\]"):
        run(zeros(BATCH, STEPS, 2))
    with pytest.raises(ValueError, match=r"one length for each of 3 sequences"):
        run(zeros(BATCH, STEPS, FEATURES), lengths=np.asarray([4, 2]))


@pytest.mark.parametrize(
    ("kind", "state", "message"),
    [
        ("gru", jnp.zeros((BATCH, 4)), r"of shape \[3, 5\] and was given \[3, 4\]"),
        ("elman", jnp.zeros((1, HIDDEN)), r"of shape \[3, 5\] and was given \[1, 5\]"),
        ("elman", jnp.zeros(HIDDEN), r"of shape \[3, 5\] and was given \[5\]"),
        ("lstm", LSTMState(jnp.zeros((BATCH, HIDDEN)), jnp.zeros((2, HIDDEN))), r"\[3, 5\] and was given \[2, 5\]"),
        ("lstm", jnp.zeros((BATCH, HIDDEN)), r"of the form LSTMState\(.*was given \[3, 5\]"),
        ("lstm", (jnp.zeros((BATCH, HIDDEN)),) * 2, r"of the form LSTMState\(.*was given \('"),
        ("gru", LSTMState(*(jnp.zeros((BATCH, HIDDEN)),) * 2), r"form \[3, 5\], and was given LSTMState"),
    ],
    ids=["hidden", "batch", "rank", "cell's shape", "array for LSTM", "tuple for LSTM", "LSTMState for GRU"],
)
def test_initial_states_that_do_not_fit(kind, state, message):
    with pytest.raises(ValueError, match=message):
        scan(make_cell(kind), zeros(BATCH, STEPS, FEATURES), initial_state=state)


@pytest.mark.parametrize(("kind", "backend"), IN_FLOAT32)
def test_nan_in_a_valid_step_is_not_swallowed(kind, backend):
    x = oracle.draw(np.random.default_rng(10), BATCH, STEPS, FEATURES).astype(np.float32)
    x[1, 2, 0] = np.nan
    outputs, last = scan(make_cell(kind), x, backend=backend)
    reached = np.isnan(np.asarray(outputs)).all(axis=2)
    np.testing.assert_array_equal(reached, [[False] * 4, [False, False, True, True], [False] * 4])
    for leaf in jax.tree.leaves(last):
        np.testing.assert_array_equal(np.isnan(leaf).all(axis=1), [False, True, False])
