"""What does not fit is refused, and the error says what was given and what was expected."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.cells import LSTMState
from rowrnn.recurrence.scan import scan
from tests.helpers.problem import BATCH, FEATURES, HIDDEN, STEPS, make_cell
from tests.helpers.scans import zeros


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


def test_dropout_that_does_not_fit():
    x = zeros(BATCH, STEPS, FEATURES)
    with pytest.raises(ValueError, match=r"dropout_mask of shape \[b, outputs\] = \[3, 5\], not \[3, 4\]"):
        scan(make_cell("gru"), x, dropout_mask=np.ones((BATCH, STEPS), np.float32))
    with pytest.raises(ValueError, match="dropout_mask for gated cells over vectors, not for MinGRU"):
        scan(make_cell("min_gru"), x, dropout_mask=np.ones((BATCH, HIDDEN), np.float32))


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
