"""States along the way: at every step, at segments between checkpoints, and where an episode begins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.cases import thinned
from tests.helpers.problem import BATCH, EPISODES, FEATURES, GAPS, RAGGED, STEPS, Problem, deviation, make_cell
from tests.helpers.scans import both_directions


@pytest.mark.parametrize("every", [None, 3])
@both_directions
@pytest.mark.parametrize("kind", thinned(["lstm", "layer_norm_gru", "min_gru"], 3))
def test_every_state_on_request(kind, reverse, every):
    options = {"lengths": RAGGED, "mask": GAPS, "reverse": reverse}
    problem = Problem(kind, return_states=True, checkpoint_every=every, **options)
    _, *states = jax.jit(problem.run)(*problem.arguments(jnp.float32))
    for t in range(STEPS):
        # The state after step t is the last one of a run that ends there.
        marks = GAPS & ((np.arange(STEPS) >= t) if reverse else (np.arange(STEPS) <= t))
        _, expected = oracle.run(kind, problem.parameters, problem.x, problem.initial, **{**options, "mask": marks})
        for state, value in zip(states, expected, strict=True):
            np.testing.assert_allclose(state[:, t], value, rtol=0, atol=1e-5)


MASKED = (
    ("lstm", "fused", {"lengths": RAGGED}),
    ("gru", "plain", {"mask": GAPS, "resets": EPISODES}),
    ("gru", "auto", {"mask": GAPS, "lengths": RAGGED}),
    ("min_lstm", "parallel", {"mask": GAPS, "resets": EPISODES}),
)


# Four steps in segments of one, of three and a remainder, of half of them, of all, and of more than there are.
@pytest.mark.parametrize(
    ("kind", "backend", "options", "every"),
    thinned(
        [*((*case, every) for case in MASKED for every in (1, 3)), *((*MASKED[1], every) for every in (2, 4, 9))], 3
    ),
    ids=lambda value: "" if isinstance(value, dict) else str(value),
)
@both_directions
def test_checkpoints_change_nothing(kind, backend, options, reverse, every):
    problem = Problem(kind, reverse=reverse, backend=backend, checkpoint_every=every, **options)
    values, gradients = problem.solve(jnp.float32)
    assert deviation(values, problem.expected_values()) < 1e-5
    assert deviation(gradients, problem.expected_gradients()) < 1e-5


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("kind", "backend"),
    thinned([("gru", "plain"), *((k, b) for k in ("lru", "min_gru") for b in ("fused", "parallel"))], 2),
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
