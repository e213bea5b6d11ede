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
from tests.helpers.scans import FUSED, needs_compiler

CASES = {
    "gaps, ragged, reverse": {"mask": GAPS, "lengths": RAGGED, "reverse": True},
    "full": {},
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
@pytest.mark.parametrize(
    ("kind", "backend"),
    [
        *(pytest.param(kind, "native", marks=needs_compiler) for kind in FUSED),
        *thinned([(kind, "persistent") for kind in FUSED], 2),
    ],
)
def test_in_compiled_code(kind, backend, options, monkeypatch):
    monkeypatch.setattr(persistent, "unavailable", lambda: "")  # Interpreted.
    problem = Problem(kind, zoneout=True, backend=backend, **options)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 5e-5


@pytest.mark.parametrize("backend", thinned([pytest.param("native", marks=needs_compiler), "fused"], 2))
@pytest.mark.parametrize("sizes", [(37, 6, 21, 37), (3, 9, 21, 32)], ids=["many", "few"])
@pytest.mark.parametrize("kind", thinned(FUSED, 3))
def test_with_dropout_episodes_and_every_state_shown(kind, sizes, backend):
    rng, cell = np.random.default_rng(2), make_cell(kind, features=sizes[2], hidden=sizes[3])
    b, t, _, h = sizes
    state = (jnp.zeros((b, h)),) * (2 if "lstm" in kind else 1)
    held = ZoneoutCell(cell, cell.merge_state(state[0], state[-1]))
    holds = [np.clip(rng.uniform(-1, 2, (b, t, h)), 0, 1) for _ in state]
    x = np.concatenate([rng.normal(size=sizes[:3]), *holds], axis=-1).astype(np.float32)
    steps = {"lengths": np.arange(b) % (t + 1), "resets": rng.random((b, t)) < 0.2, "reverse": True}
    dropped = 2.0 * (rng.random((b, h)) < 0.5)

    def loss(cell, x, backend):
        mask = jnp.asarray(dropped, x.dtype)
        shown = scan(cell, x, dropout_mask=mask, return_states=True, backend=backend, **steps)
        return sum(
            (leaf * jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape)).sum()
            for leaf in jax.tree.leaves(shown)
        ), shown

    slope = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True), static_argnames="backend")
    with jax.enable_x64(True):
        exact = jax.device_get(slope(*jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), (held, x)), backend="plain"))
    (by_cell, by_x), shown = jax.device_get(slope(held, jnp.asarray(x), backend=backend))
    features = slice(sizes[2])  # Masks and rates have no gradient in loops of our own.
    actual, expected = ((by_cell, by_x[..., features], shown), (exact[0][0], exact[0][1][..., features], exact[1]))
    for one, other in zip(*map(jax.tree.leaves, (actual, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * max(1, np.abs(other).max()))


def test_second_derivatives_and_rounded_products():
    cell, x = make_cell("lstm"), np.random.default_rng(0).normal(size=(BATCH, STEPS, FEATURES))
    layer, key = Recurrent(cell, zoneout=0.3), jax.random.key(0)

    def slope(x, backend):
        return jax.grad(lambda x: jnp.sin(layer(x, key=key, backend=backend)[0]).sum())(x)

    def second(backend):
        return jax.grad(lambda x: (slope(x, backend) ** 2).sum())(jnp.asarray(x, jnp.float32))

    np.testing.assert_allclose(second("fused"), second("plain"), rtol=1e-4, atol=1e-5)
    rounded, _ = layer(x.astype(np.float32), key=key, backend="fused", compute_dtype=jnp.bfloat16)
    whole, _ = layer(x.astype(np.float32), key=key, backend="fused")
    assert 1e-5 < np.abs(rounded - whole).max() < 0.05


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
