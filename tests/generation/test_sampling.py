"""Images that are drawn: with what was kept as by whole passes, the frequencies that the model says, and given rows."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU, LSTM, Stack, Transformer
from rowrnn.generation import GatedPixelCNN, PixelRNN, PixelScan, sample
from rowrnn.generation.sampling import _by_whole_passes
from rowrnn.sequence import Recurrent
from tests.helpers.cases import thinned


def stirred(model, seed=0):
    leaves, structure = jax.tree.flatten(model)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(structure, [jnp.asarray(rng.normal(0, 0.6, leaf.shape), jnp.float32) for leaf in leaves])


def kept(name, **how):
    """A model that keeps what it has computed."""
    rngs, features = nnx.Rngs(0), 1 + how["colours"]
    if name == "row":
        return PixelRNN("row", 3, blocks=2, **how, rngs=rngs)
    if name == "transformer":
        return PixelScan(Transformer(features, 4, heads=2, causal=True, rngs=rngs), **how, rngs=rngs)
    if name == "stack":
        layers = [Recurrent(LSTM(features, 4, rngs=rngs)), Recurrent(GRU(4, 4, rngs=rngs))]
        return PixelScan(Stack(layers), **how, rngs=rngs)
    return PixelScan(GRU(features, 4, rngs=rngs), "snake", patch=1, **how, rngs=rngs)


@pytest.mark.parametrize("name", thinned(["row", "snake", "transformer", "stack"], 2))
@pytest.mark.parametrize(("colours", "levels", "mixture", "rows"), [(1, 2, 0, 0), (3, 4, 2, 2)])
def test_images_are_drawn_as_by_whole_passes(name, colours, levels, mixture, rows):
    model = stirred(kept(name, colours=colours, levels=levels, mixture=mixture))
    shape = (5, 4, colours)
    given = np.random.default_rng(1).integers(0, levels, (1, *shape))
    found = sample(model, jax.random.key(3), 6, shape[:2], given=given if rows else None, rows=rows)
    places = np.stack(np.unravel_index(np.argsort(model.rank(*shape[:2]), axis=None), shape), axis=1)
    start = np.zeros((6, *shape), np.int32)
    start[:, :rows] = given[:, :rows]
    first = rows * 4 * colours
    whole = _by_whole_passes(model, jax.random.key(3), jnp.asarray(start), jnp.asarray(places[first:]), first, 1.0)
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_array_equal(found[:, :rows], start[:, :rows])
    assert len(np.unique(np.asarray(found), axis=0)) > 1


@pytest.mark.parametrize("name", thinned(["row", "diagonal", "gated", "permuted"], 2))
def test_images_are_as_frequent_as_the_model_says(name):
    rngs = nnx.Rngs(0)
    model = stirred(
        {
            "row": lambda: PixelRNN("row", 2, blocks=1, rngs=rngs),
            "diagonal": lambda: PixelRNN("diagonal", 2, blocks=1, rngs=rngs),
            "gated": lambda: GatedPixelCNN(2, blocks=1, rngs=rngs),
            "permuted": lambda: PixelScan(GRU(2, 3, rngs=rngs), "permuted", seed=2, rngs=rngs),
        }[name]()
    )
    drawn = np.asarray(sample(model, jax.random.key(0), 4000, (2, 2))).reshape(-1, 4)
    images = np.array(list(itertools.product((0, 1), repeat=4)), np.int32)
    said = np.exp(np.asarray(jax.jit(lambda model, images: model(images))(model, images.reshape(-1, 2, 2, 1))))
    counted = np.array([(drawn == image).all(axis=1).mean() for image in images])
    assert (np.abs(counted - said) < 4.5 * np.sqrt(said * (1 - said) / 4000) + 1e-3).all()


def test_the_coldest_images_are_the_most_probable_values():
    model = stirred(PixelRNN("row", 2, blocks=1, rngs=nnx.Rngs(0)))
    found = np.asarray(sample(model, jax.random.key(0), 3, (3, 3), temperature=0.0))
    np.testing.assert_array_equal(found[0], found[1])
    log_probabilities = np.asarray(model.log_likelihoods(found[:1]))
    assert (np.exp(log_probabilities) >= 0.5).all()


def test_what_does_not_fit():
    model = PixelRNN("row", 2, blocks=1, rngs=nnx.Rngs(0))
    key = jax.random.key(0)
    how: dict[str, Any]
    for given in ({"count": 0}, {"size": (0, 3)}, {"rows": 3}, {"temperature": -1.0}):
        how = {"count": 1, "size": (3, 3), **given}
        with pytest.raises(ValueError, match="at least one image of one pixel"):
            sample(model, key, **how)
    with pytest.raises(ValueError, match=r"given images \[2, 3, 3, 1\], or one for all, not \[1, 4, 3, 1\]"):
        sample(model, key, 2, (3, 3), given=np.zeros((1, 4, 3, 1), int), rows=1)
    for how in ({"rows": 1}, {"given": np.zeros((1, 3, 3, 1), int)}):
        with pytest.raises(ValueError, match="give both, given=image and rows=14, or neither"):
            sample(model, key, 2, (3, 3), **how)
    with pytest.raises(ValueError, match="whole numbers from 0 to 1"):
        sample(model, key, 2, (3, 3), given=np.full((1, 3, 3, 1), 9), rows=1)
    permuted = PixelScan(GRU(2, 3, rngs=nnx.Rngs(0)), "permuted", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="an order in which the given rows do not come first"):
        sample(permuted, key, 2, (3, 3), given=np.zeros((1, 3, 3, 1), int), rows=1)
