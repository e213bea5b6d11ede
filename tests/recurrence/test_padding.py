"""What padding holds never matters; what is shown at steps that are not valid.

The bits are compared: the same program, run on two paddings, has no reason to differ.
"""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.problem import BATCH, FEATURES, GAPS, HIDDEN, STEPS, Problem, make_cell
from tests.helpers.scans import both_directions, every_loop, some_cells, with_gradients


def two_paddings(kind, backend, lengths, padding, reverse):
    """Values and gradients with zeros in the padding, and with `padding` there; and which steps are valid."""
    rng = np.random.default_rng(1)
    cell, x = make_cell(kind), rng.normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)
    valid = np.asarray([[step < length for step in range(STEPS)] for length in lengths])
    clean, padded = x.copy(), x.copy()
    clean[~valid] = 0
    padded[~valid] = np.resize(np.asarray(padding, np.float32), padded[~valid].shape)
    run = partial(with_gradients, cell, lengths=np.asarray(lengths), reverse=reverse, backend=backend)
    return run(clean), run(padded), valid


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)


some_lengths = st.tuples(*[st.integers(0, STEPS)] * BATCH)
anything = st.lists(st.floats(width=32), min_size=1, max_size=5)
finite = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5)
few_examples = settings(max_examples=30, deadline=None, derandomize=True, database=None)


@every_loop
@both_directions
@few_examples
@given(lengths=some_lengths, padding=anything)
@example(lengths=(4, 0, 2), padding=[np.nan])
@example(lengths=(1, 3, 4), padding=[np.inf, -np.inf])
def test_padding_never_changes_values(kind, backend, reverse, lengths, padding):
    (clean, _), ((outputs, last), _), valid = two_paddings(kind, backend, lengths, padding, reverse)
    assert_same_bits(clean, (outputs, last))
    assert not np.asarray(outputs)[~valid].any()
    assert (np.asarray(outputs)[valid] != 0).all()


@every_loop
@both_directions
@few_examples
@given(lengths=some_lengths, padding=finite)
def test_finite_padding_never_changes_gradients(kind, backend, reverse, lengths, padding):
    (_, clean), (_, gradients), valid = two_paddings(kind, backend, lengths, padding, reverse)
    assert_same_bits(clean, gradients)
    by_x = np.asarray(gradients[1])
    assert not by_x[~valid].any()
    assert (by_x[valid] != 0).all()


@pytest.mark.parametrize("padding", [np.nan, np.inf], ids=str)
@both_directions
@every_loop
def test_nonfinite_padding_never_changes_gradients(kind, backend, reverse, padding):
    (_, clean), (_, gradients), valid = two_paddings(kind, backend, (4, 0, 2), [padding], reverse)
    assert_same_bits(clean, gradients)
    assert not np.asarray(gradients[1])[~valid].any()


@some_cells
def test_not_a_number_in_the_padding_reaches_no_gradient_of_any_cell(kind):
    (_, clean), (_, gradients), valid = two_paddings(kind, None, (4, 0, 2), [np.nan], reverse=True)
    assert_same_bits(clean, gradients)
    assert not np.asarray(gradients[1])[~valid].any()


@every_loop
def test_padded_sequences_are_the_cut_ones(kind, backend):
    cell, cut, reverse = make_cell(kind), STEPS - 1, True  # Reverse: the first step taken is the last valid one.
    x = oracle.draw(np.random.default_rng(2), BATCH, STEPS, FEATURES).astype(np.float32)
    (outputs, last), (by_cell, by_x) = with_gradients(cell, x, np.full(BATCH, cut), reverse, backend)
    (cut_outputs, cut_last), (by_cut_cell, by_cut_x) = with_gradients(cell, x[:, :cut], None, reverse, backend)
    padded = (outputs[:, :cut], last, by_cell, by_x[:, :cut])
    chex.assert_trees_all_close(padded, (cut_outputs, cut_last, by_cut_cell, by_cut_x), rtol=0, atol=1e-5)
    expected, _ = oracle.run(kind, oracle.parameters_of(cell), x[:, :cut], reverse=reverse)
    np.testing.assert_allclose(cut_outputs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["plain", "auto"])
@both_directions
def test_outputs_are_held_over_gaps(reverse, backend):
    options = {"lengths": (3, 0, 4), "mask": GAPS, "reverse": reverse}
    problem = Problem("gru", backend=backend, hold_outputs=True, **options)
    outputs = np.asarray(jax.jit(problem.run)(*problem.arguments(jnp.float32))[0])
    shown, _ = oracle.run("gru", problem.parameters, problem.x, problem.initial, **options)
    for k in range(BATCH):
        last = np.zeros(HIDDEN)
        for t in reversed(range(STEPS)) if reverse else range(STEPS):
            last = shown[k, t] if GAPS[k, t] and t < options["lengths"][k] else last
            np.testing.assert_allclose(outputs[k, t], last, rtol=0, atol=1e-5)


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
