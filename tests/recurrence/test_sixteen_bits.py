"""Cells whose arrays have 16 bits: stored so, and computed in float32 by every backend."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import ConvLSTM, explain
from rowrnn.recurrence.scan import scan
from tests.helpers import oracle
from tests.helpers.problem import BATCH, FEATURES, HIDDEN, RAGGED, STEPS, make_cell, randomized
from tests.helpers.scans import needs_compiler

DTYPES = [jnp.bfloat16, jnp.float16]
COMPUTED = [
    *(pytest.param(kind, "native", marks=needs_compiler) for kind in ("lstm", "gru", "layer_norm_gru")),
    *(("lstm", "plain"), ("gru", "fused"), ("rg_lru", "fused"), ("min_gru", "parallel"), ("mlstm", "chunkwise")),
]
X = oracle.draw(np.random.default_rng(6), BATCH, STEPS, FEATURES)


def cast(tree, dtype):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), tree)


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(("kind", "backend"), COMPUTED)
def test_results_are_those_of_float32_rounded_once(kind, backend, dtype):
    cell, x = cast(make_cell(kind), dtype), cast(X, dtype)

    def loss(cell, x):
        outputs, last = scan(cell, x, lengths=jnp.asarray(RAGGED), backend=backend)
        shown = jax.tree.leaves((outputs, last))
        return sum((leaf.astype(jnp.float32) ** 2).sum() for leaf in shown), shown

    gradients, shown = jax.grad(loss, argnums=(0, 1), has_aux=True)(cell, x)
    assert {leaf.dtype for leaf in jax.tree.leaves((gradients, shown))} == {jnp.dtype(dtype)}
    parameters, values = oracle.parameters_of(cell), np.asarray(x, np.float64)
    expected = oracle.run(kind, parameters, values, lengths=RAGGED)
    digit = float(jnp.finfo(dtype).eps)
    for actual, exact in zip(shown, (expected[0], *expected[1]), strict=True):
        np.testing.assert_allclose(np.asarray(actual, np.float64), exact, rtol=0.51 * digit, atol=1e-5)
    in_float32, _ = jax.grad(loss, argnums=(0, 1), has_aux=True)(*cast((cell, x), jnp.float32))
    for actual, exact in zip(*map(jax.tree.leaves, (gradients, in_float32)), strict=True):
        # What comes back through outputs of 16 bits was rounded too.
        np.testing.assert_allclose(np.asarray(actual, np.float32), exact, rtol=0, atol=2 * digit * np.abs(exact).max())


@needs_compiler
def test_segments_are_not_rounded_between_and_options_are_cast():
    cell, x = cast(make_cell("lstm"), jnp.bfloat16), cast(X, jnp.bfloat16)
    options = {"dropout_mask": np.full((BATCH, HIDDEN), 1.3), "initial_state": cell.initialize_carry((BATCH, FEATURES))}

    def slope(cell, **more):
        return jax.grad(lambda cell: scan(cell, x, return_states=True, **options, **more)[0].sum().astype(jnp.float32))(
            cell
        )

    whole, in_segments = slope(cell, backend="native"), slope(cell, backend="native", checkpoint_every=1)
    chex.assert_trees_all_equal(whole, in_segments)


@needs_compiler
def test_native_is_taken_and_maps_too():
    x = cast(X, jnp.bfloat16)
    assert explain(cast(make_cell("lstm"), jnp.bfloat16), x) == "native: a bfloat16 LSTM on cpu"
    cell = randomized(lambda: ConvLSTM(2, 3, rngs=nnx.Rngs(0)))
    maps = np.random.default_rng(7).normal(size=(2, 3, 4, 5, 2))
    half, _ = scan(cast(cell, jnp.bfloat16), cast(maps, jnp.bfloat16), backend="native")
    whole, _ = scan(cast(cast(cell, jnp.bfloat16), jnp.float32), cast(cast(maps, jnp.bfloat16), jnp.float32))
    np.testing.assert_array_equal(half, whole.astype(jnp.bfloat16))


def test_a_forget_gate_that_closed_does_not_blur_those_after_it():
    cell = make_cell("mlstm")
    x = np.array(X)
    x[:, 2] *= 1e6
    both = [scan(cell, jnp.asarray(x, jnp.float32), backend=backend)[0] for backend in ("plain", "chunkwise")]
    np.testing.assert_allclose(*both, rtol=1e-4, atol=1e-5)
