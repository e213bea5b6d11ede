"""n-gram models against the formula, string by string, and in the beam against all strings."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.decoding import ctc
from rowrnn.errors import InputError
from rowrnn.lab.tasks.lines.language_model import log_probability, ngrams
from tests.helpers.ctc_paths import LENGTHS, SHORT, all_strings, collapsed

RNG = np.random.default_rng(0)
STRINGS = [RNG.integers(0, 3, RNG.integers(0, 8)).tolist() for _ in range(40)]
END = "end"


def witten_bell(strings, classes, context, label, fewest):
    """P(label | context) by the recursion, counted anew at every level."""
    followers = [
        after
        for string in strings
        for known, after in [
            (("begin", *string)[:place], (*string, END)[place - 1]) for place in range(1, len(string) + 2)
        ]
        if not context or known[-len(context) :] == context
    ]
    shorter = witten_bell(strings, classes, context[1:], label, fewest) if context else 1 / (classes + 1)
    if context and len(followers) < fewest:
        return shorter
    kinds = len(set(followers))
    return (followers.count(label) + kinds * shorter) / (len(followers) + kinds)


def by_formula(string, order, fewest):
    known, total = ("begin", *string), 0.0
    for place, label in enumerate((*string, END), 1):
        context = known[max(0, place - order + 1) : place]
        total += np.log(witten_bell(STRINGS, 3, context, label, fewest))
    return total


@pytest.mark.parametrize(("order", "fewest"), [(1, 1), (2, 1), (3, 2), (4, 5), (3, 100)])
def test_an_ngram_model_is_witten_and_bells_formula(order, fewest):
    model = ngrams(STRINGS, 3, order=order, fewest=fewest)
    for string in ([], [0], [2, 2, 2], [0, 1, 2, 0, 1], *STRINGS[:5]):
        expected = by_formula(tuple(string), order, fewest)
        assert log_probability(model, string) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("largest", [1, 20, 60])
def test_a_table_is_no_larger_than_allowed_and_keeps_the_frequent_contexts(largest):
    model = ngrams(STRINGS, 3, order=4, fewest=1, largest=largest)
    rows = len(model.log_probs)
    assert rows <= max(1, largest // 4)
    # It is that of contexts which are seen so often that the table fits.
    enough = (fewest for fewest in range(1, 1000) if len(ngrams(STRINGS, 3, order=4, fewest=fewest).log_probs) <= rows)
    of_enough = ngrams(STRINGS, 3, order=4, fewest=next(enough))
    for string in STRINGS[:5]:
        if len(of_enough.log_probs) == rows:
            assert log_probability(model, string) == pytest.approx(log_probability(of_enough, string))


def test_after_every_context_something_follows_for_sure():
    model = ngrams(STRINGS, 4, order=4)
    total = np.exp(model.log_probs).sum(axis=1) + np.exp(model.ends)
    np.testing.assert_allclose(total, 1, atol=1e-5)
    assert np.isfinite(model.log_probs).all()  # the fourth class too, which no string has
    following = np.asarray(model.following)
    assert following.min() >= 0
    assert following.max() < len(total)


def test_a_longer_memory_knows_more_of_words():
    words = [[0, 1, 2], [3, 1, 4], [2, 4, 0, 3]]

    def drawn(count):
        return [list(itertools.chain(*(words[w] for w in RNG.integers(0, 3, 6)))) for _ in range(count)]

    known, new = drawn(200), drawn(50)
    losses = [-sum(log_probability(ngrams(known, 5, order=order), string) for string in new) for order in (1, 2, 3)]
    assert losses[0] > 1.3 * losses[1] > 1.3 * losses[2]


# In the beam.


def worth(string, by_scores, model, weight, bonus):
    return by_scores + weight * log_probability(model, string) + bonus * len(string)


@pytest.mark.parametrize(("weight", "bonus"), [(0.0, 0.0), (1.0, 0.0), (0.7, 1.5), (3.0, -1.0)])
def test_a_wide_beam_with_a_language_model_finds_the_best_of_all_strings(weight, bonus):
    model = ngrams([[0, 1, 0, 1], [0, 1], [1, 0, 1]], 2, order=3, fewest=1)
    options = {"beam": 70, "language_model": model, "weight": weight, "bonus": bonus}
    read = jax.tree.map(np.asarray, ctc.beam_search(SHORT, LENGTHS, **options))
    differ = 0
    for number, steps in enumerate(LENGTHS):
        strings = all_strings(SHORT[number, :steps])
        best = max(strings, key=lambda string: worth(string, strings[string], model, weight, bonus))
        assert tuple(read.labels[number, : read.lengths[number]]) == best
        np.testing.assert_allclose(read.log_probability[number], strings[best], rtol=1e-5)
        differ += best != max(strings, key=lambda string: strings[string])
    assert bool(differ) == (weight > 0)


def test_without_weight_a_language_model_forbids_nothing():
    forbidding = ctc.LanguageModel(
        0, np.array([[1, 0], [1, 0]]), np.array([[0, -np.inf], [-np.inf, 0]]), np.array([0, -np.inf])
    )
    found = ctc.beam_search(SHORT, LENGTHS, beam=70, language_model=forbidding, weight=0.0)
    alone = ctc.beam_search(SHORT, LENGTHS, beam=70)
    np.testing.assert_array_equal(found.labels, alone.labels)
    np.testing.assert_allclose(found.log_probability, alone.log_probability, rtol=1e-6)


def searched_with_a_dictionary(log_probs, beam, model, weight, bonus):
    """The algorithm of Hannun et al. (2014) with a language model, its prefixes ranked by all that they are worth."""
    blank = log_probs.shape[1] - 1

    def value(prefix, ends):
        return np.logaddexp(*ends) + bonus * len(prefix) + weight * (log_probability(model, prefix) - last(prefix))

    def last(prefix):
        state = model.first
        for label in prefix:
            state = model.following[state, label]
        return float(model.ends[state])

    prefixes = {(): (0.0, -np.inf)}
    for of_step in log_probs:
        then: dict = {}

        def add(prefix, ends_blank, ends_label, then=then):
            before = then.get(prefix, (-np.inf, -np.inf))
            then[prefix] = (np.logaddexp(before[0], ends_blank), np.logaddexp(before[1], ends_label))

        for prefix, (ends_blank, ends_label) in prefixes.items():
            both = np.logaddexp(ends_blank, ends_label)
            add(prefix, both + of_step[blank], -np.inf)
            for label in range(blank):
                if prefix and prefix[-1] == label:
                    add(prefix, -np.inf, ends_label + of_step[label])
                    add((*prefix, label), -np.inf, ends_blank + of_step[label])
                else:
                    add((*prefix, label), -np.inf, both + of_step[label])
        prefixes = dict(sorted(then.items(), key=lambda item: -value(*item))[:beam])
    best = max(prefixes, key=lambda prefix: value(prefix, prefixes[prefix]) + weight * last(prefix))
    return list(best), np.logaddexp(*prefixes[best])


@pytest.mark.parametrize("beam", [2, 5])
def test_a_narrow_beam_keeps_the_prefixes_that_are_worth_most(beam):
    logits = 2 * np.random.default_rng(8).normal(size=(12, 9, 4))
    model, weight, bonus = ngrams(STRINGS, 3, order=3), 0.8, 0.5
    options = {"beam": beam, "language_model": model, "weight": weight, "bonus": bonus}
    read = jax.tree.map(np.asarray, ctc.beam_search(jnp.asarray(logits, jnp.float32), **options))
    for n, scores in enumerate(logits):
        log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        best, probability = searched_with_a_dictionary(log_probs, beam, model, weight, bonus)
        assert read.labels[n, : read.lengths[n]].tolist() == best
        assert read.log_probability[n] == pytest.approx(probability, abs=1e-4)


def test_a_search_with_a_language_model_is_compiled_with_its_numbers_as_arguments():
    model = jax.tree.map(jnp.asarray, ngrams([[0, 1]], 2))
    traced = []

    @jax.jit
    def search(weight, bonus):
        traced.append(weight)
        return ctc.beam_search(SHORT, beam=3, language_model=model, weight=weight, bonus=bonus)

    for weight, bonus in ((0.0, 0.0), (0.5, 1.0)):
        numbers = jnp.float32(weight), jnp.float32(bonus)
        alone = ctc.beam_search(SHORT, beam=3, language_model=model, weight=weight, bonus=bonus)
        for one, other in zip(search(*numbers), alone, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    assert len(traced) == 1


def test_a_language_model_corrects_a_letter():
    # The middle letter is b rather than a by a little; all texts say a.
    logits = np.log(np.array([[[0.9, 0.05, 0.05], [0.05, 0.05, 0.9], [0.4, 0.5, 0.1], [0.05, 0.05, 0.9]]], np.float32))
    model = ngrams([[0, 0]] * 20, 2)
    plain, corrected = (ctc.beam_search(logits, language_model=m, beam=8) for m in (None, model))
    assert collapsed(logits[0].argmax(axis=1), 2) == (0, 1)
    np.testing.assert_array_equal(plain.labels[0, :2], [0, 1])
    np.testing.assert_array_equal(corrected.labels[0, :2], [0, 0])


def test_what_no_language_model_is():
    with pytest.raises(InputError, match="at least one string"):
        ngrams([], 3)
    with pytest.raises(InputError, match=r"3 classes run from 0 to 2; \[0, 3\] has others"):
        ngrams([[0, 3]], 3)
    with pytest.raises(InputError, match="at least 1, not 0 and 2"):
        ngrams([[0]], 3, order=0)
    with pytest.raises(ValueError, match="2 classes beside the blank, the language model has 3: estimate it"):
        ctc.beam_search(SHORT, language_model=ngrams([[0]], 3))
