"""Sentences whose padding, begin and end share a word, as T5's and GPT-2's do, against every sentence gone through."""

import gc
import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU
from rowrnn.decoding.sentences import SpecialTokens, beam_search, greedy
from rowrnn.models.captioner import Captioner
from tests.helpers.cases import thinned

# Words: 0 pad, 1 begin, 2 end, 3 "cat", where they differ.
TOKENS = {
    "all differ": SpecialTokens(0, 1, 2),
    "begin is pad": SpecialTokens(0, 0, 2),
    "begin is end": SpecialTokens(0, 2, 2),
    "pad is end": SpecialTokens(2, 1, 2),
    "one word for all": SpecialTokens(2, 2, 2),
}
WORDS, LONGEST = 4, 4


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
def test_greedy_says_cat_and_ends(tokens):
    """After cat the end is the likeliest word, after any other word cat, both of probability 0.7."""
    table = jnp.log(jnp.asarray([[0.1, 0.1, 0.1, 0.7]] * 3 + [[0.1, 0.1, 0.7, 0.1]]))
    said = greedy(lambda state, word: (state, table[word]), jnp.zeros((1, 1)), tokens, LONGEST)
    assert said.words[0].tolist() == [3, 2, tokens.pad, tokens.pad]
    assert said.lengths[0] == 2
    assert said.log_probs[0] == pytest.approx(2 * math.log(0.7), abs=1e-6)


def every_sentence(table, tokens):
    """All sentences with their log-probabilities in float64, each word's read off the table at the word before."""
    found = {}

    def go(sentence, last, log_prob):
        if sentence and (sentence[-1] == tokens.end or len(sentence) == LONGEST):
            found[tuple(sentence)] = log_prob
            return
        for word in range(WORDS):
            if word != tokens.pad or word == tokens.end:
                go([*sentence, word], word, log_prob + table[last, word])

    go([], tokens.begin, 0.0)
    return found


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
def test_the_widest_beam_finds_every_sentence(tokens):
    table = np.log(np.random.default_rng(0).dirichlet(np.ones(WORDS), WORDS))
    weights = jnp.asarray(table, jnp.float32)
    search = partial(beam_search, lambda state, word: (state, weights[word]), jnp.zeros((1, 1)), tokens, LONGEST)
    result = jax.tree.map(np.asarray, search(width=WORDS**LONGEST))
    expected = every_sentence(table, tokens)
    count = len(expected)
    assert (np.diff(result.log_probs[0, :count]) <= 0).all()
    assert np.isneginf(result.log_probs[0, count:]).all()
    found = {}
    arrays = (a[0, :count] for a in (result.words, result.lengths, result.log_probs))
    for words, length, log_prob in zip(*arrays, strict=True):
        assert (words[length:] == tokens.pad).all()
        found[tuple(words[:length].tolist())] = log_prob
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("width", [1, 3])
def test_an_unknown_word_is_never_said(width):
    """It is the likeliest after every word; of the others cat is, and after cat the end."""
    table = jnp.log(jnp.asarray([[0.1, 0.1, 0.1, 0.2, 0.5]] * 3 + [[0.05, 0.05, 0.3, 0.1, 0.5]] * 2))
    tokens = SpecialTokens(0, 1, 2, unknown=4)
    said = beam_search(lambda state, word: (state, table[word]), jnp.zeros((1, 1)), tokens, LONGEST, width=width)
    assert said.words[0, 0].tolist()[:2] == ([3, 2] if width == 1 else [2, 0])
    assert not (np.asarray(said.words) == 4).any()
    assert said.log_probs[0, 0] == pytest.approx(math.log(0.06 if width == 1 else 0.1), abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("tokens", thinned(TOKENS, 3))
def test_a_captioner_ends_its_captions(tokens):
    sizes = {"shape": (8, 8, 1), "words": WORDS, "longest": LONGEST, "tokens": tokens, "channels": 4}
    model = Captioner(GRU, 5, **sizes, rngs=nnx.Rngs(0))
    # A head that says the end, whatever is seen.
    head: Any = model.head
    head.bias[...] = jnp.asarray([0.0, 0.0, 9.0, 0.0])
    images = jax.random.uniform(jax.random.key(0), (2, 8, 8, 1))
    greedily, best = jax.jit(Captioner.greedy)(model, images), jax.jit(lambda *x: Captioner.beam(*x, 2))(model, images)
    for said in (greedily, jax.tree.map(lambda a: a[:, 0], best)):
        assert said.words.tolist() == [[2, tokens.pad, tokens.pad, tokens.pad]] * 2
        assert said.lengths.tolist() == [1, 1]
        log_probs = jax.nn.log_softmax(jax.jit(Captioner.logits)(model, images, said.words))[:, 0, 2]
        np.testing.assert_allclose(said.log_probs, log_probs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_log_probabilities_of_half_precision_are_added_up_in_float32(dtype):
    fifth = jnp.log(jnp.full((1, 5), 0.2)).astype(dtype)
    said = greedy(lambda state, word: (state, fifth), jnp.zeros((1, 1)), SpecialTokens(0, 1, 4), 200)
    assert said.log_probs.dtype == jnp.float32
    length = int(said.lengths[0])
    assert length == 200
    assert said.log_probs[0] == pytest.approx(length * float(fifth[0, 0]), rel=1e-5)


@pytest.mark.parametrize(
    "tokens",
    [SpecialTokens(-1, 1, 2), SpecialTokens(0, 1, 4), SpecialTokens(0, 1, 2, 4)],
    ids=["pad", "end", "unknown"],
)
def test_padding_and_end_are_words_that_the_model_scores(tokens):
    table = jnp.zeros((WORDS, WORDS))
    with pytest.raises(ValueError, match=f"words that the model scores, 0 to 3, not {tokens.pad}, {tokens.end}"):
        greedy(lambda state, word: (state, table[word]), jnp.zeros((1, 1)), tokens, LONGEST)


def test_the_first_word_need_not_be_one_that_the_model_scores():
    """It is only read: a table may have one row more than columns, for the begin."""
    table = jnp.log(jnp.asarray([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5], [0.2, 0.3, 0.5], [0.1, 0.7, 0.2]]))
    said = greedy(lambda state, word: (state, table[word]), jnp.zeros((1, 1)), SpecialTokens(0, 3, 2), LONGEST)
    assert said.words[0].tolist() == [1, 2, 0, 0]
    assert said.log_probs[0] == pytest.approx(math.log(0.7) + math.log(0.5), abs=1e-6)


def test_searches_outside_of_jit_keep_no_programs():
    def programs():
        gc.collect()
        return len(jax.devices()[0].client.live_executables())

    def search():
        table = jnp.zeros((WORDS, WORDS))
        greedy(lambda state, word: (state, table[word]), jnp.zeros((1, 1)), TOKENS["all differ"], LONGEST)

    search()
    before = programs()
    search()
    assert programs() == before
