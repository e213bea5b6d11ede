"""Vision-LSTM: its blocks by hand, read by turns in both directions, and what it refuses."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import ImageScan, VisionLSTM, scan

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)


def make(**given):
    how: dict[str, Any] = {"longest": 5, "blocks": 2, "heads": 2, "rngs": nnx.Rngs(0), **given}
    return VisionLSTM(3, 6, **how)


def test_outputs_are_those_of_its_blocks():
    model = make()
    found, state = jax.jit(lambda model, x: model(x))(model, X)
    assert state is None
    h = model.embed(jnp.asarray(X)) + model.places[...][None]
    for block, backward in zip(model.blocks, (False, True), strict=True):
        x = block.norm(h)
        x = x[:, ::-1] if backward else x
        outputs, _ = scan(block.layer.cell, x, backend="plain")
        h = block.feed_forward(h + block.merge(outputs[:, ::-1] if backward else outputs))
    np.testing.assert_allclose(found, model.norm(h), rtol=1e-4, atol=1e-5)


def test_every_patch_is_seen_from_all():
    """With two blocks each output depends on all patches; with one, on those before it."""
    for blocks, expected in ((1, np.tril(np.ones((5, 5)))), (2, np.ones((5, 5)))):
        model = make(blocks=blocks)
        slopes = jax.jit(jax.jacobian(lambda x, model=model: model(x[None])[0][0]))(jnp.asarray(X[0]))
        np.testing.assert_array_equal(np.abs(slopes).sum(axis=(1, 3)) > 0, expected > 0)


def test_patches_that_are_not_valid_have_no_influence():
    model = make()
    call = jax.jit(lambda model, x, lengths: model(x, lengths=lengths)[0])
    changed = X.copy()
    changed[0, 3:] = 9
    lengths = np.array([3, 5])
    found = call(model, changed, lengths)
    np.testing.assert_allclose(found, call(model, X, lengths), rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[0, :3], model(X[:1, :3])[0][0], rtol=0, atol=1e-5)
    assert not np.asarray(found[0, 3:]).any()


def test_it_reads_the_patches_of_an_image():
    images = np.random.default_rng(1).normal(size=(2, 8, 12, 1)).astype(np.float32)
    layer = ImageScan(VisionLSTM(16, 6, longest=6, rngs=nnx.Rngs(0)), "pixels", patch=(4, 4))
    assert layer(images)[0].shape == (2, 2, 3, 6)


def test_what_does_not_fit():
    for given in ({"heads": 0}, {"longest": 0}, {"expansion": 0}):
        with pytest.raises(ValueError, match="sizes of at least 1, not"):
            make(**given)
    with pytest.raises(ValueError, match="has 4 places, and was given 5 patches"):
        make(longest=4)(X)
    unknown: Any = {"reverse": True}
    with pytest.raises(ValueError, match="options lengths and mask of scan, not reverse"):
        make()(X, **unknown)
    with pytest.raises(ValueError, match="not a state"):
        make()(X, initial_state=0)
