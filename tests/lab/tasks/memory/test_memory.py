"""Rows and delays of the memory task, and what is asked after them, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import CELLS, GRU, scan
from rowrnn.lab.tasks.memory.task import Questions, Witness, correct, delayed_rows, fixed_delays, gradient_norms
from tests.helpers.cases import thinned


@pytest.fixture
def images():
    return jax.random.randint(jax.random.key(0), (5, 3, 4, 2), 0, 256).astype(jnp.uint8)


@pytest.fixture
def model():
    return Witness(GRU(8, 6, rngs=nnx.Rngs(1)), 3, rngs=nnx.Rngs(2))


def test_the_rows_of_an_image_come_first_and_then_what_says_nothing(images):
    blank = delayed_rows(images, jax.random.key(3), delay=2, noise=False)
    np.testing.assert_allclose(blank[:, :3], np.asarray(images).reshape(5, 3, 8) / 255, rtol=1e-6)
    assert not np.asarray(blank[:, 3:]).any()
    noise = delayed_rows(images, jax.random.key(3), delay=2, noise=True)
    np.testing.assert_array_equal(noise[:, :3], blank[:, :3])
    assert ((noise[:, 3:] > 0) & (noise[:, 3:] < 1)).all()


def test_fixed_delays_are_log_uniform_and_always_the_same():
    delays = fixed_delays(20_000, delay=99)
    np.testing.assert_array_equal(delays, fixed_delays(20_000, delay=99))
    assert (delays.min(), delays.max()) == (0, 99)
    # exp(u) - 1 is below n if u is below log(n + 1), of log(delay + 2).
    for n in (1, 10, 50):
        assert (delays < n).mean() == pytest.approx(np.log(n + 1) / np.log(101), abs=0.01)


def test_a_model_is_asked_after_the_delay_of_each_image_whatever_the_longest(images, model):
    labels, delays = jnp.array([0, 1, 2, 0, 1]), jnp.array([0, 1, 4, 2, 0])
    asked = correct(model, Questions(images, labels, delays), longest=4, noise=False)
    for n in range(5):
        rows = delayed_rows(images[n : n + 1], jax.random.key(0), delay=int(delays[n]), noise=False)
        answer = model(rows, jnp.array([rows.shape[1]])).argmax()
        assert bool(asked[n]) == (int(answer) == int(labels[n]))


def test_gradient_norms_are_those_of_each_row(images, model):
    batch = Questions(images, jnp.zeros(5, jnp.int32), jnp.zeros(5, jnp.int32))
    norms = gradient_norms(model, batch, delay=2, noise=False)
    rows = delayed_rows(images, jax.random.key(0), delay=2, noise=False)

    def loss_of(row, n):
        """Loss of the first image with its row n exchanged."""
        return -jax.nn.log_softmax(model(rows[:1].at[0, n].set(row), jnp.array([5])))[0, 0]

    assert norms.shape == (5, 5)
    slope = jax.jit(jax.grad(loss_of))
    for n in range(5):
        np.testing.assert_allclose(norms[0, n], np.linalg.norm(slope(rows[0, n], n)), rtol=1e-4)


@pytest.mark.parametrize("kind", thinned(sorted(CELLS), 4))
def test_any_cell_answers_as_if_its_rows_ended_there(kind):
    cell = CELLS[kind](8, 6, rngs=nnx.Rngs(1))
    witness = Witness(cell, 3, rngs=nnx.Rngs(2))
    rows = jnp.asarray(np.random.default_rng(0).random((2, 5, 8)), jnp.float32)
    answers = witness(rows, jnp.array([3, 5]))
    for n, length in enumerate((3, 5)):
        outputs, _ = scan(cell, rows[n : n + 1, :length])
        np.testing.assert_allclose(answers[n], witness.head(outputs[0, -1]), rtol=0, atol=1e-6)
