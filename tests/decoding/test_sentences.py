"""Greedy decoding and beam search of sentences against all sentences, enumerated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.decoding.sentences import SpecialTokens, beam_search, greedy

WORDS = 5  # pad, begin, end and two words
LENGTH = 4


def table_step(table):
    """A model whose state numbers the beginning that was said: each has log-probabilities of its own."""

    def step(state, said):
        state = (state * WORDS + said) % len(table)
        return state, table[state]

    return step


def every_sentence(table, state):
    """All sentences with their log-probabilities, in float64, by going through every one."""
    table = np.asarray(table, np.float64)
    found = {}

    def go(sentence, state, said, log_prob):
        if sentence and (sentence[-1] == 2 or len(sentence) == LENGTH):
            found[tuple(sentence)] = log_prob
            return
        state = (state * WORDS + said) % len(table)
        for word in range(1, WORDS):  # Padding is never said.
            go([*sentence, word], state, word, log_prob + table[state, word])

    go([], state, 1, 0.0)
    return found


@pytest.fixture(scope="module")
def table():
    return jax.nn.log_softmax(2 * jax.random.normal(jax.random.key(3), (997, WORDS)))


@pytest.mark.parametrize("power", [0.0, 0.7])
def test_the_widest_beam_finds_the_best_of_all_sentences(table, power):
    start = jnp.asarray([3, 500])
    search = partial(beam_search, table_step(table), tokens=SpecialTokens(0, 1, 2), longest=LENGTH)
    result = jax.tree.map(np.asarray, jax.jit(partial(search, width=WORDS**LENGTH, length_power=power))(start))
    for row, state in enumerate(start.tolist()):
        expected = every_sentence(table, state)
        ranked = sorted(expected, key=lambda sentence: -expected[sentence] / len(sentence) ** power)
        for place, sentence in enumerate(ranked):
            length = len(sentence)
            assert result.words[row, place].tolist() == [*sentence, *[0] * (LENGTH - length)]
            assert result.lengths[row, place] == length
            assert result.log_probs[row, place] == pytest.approx(expected[sentence], abs=1e-5)
        assert np.isneginf(result.log_probs[row, len(ranked) :]).all()


def test_greedy_says_the_likeliest_word_each_time(table):
    start = jnp.asarray([3, 500, 17, 996])
    result = jax.tree.map(
        np.asarray, jax.jit(partial(greedy, table_step(table), tokens=SpecialTokens(0, 1, 2), longest=8))(start)
    )
    ends = set()
    for row, state in enumerate(start.tolist()):
        said, words, log_prob = 1, [], 0.0
        while said != 2 and len(words) < 8:
            state = (state * WORDS + said) % 997
            said = 1 + int(np.asarray(table)[state, 1:].argmax())
            words.append(said)
            log_prob += float(table[state, said])
        assert result.words[row].tolist() == words + [0] * (8 - len(words))
        assert result.log_probs[row] == pytest.approx(log_prob, abs=1e-5)
        assert result.lengths[row] == len(words)
        ends.add(len(words))
    assert len(ends) > 1  # Sentences of one batch end at different steps.


def test_a_beam_has_a_width():
    with pytest.raises(ValueError, match="width and a longest sentence of at least 1, not 0"):
        beam_search(lambda state, said: (state, state), jnp.zeros((1, WORDS)), SpecialTokens(0, 1, 2), 3, width=0)
