"""Zoneout shows the output of a cell, wherever in its state that lies."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import Cell
from rowrnn.recurrence.scan import scan
from rowrnn.sequence import Recurrent

HIDDEN = 5


class OutputSecond(Cell):
    """A cell whose output is the second array of its state."""

    gate_names = ("write", "show")

    def initial_state(self, projected) -> Any:
        zeros = jnp.zeros_like(projected[..., : self.hidden])
        return zeros, zeros

    def step(self, state, projected) -> Any:
        write, show = jnp.split(projected, 2, axis=-1)
        cell = 0.9 * state[0] + jnp.tanh(write)
        hidden = jax.nn.sigmoid(show) * jnp.tanh(cell)
        return (cell, hidden), hidden


class OutputByName(OutputSecond):
    """The same with names, of which that of the output comes last."""

    def initial_state(self, projected):
        return dict(zip(("cell", "output"), super().initial_state(projected), strict=True))

    def step(self, state, projected):
        (cell, hidden), output = super().step((state["cell"], state["output"]), projected)
        return {"cell": cell, "output": hidden}, output


class OutputOutside(Cell):
    """A cell whose output is no array of its state, and has another size."""

    gate_names = ("write",)

    @property
    def outputs(self):
        return 2 * self.hidden

    def step(self, state, projected):
        state = 0.5 * state + jnp.tanh(projected)
        return state, jnp.concatenate([state, 1 - state], axis=-1)


@pytest.mark.parametrize("make", [OutputSecond, OutputByName, OutputOutside])
def test_hardly_any_zoneout_hardly_changes_the_outputs(make):
    cell = make(4, HIDDEN, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 6, 4))
    expected, _ = scan(cell, x)
    outputs, _ = Recurrent(cell, zoneout=1e-6)(x)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [OutputSecond, OutputByName])
def test_an_output_that_is_part_of_the_state_is_held_with_it(make):
    cell = make(4, HIDDEN, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 6, 4))
    outputs, state = Recurrent(cell, zoneout=0.5)(x, key=jax.random.key(1), return_states=True)
    np.testing.assert_array_equal(outputs, state["output"] if isinstance(state, dict) else state[1])
    held = outputs[:, 1:] == outputs[:, :-1]
    assert 0 < held.mean() < 1


def test_zoneout_of_a_cell_with_an_output_of_its_own_is_that_of_its_state():
    """Without a key the state moves by the mean: s' = s + (1 - p) (0.5 s + tanh(x) - s), here in float64 by hand."""
    cell = OutputOutside(4, HIDDEN, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 6, 4))
    outputs, _ = Recurrent(cell, zoneout=0.3)(x)
    drive = np.tanh(np.asarray(x, np.float64) @ np.asarray(cell.input_kernel[...], np.float64))
    state, expected = np.zeros((2, HIDDEN)), []
    for step in range(6):
        new = 0.5 * state + drive[:, step]
        expected.append(np.concatenate([new, 1 - new], axis=-1))
        state = state + 0.7 * (new - state)
    np.testing.assert_allclose(outputs, np.stack(expected, axis=1), rtol=0, atol=1e-6)


class OutputCopied(OutputSecond):
    """A cell whose output is a copy of an array of its state."""

    def step(self, state, projected) -> Any:
        state, output = super().step(state, projected)
        return state, output + 0


def test_an_output_that_is_a_copy_is_what_the_step_computed():
    cell = OutputCopied(4, HIDDEN, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (2, 6, 4))
    outputs, after = Recurrent(cell, zoneout=0.5)(x, key=jax.random.key(1), return_states=True)
    before = jax.tree.map(lambda a: jnp.pad(a[:, :-1], ((0, 0), (1, 0), (0, 0))), after)
    _, expected = cell.step(before, cell.project(x))
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)
    assert (outputs != after[1]).any()
