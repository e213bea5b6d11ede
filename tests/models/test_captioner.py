"""The captioner: word by word as all at once, attention by its equations, and what it refuses."""

import math
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import CELLS
from rowrnn.decoding.sentences import SpecialTokens
from rowrnn.models import Captioner
from tests.helpers import problem
from tests.helpers.cases import thinned

TOKENS = SpecialTokens(pad=0, begin=1, end=2)


def make_captioner(cell="lstm", seed=0, **options):
    how: dict[str, Any] = {
        "shape": (16, 24, 1),
        "words": 7,
        "longest": 6,
        "tokens": TOKENS,
        "channels": 6,
        "embedding": 4,
        **options,
    }
    return problem.randomized(lambda: Captioner(CELLS[cell], 5, **how, rngs=nnx.Rngs(0)), seed=seed)


IMAGES = jax.random.uniform(jax.random.key(0), (3, 16, 24, 1))
CAPTIONS = jnp.asarray([[4, 5, 6, 2, 0, 0], [3, 2, 0, 0, 0, 0], [6, 6, 5, 4, 3, 2]])
logits = jax.jit(Captioner.logits)


@pytest.mark.parametrize(("cell", "attention"), thinned([("lstm", True), ("gru", False), ("lru", True)], 3))
def test_word_by_word_is_the_same_as_all_at_once(cell, attention):
    model = make_captioner(cell, attention=attention)
    whole = jax.nn.log_softmax(logits(model, IMAGES, CAPTIONS))
    memory, state = jax.jit(Captioner.start)(model, IMAGES)
    step, word = jax.jit(model.step), jnp.full((3,), TOKENS.begin)
    for turn in range(CAPTIONS.shape[1]):
        state, log_probs = step(memory, state, word)
        np.testing.assert_allclose(log_probs, whole[:, turn], atol=1e-5)
        word = CAPTIONS[:, turn]


def test_captions_of_a_batch_are_those_of_each_image():
    # Images of such brightness that their captions differ in length.
    model, images = make_captioner(seed=8), IMAGES * jnp.asarray([0.0, 1.0, 8.0])[:, None, None, None]
    greedily, by_beam = jax.jit(Captioner.greedy), jax.jit(partial(Captioner.beam, width=3, length_power=1.0))
    together = greedily(model, images), by_beam(model, images)
    assert len(set(np.asarray(together[0].lengths).tolist())) > 1
    for n in range(3):
        alone = greedily(model, images[n : n + 1]), by_beam(model, images[n : n + 1])
        chex.assert_trees_all_close(alone, jax.tree.map(lambda a, n=n: a[n : n + 1], together), atol=1e-4)
    # Their log-probabilities are those of their words.
    for sentences in (together[0], *(jax.tree.map(lambda a, k=k: a[:, k], together[1]) for k in range(3))):
        of_words = np.asarray(jax.nn.log_softmax(logits(model, images, sentences.words)))
        for n, (words, length) in enumerate(zip(sentences.words, sentences.lengths, strict=True)):
            expected = sum(of_words[n, turn, words[turn]] for turn in range(length))
            assert sentences.log_probs[n] == pytest.approx(expected, abs=1e-4)
            assert words[length - 1] == TOKENS.end or length == 6
            assert not words[length:].any()


def test_attention_is_that_of_its_equations():
    model = make_captioner()
    memory, state = (
        jax.tree.map(lambda a: np.asarray(a, np.float64), part) for part in jax.jit(Captioner.start)(model, IMAGES)
    )
    shares = np.asarray(jax.jit(Captioner.attention)(model, IMAGES, CAPTIONS))
    assert shares.shape == (3, 6, 2, 3)
    # The first word: one step of the cell from the first state, by its own test's equations.
    _, hidden = model.cell(jax.tree.map(jnp.float32, state), model.embedding(jnp.full((3,), TOKENS.begin)))
    question = np.asarray(model.question(hidden), np.float64)
    of_first = np.asarray(logits(model, IMAGES, CAPTIONS))[:, 0]
    for n in range(3):
        score = np.array([question[n].dot(place) for place in memory[n]]) / math.sqrt(6)
        share = np.exp(score - score.max())
        share /= share.sum()
        np.testing.assert_allclose(shares[n, 0].reshape(-1), share, atol=1e-5)
        seen = np.concatenate([share.dot(memory[n]), np.asarray(hidden[n])])
        features = np.tanh(seen.dot(np.asarray(model.combined.kernel)) + np.asarray(model.combined.bias))
        of_words = features.dot(np.asarray(model.head.kernel)) + np.asarray(model.head.bias)
        np.testing.assert_allclose(of_first[n], of_words, rtol=1e-4, atol=1e-4)


def test_a_blind_model_sees_nothing_and_dropout_needs_a_key():
    blind, seeing = make_captioner(blind=True, dropout=0.5), make_captioner(dropout=0.5)
    other = 1 - IMAGES
    np.testing.assert_array_equal(logits(blind, IMAGES, CAPTIONS), logits(blind, other, CAPTIONS))
    whole = logits(seeing, IMAGES, CAPTIONS)
    assert not np.allclose(whole, logits(seeing, other, CAPTIONS))
    assert not np.allclose(whole, logits(seeing, IMAGES, CAPTIONS, key=jax.random.key(0)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: make_captioner().logits(IMAGES, jnp.zeros((3, 7), jnp.int32)),
            r"at most 6 words.*\[3, 7\]",
        ),
        (lambda: make_captioner().logits(IMAGES, CAPTIONS[:2]), "one for each image"),
        (
            lambda: make_captioner()(IMAGES[:, :15]),
            r"images \[b, 16, 24, 1\], not float32 of shape \[3, 15",
        ),
        (lambda: make_captioner().logits(IMAGES, CAPTIONS + 1), "from 0 to 6; these run from 1 to 7"),
        (lambda: make_captioner()(IMAGES[:0]), "at least one image; the batch is empty"),
        (lambda: make_captioner(attention=False).attention(IMAGES, CAPTIONS), "no attention to show"),
        (lambda: make_captioner(tokens=SpecialTokens(0, 1, 7)), r"0 to 6, not \[0, 1, 7\]"),
        (lambda: make_captioner(dropout=1.0), "dropout is a probability"),
        (lambda: make_captioner(cell="slstm"), "begins its cell with a state of its own, and .* SLSTM share a factor"),
        (lambda: make_captioner(channels=0), "at least one of everything"),
    ],
)
def test_what_it_cannot_caption_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


@pytest.mark.parametrize("shape", [(32, 32, 1), (128, 128, 3), (97, 50, 3)])
def test_pictures_of_any_size_have_a_map_of_an_eighth(shape):
    model, images = make_captioner(shape=shape), jax.random.uniform(jax.random.key(0), (2, *shape))
    weights = jax.jit(Captioner.attention)(model, images, CAPTIONS[:2])
    assert weights.shape == (2, 6, math.ceil(shape[0] / 8), math.ceil(shape[1] / 8))
    np.testing.assert_allclose(weights.sum(axis=(2, 3)), 1, atol=1e-5)
