"""Each backend against the oracle: values and gradients, of every cell, dtype and form of a batch."""

import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.machine.default import default_backend
from rowrnn.recurrence import loop
from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import BATCH, FEATURES, GAPS, KINDS, RAGGED, STEPS, Problem, deviation, full_jit, make_cell
from tests.helpers.scans import (
    FUSED,
    LINEAR,
    LOOPS,
    ON_STEPS,
    REPRESENTATIVES,
    STAGED,
    WITH_EPISODES,
    every_loop,
    fused_cell,
    needs_compiler,
    zeros,
)

IN_EVERY_MASKING = {**ON_STEPS, **WITH_EPISODES}
ONE_MASKING = {"gaps, ragged, reverse": ON_STEPS["gaps, ragged, reverse"]}
CASES = [
    pytest.param(kind, backend, options, id=f"{kind}-{backend}-{name}")
    for backend, kinds, cases in (
        ("plain", REPRESENTATIVES, IN_EVERY_MASKING),
        ("plain", [kind for kind in KINDS if kind not in REPRESENTATIVES], ONE_MASKING),
        ("fused", FUSED, {**IN_EVERY_MASKING, "full, reverse": {"reverse": True}, "ragged": {"lengths": RAGGED}}),
        ("fused", ("lru", "min_gru"), IN_EVERY_MASKING),
        ("fused", ("min_lstm", "rg_lru"), ONE_MASKING),
        ("parallel", ("lru", "min_gru"), IN_EVERY_MASKING),
        ("parallel", ("min_lstm", "rg_lru"), ONE_MASKING),
    )
    for kind in kinds
    for name, options in cases.items()
]
# Many sequences, and few whose units threads share; without dropout, and in reverse with it.
FORMS = list(itertools.product(((37, 6, 21, 37), (3, 9, 21, 32)), (False, True)))
EVERY_STATE = [
    (kind, *FORMS[(turn + number) % len(FORMS)])  # Of each cell another form comes first, and is fast.
    for turn, kind in enumerate((*FUSED, *STAGED))
    for number in range(len(FORMS))
]
IN_FLOAT32 = [
    *((kind, "plain", "gaps, ragged, reverse") for kind in KINDS),
    *((kind, "fused", "gaps, ragged, reverse") for kind in (*FUSED, *LINEAR)),
    *((kind, "parallel", "gaps, ragged, reverse") for kind in LINEAR),
    *((kind, backend, "full, from zeros") for kind in REPRESENTATIVES for backend in ("plain", "fused")),
    ("lru", "parallel", "full, from zeros"),
    *(
        pytest.param(kind, "native", case, marks=needs_compiler)
        for kind in (*FUSED, *STAGED)
        for case in ("full, from zeros", "gaps, ragged, reverse")
    ),
]


@pytest.mark.parametrize(("kind", "backend", "options"), thinned(CASES, 3))
def test_values_and_gradients_are_the_oracles(kind, backend, options):
    problem = Problem(kind, backend=backend, **options)
    with jax.enable_x64(True):
        values, gradients = problem.solve(jnp.float64)
    assert deviation(values, problem.expected_values()) < 1e-12
    assert deviation(gradients, problem.expected_gradients()) < 1e-12


@pytest.mark.parametrize(("kind", "backend"), [("lstm", "fused"), ("gru", "plain"), ("lru", "fused")])
def test_unrolled_as_on_a_gpu(kind, backend, monkeypatch):
    monkeypatch.setattr(loop, "UNROLLED", {"cpu": 4})
    problem = Problem(kind, (BATCH, 6, FEATURES, 4), backend=backend, lengths=(2, 0, 6), reverse=True)
    with jax.enable_x64(True):
        values, gradients = problem.solve(jnp.float64)
        assert "unroll=4" in str(jax.make_jaxpr(problem.derivative)(*problem.arguments(jnp.float64)))
    assert deviation(values, problem.expected_values()) < 1e-12
    assert deviation(gradients, problem.expected_gradients()) < 1e-12


@pytest.mark.parametrize(("kind", "backend", "case"), thinned(IN_FLOAT32, 3))
def test_float32(kind, backend, case):
    problem = Problem(kind, backend=backend, **ON_STEPS[case])
    values, gradients = problem.solve(jnp.float32)
    without_gradients = jax.jit(problem.run)(*problem.arguments(jnp.float32))
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(without_gradients, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 1e-5


@pytest.mark.parametrize("case", ["ragged", "gaps, reverse", *WITH_EPISODES])
@pytest.mark.parametrize("kind", [*FUSED, *thinned(STAGED, 3)])
@needs_compiler
def test_native_runs_over_lengths_gaps_and_episodes(kind, case):
    cases = {"ragged": {"lengths": RAGGED}, "gaps, reverse": {"mask": GAPS, "reverse": True}, **WITH_EPISODES}
    options = cases[case]
    problem = Problem(kind, backend="native", **options)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 1e-5


# Wider than a vector and higher than a group of rows, each by a remainder, so that tiles of every height and width and
# more than one lane take part; of few rows, threads that share the units. The oracle of these sizes is the plain
# scan in float64, itself judged above.
@pytest.mark.parametrize(
    "sizes",
    thinned(
        {str(n): n for n in [(197, 6, 21, 37), (1, 40, 1, 129), (34, 3, 70, 16), (3, 9, 21, 32), (3, 90, 21, 48)]}, 4
    ),
)
@pytest.mark.parametrize(
    "kind", thinned(["gru", "lstm", "layer_norm_lstm", "peephole_lstm", "mgu", "projected_lstm"], 2)
)
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


@pytest.mark.parametrize(
    ("kind", "sizes", "dropout"),
    thinned(EVERY_STATE, len(FORMS)),
)
@needs_compiler
def test_every_state_of_episodes_with_and_without_dropout(kind, sizes, dropout):
    cell, rng = make_cell(kind, features=sizes[2], hidden=sizes[3]), np.random.default_rng(9)
    x, lengths, resets = (
        rng.normal(size=sizes[:3]),
        rng.integers(0, sizes[1] + 1, sizes[0]),
        rng.random(sizes[:2]) < 0.3,
    )

    mask = 2.0 * (rng.random((sizes[0], cell.outputs)) < 0.5) if dropout else None

    def loss(cell, x, backend):
        steps = {"lengths": lengths, "resets": resets, "reverse": dropout}
        if mask is not None:
            steps["dropout_mask"] = jnp.asarray(mask, jnp.float32)
        shown = scan(cell, x, **steps, return_states=True, backend=backend)
        return sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(shown)), shown

    def results(backend, dtype):
        arguments = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (cell, x))
        slope = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), static_argnums=2)
        return jax.tree.map(np.asarray, jax.tree.leaves(slope(*arguments, backend)))

    with jax.enable_x64(True):
        expected = results("plain", jnp.float64)
        if kind in FUSED:
            assert deviation(results("fused", jnp.float64), expected) < 1e-11
    for found, right in zip(results("native", jnp.float32), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-4)


AXES_OF_ONE = {
    "b=1": (1, 4, 3, 5),
    "t=1": (3, 1, 3, 5),
    "d=1": (3, 4, 1, 5),
    "hidden=1": (3, 4, 3, 1),
    "all=1": (1, 1, 1, 1),
}


@pytest.mark.parametrize(
    ("kind", "sizes"),
    thinned(
        [
            pytest.param(kind, sizes, id=f"{kind}-{name}")
            for kind in KINDS
            for name, sizes in AXES_OF_ONE.items()
            if kind in REPRESENTATIVES or name == "all=1"
        ],
        3,
    ),
)
def test_axes_of_one(kind, sizes):
    problem = Problem(kind, sizes, lengths=(sizes[1], 0, 1)[: sizes[0]], reverse=True)
    with jax.enable_x64(True):
        arguments = problem.arguments(jnp.float64)
        values = jax.jit(problem.run)(*arguments)
        assert deviation(values, problem.expected_values()) < 1e-12
        if max(sizes) == 1:
            assert deviation(problem.solve(jnp.float64)[1], problem.expected_gradients()) < 1e-12


@every_loop
def test_no_sequences(kind, backend):
    x, lengths = zeros(0, STEPS, FEATURES), np.zeros(0, np.int32)
    outputs, last = scan(make_cell(kind), x, lengths=lengths, backend=backend)
    assert outputs.shape == (0, STEPS, oracle.width(kind, oracle.parameters_of(make_cell(kind))))
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


@pytest.mark.parametrize(
    ("kind", "backend"), thinned([*LOOPS, *((kind, "plain") for kind in KINDS if kind not in REPRESENTATIVES)], 2)
)
def test_nan_in_a_valid_step_is_not_swallowed(kind, backend):
    x = oracle.draw(np.random.default_rng(10), BATCH, STEPS, FEATURES).astype(np.float32)
    x[1, 2, 0] = np.nan
    outputs, last = scan(make_cell(kind), x, backend=backend)
    reached = np.isnan(np.asarray(outputs)).all(axis=2)
    np.testing.assert_array_equal(reached, [[False] * 4, [False, False, True, True], [False] * 4])
    for leaf in jax.tree.leaves(last):
        np.testing.assert_array_equal(np.isnan(leaf).all(axis=1), [False, True, False])


@fused_cell
def test_products_in_bfloat16_keep_sums_and_states_in_float32(kind):
    problem = Problem(kind, lengths=RAGGED, compute_dtype=jnp.bfloat16)
    values, gradients = problem.solve(jnp.float32)
    assert 1e-5 < deviation(values, problem.expected_values()) < 0.05
    assert deviation(gradients, problem.expected_gradients()) < 0.3
