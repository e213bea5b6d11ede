"""One problem for a cell and for the oracle: the same random parameters, sequences and weights of the loss."""

import os
from functools import cached_property, partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rowrnn.cells import CELLS, LSTMState, MLSTMState, ProjectedLSTM, SLSTMState
from rowrnn.cells.zoneout import ZoneoutCell
from rowrnn.recurrence.scan import scan
from tests.helpers import oracle

BATCH, STEPS, FEATURES, HIDDEN = 3, 4, 3, 5
MAKERS = {
    **CELLS,
    "projected_lstm": lambda features, hidden, **options: ProjectedLSTM(features, hidden, min(2, hidden), **options),
}
KINDS = sorted(MAKERS)
# With the optimizations that users get, and tests do without.
FULL = {"xla_backend_optimization_level": 3}
if "xla_cpu_use_fusion_emitters" in os.environ.get("XLA_FLAGS", ""):
    FULL["xla_cpu_use_fusion_emitters"] = True
full_jit = partial(jax.jit, compiler_options=FULL)

RAGGED = (2, 0, 4)
# Gaps at the start, in the middle and at the end, a sequence that is one gap, and marks past the lengths.
GAPS = np.asarray([[0, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool)
# An episode that begins at the first step, in a gap, past the length, and two in a row.
EPISODES = np.asarray([[1, 0, 0, 1], [0, 0, 1, 0], [0, 1, 1, 1]], bool)


def make_cell(kind, dtype=jnp.float32, features=FEATURES, hidden=HIDDEN, seed=0):
    make = partial(MAKERS[kind], features, hidden, dtype=dtype)
    scale = 0.5 if hidden < 16 else 2.0**-4  # A wide cell of large weights is chaotic: rounding errors grow.
    return oracle.random_cell(lambda: make(rngs=nnx.Rngs(0)), np.random.default_rng(seed), scale)


def randomized(make, dtype=jnp.float32, seed=0):
    """The layer of `make()` with every parameter random, biases included."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), random_like(jax.eval_shape(make), seed))


def random_like(model, seed=0):
    """The model with every parameter random, biases included."""
    return oracle.random_like(model, np.random.default_rng(seed))


def make_state(kind, arrays, dtype=None):
    """The oracle's tuple as the cell's own state."""
    if arrays is None:
        return None
    arrays = [jnp.asarray(array, dtype) for array in arrays]
    made = {**dict.fromkeys(oracle.LSTMS, LSTMState), "slstm": SLSTMState, "mlstm": MLSTMState}
    return made[kind](*arrays) if kind in made else arrays[0]


class Problem:
    """Random parameters, sequences and weights of the loss."""

    def __init__(
        self,
        kind,
        sizes=(BATCH, STEPS, FEATURES, HIDDEN),
        given_state=True,
        reverse=False,
        lengths=None,
        mask=None,
        resets=None,
        zoneout=False,
        **options,
    ):
        batch, steps, features, hidden = sizes
        rng = np.random.default_rng(1)
        draw = partial(oracle.draw, rng)
        self.kind, self.options = kind, options
        self.steps = {"lengths": lengths, "mask": mask, "resets": resets}
        self.steps = {name: value for name, value in self.steps.items() if value is not None} | {"reverse": reverse}
        self.make_cell = partial(make_cell, kind, features=features, hidden=hidden)
        self.parameters = oracle.parameters_of(self.make_cell())
        states = oracle.draw_state(kind, self.parameters, rng, batch)
        self.x = draw(batch, steps, features)
        self.initial = states if given_state else None
        if zoneout:  # Units that are held, that are not, and that are in part.
            rates = (np.clip(rng.uniform(-1, 2, (batch, steps, s.shape[1])), 0, 1) for s in states)
            self.steps["holds"] = tuple(rate.astype(np.float32).astype(np.float64) for rate in rates)
        self.weights = [draw(batch, steps, oracle.width(kind, self.parameters)), *(draw(*s.shape) for s in states)]

    def arguments(self, dtype):
        return self.make_cell(dtype), jnp.asarray(self.x, dtype), make_state(self.kind, self.initial, dtype)

    def run(self, cell, x, state):
        steps: dict[str, Any] = {
            name: value if name in ("reverse", "holds") else jnp.asarray(value) for name, value in self.steps.items()
        }
        if holds := steps.pop("holds", None):
            x = jnp.concatenate([x, *(jnp.asarray(hold, x.dtype) for hold in holds)], axis=-1)
            cell = ZoneoutCell(cell, make_state(self.kind, holds))
        outputs, last = scan(cell, x, initial_state=state, **steps, **self.options)
        return [outputs, *jax.tree.leaves(last)]

    def loss(self, cell, x, state):
        values = self.run(cell, x, state)
        weights = [jnp.asarray(weight, x.dtype) for weight in self.weights]
        return sum((weight * value).sum() for weight, value in zip(weights, values, strict=True)), values

    @cached_property
    def derivative(self):
        return jax.grad(self.loss, argnums=(0, 1, 2), has_aux=True)

    def solve(self, dtype, jit=jax.jit):
        """Values and gradients of ours, as lists of arrays in the oracle's order."""
        gradients, values = jit(self.derivative)(*self.arguments(dtype))
        assert {leaf.dtype for leaf in jax.tree.leaves((values, gradients))} == {jnp.dtype(dtype)}
        return values, flat(*gradients)

    def expected_values(self):
        outputs, last = oracle.run(self.kind, self.parameters, self.x, self.initial, **self.steps)
        return [outputs, *last]

    def expected_gradients(self):
        by_parameters, by_x, by_initial = oracle.gradients(
            self.kind, self.parameters, self.x, self.initial, self.weights, **self.steps
        )
        return [*by_parameters.values(), by_x, *(by_initial or ())]


def flat(cell, x, state):
    """Arrays of `(cell, x, state)`, or of its gradients, in the oracle's order."""
    return [*oracle.parameters_of(cell).values(), np.asarray(x), *map(np.asarray, jax.tree.leaves(state))]


def deviation(actual, expected):
    """The largest difference between two lists of arrays."""
    chex.assert_trees_all_equal_shapes(list(actual), list(expected))
    return max(np.abs(np.asarray(a, np.float64) - np.asarray(e)).max() for a, e in zip(actual, expected, strict=True))
