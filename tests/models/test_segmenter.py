"""Segmenters: places against loops over pixels, sizes, and the gradients that reach every weight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import LSTM
from rowrnn.models.segmenter import Segmenter, UNet, enlarged

MODELS = {"renet": Segmenter, "unet": UNet}
IMAGES = np.random.default_rng(0).normal(size=(2, 10, 7, 3)).astype(np.float32)


def make(name, **given):
    return MODELS[name](3, 4, **given, rngs=nnx.Rngs(0))


def test_enlarging_undoes_patches():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 8)).astype(np.float32)
    found = np.asarray(enlarged(jnp.asarray(x)))
    assert found.shape == (2, 6, 10, 2)
    for row, column in np.ndindex(6, 10):
        place = 2 * (row % 2) + column % 2
        np.testing.assert_array_equal(found[:, row, column], x[:, row // 2, column // 2, 2 * place : 2 * place + 2])


@pytest.mark.parametrize("name", MODELS)
def test_every_pixel_has_a_logit_whatever_the_size(name):
    model = make(name)
    call = jax.jit(lambda model, images: model(images))
    whole = call(model, IMAGES)
    assert whole.shape == (2, 10, 7)
    # Padding of a size that is no multiple of four is zeros, at the bottom and on the right.
    padded = np.pad(IMAGES, ((0, 0), (0, 2), (0, 1), (0, 0)))
    np.testing.assert_allclose(whole, call(model, padded)[:, :10, :7], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_every_weight_matters(name):
    model = make(name, dropout=0.3)
    slopes = jax.jit(jax.grad(lambda model: (model(IMAGES, key=jax.random.key(0)) ** 2).sum()))(model)
    for leaf in jax.tree.leaves(slopes):
        assert np.abs(np.asarray(leaf)).max() > 0


def test_a_renet_sees_the_whole_picture_and_a_unet_what_is_near():
    images = np.zeros((1, 64, 64, 3), np.float32)
    touched = images.copy()
    touched[0, 0, 0] = 3
    far = {}
    for name in MODELS:
        call = jax.jit(lambda model, images: model(images))
        model = make(name)
        far[name] = np.abs(np.asarray(call(model, touched) - call(model, images)))[0, 60:, 60:].max()
    assert far["unet"] == 0
    assert far["renet"] > 0


def test_any_cell_paints():
    assert jax.jit(lambda model: model(IMAGES))(make("renet", cell=LSTM)).shape == (2, 10, 7)


@pytest.mark.parametrize("name", MODELS)
def test_what_does_not_fit(name):
    for images in (IMAGES[..., :1], IMAGES[0], np.zeros((1, 4, 4, 3), np.uint8), IMAGES[:, :0]):
        with pytest.raises(ValueError, match=r"floating-point images \[b, h, w, 3\], not"):
            make(name)(images)
    with pytest.raises(ValueError, match="at least one channel and one feature, not 3 and 0"):
        MODELS[name](3, 0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="dropout is a probability"):
        make(name, dropout=1.0)
