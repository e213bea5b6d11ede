"""The cells, backends and masks over which the tests of `scan` run."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.recurrence import native
from rowrnn.recurrence.scan import scan
from tests.helpers.cases import thinned
from tests.helpers.problem import EPISODES, GAPS, KINDS, RAGGED

FUSED = ("elman", "gru", "lstm", "peephole_lstm")
# Those with a second product in each step, or layer normalization.
STAGED = ("layer_norm_gru", "layer_norm_lstm", "mgu", "projected_lstm", "reset_first_gru")
LINEAR = ("lru", "min_gru", "min_lstm", "rg_lru")
# A state of two arrays, a state of one, and a state of complex numbers: what a loop can meet.
REPRESENTATIVES = ("lstm", "gru", "lru")

no_native = native.unavailable() or ("" if jax.default_backend() == "cpu" else "the compiled kernels run on a CPU")
needs_compiler = pytest.mark.skipif(bool(no_native), reason=no_native)
both_directions = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
every_cell = pytest.mark.parametrize("kind", KINDS)
some_cells = pytest.mark.parametrize("kind", thinned(KINDS, 3))
fused_cell = pytest.mark.parametrize("kind", FUSED)
representative_cell = pytest.mark.parametrize("kind", REPRESENTATIVES)

# The representatives in each of the loops that can run them, and a linear cell whose coefficients depend on its input.
LOOPS = [
    *((kind, "plain") for kind in REPRESENTATIVES),
    *((kind, "fused") for kind in REPRESENTATIVES),
    *(pytest.param(kind, "native", marks=needs_compiler) for kind in ("lstm", "gru", "projected_lstm")),
    ("lru", "parallel"),
    ("min_gru", "fused"),
    ("min_gru", "parallel"),
    ("mlstm", "chunkwise"),
]
every_loop = pytest.mark.parametrize(("kind", "backend"), thinned(LOOPS, 4))

ON_STEPS: dict[str, dict[str, Any]] = {
    "full, from zeros": {"given_state": False},
    "ragged, reverse": {"lengths": RAGGED, "reverse": True},
    "gaps": {"mask": GAPS},
    "gaps, ragged, reverse": {"mask": GAPS, "lengths": RAGGED, "reverse": True},
}
WITH_EPISODES: dict[str, dict[str, Any]] = {
    "episodes, gaps, ragged": {"resets": EPISODES, "mask": GAPS, "lengths": RAGGED},
    "episodes, ragged, reverse": {"resets": EPISODES, "lengths": RAGGED, "reverse": True},
}


@partial(jax.jit, static_argnames=("reverse", "backend"))
def with_gradients(cell, x, lengths, reverse, backend=None):
    """`(outputs, last state)` and the gradients of a loss of all of them by the cell and by x."""

    def loss(cell, x):
        outputs, last = scan(cell, x, lengths=lengths, reverse=reverse, backend=backend)
        return (outputs**2).sum() + sum(jnp.sin(leaf).sum() for leaf in jax.tree.leaves(last)), (outputs, last)

    gradients, values = jax.grad(loss, argnums=(0, 1), has_aux=True)(cell, x)
    return values, gradients


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)
