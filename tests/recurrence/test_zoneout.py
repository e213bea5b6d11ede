"""Zoneout in every loop that has it, against the oracle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn import explain
from rowrnn.cells.zoneout import ZoneoutCell
from rowrnn.recurrence import persistent
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Recurrent
from tests.helpers.cases import thinned
from tests.helpers.problem import BATCH, EPISODES, FEATURES, GAPS, RAGGED, STEPS, Problem, deviation, make_cell
from tests.helpers.scans import FUSED, fused_cell, needs_compiler

CASES = {
    "full": {},
    "gaps, ragged, reverse": {"mask": GAPS, "lengths": RAGGED, "reverse": True},
    "episodes, ragged, from zeros": {"resets": EPISODES, "lengths": RAGGED, "given_state": False},
    "segments": {"checkpoint_every": 3},
}
every_case = pytest.mark.parametrize("options", thinned(CASES, 2))


@every_case
@pytest.mark.parametrize(
    ("kind", "backend"), [*((kind, "fused") for kind in FUSED), ("lstm", "plain"), ("min_gru", "plain")]
)
def test_values_and_gradients_are_the_oracles(kind, backend, options):
    problem = Problem(kind, zoneout=True, backend=backend, **options)
    with jax.enable_x64(True):
        values, gradients = problem.solve(jnp.float64)
    assert deviation(values, problem.expected_values()) < 1e-12
    assert deviation(gradients, problem.expected_gradients()) < 1e-12


@every_case
@pytest.mark.parametrize("backend", [pytest.param("native", marks=needs_compiler), "persistent"])
@fused_cell
def test_in_compiled_code(kind, backend, options, monkeypatch):
    monkeypatch.setattr(persistent, "unavailable", lambda: "")  # Interpreted.
    problem = Problem(kind, zoneout=True, backend=backend, **options)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 5e-5


@pytest.mark.parametrize("sizes", [(37, 6, 21, 37), (3, 9, 21, 32)], ids=["many", "few"])
@fused_cell
@needs_compiler
def test_of_many_rows_and_of_few_whose_units_threads_share(kind, sizes):
    lengths, resets = np.arange(sizes[0]) % (sizes[1] + 1), np.random.default_rng(2).random(sizes[:2]) < 0.2
    problem = Problem(kind, sizes, zoneout=True, lengths=lengths, resets=resets, backend="native")
    problem_in_float64 = Problem(kind, sizes, zoneout=True, lengths=lengths, resets=resets, backend="plain")
    with jax.enable_x64(True):
        expected_values, expected_gradients = problem_in_float64.solve(jnp.float64)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, expected_values) < 1e-5
    for actual, expected in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


@needs_compiler
def test_every_state_is_shown_and_held_bit_by_bit():
    layer = Recurrent(make_cell("lstm"), zoneout=0.5)
    x = np.random.default_rng(0).normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)
    outputs, states = layer(x, key=jax.random.key(0), return_states=True, backend="native")
    np.testing.assert_array_equal(outputs, states.hidden)
    for of_steps in states:
        held = (np.asarray(of_steps)[:, 1:] == np.asarray(of_steps)[:, :-1]).mean()
        assert 0.2 < held < 0.8
    other, _ = layer(x, key=jax.random.key(0), backend="plain")
    np.testing.assert_allclose(outputs, other, rtol=0, atol=1e-6)


@needs_compiler
def test_the_fastest_loop_is_taken_and_others_say_why_not():
    x = jnp.zeros((BATCH, STEPS, FEATURES + 10))
    lstm, min_gru = (
        ZoneoutCell(make_cell(kind), state) for kind, state in (("lstm", (x[0, :, :5],) * 2), ("min_gru", x[0, :, :5]))
    )
    assert explain(lstm, x) == "native: a float32 LSTM with zoneout on cpu"
    for backend, reason in (
        ("native", "no compiled code for MinGRU with zoneout"),
        ("fused", "MinGRU with zoneout is none of"),
    ):
        with pytest.raises(ValueError, match=reason):
            scan(min_gru, jnp.zeros((BATCH, STEPS, min_gru.features)), backend=backend)
    with pytest.raises(ValueError, match="a float32 LSTM, not a float32 LSTM with zoneout"):
        scan(lstm, x, backend="cudnn")
