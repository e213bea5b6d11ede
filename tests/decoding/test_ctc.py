"""CTC decoding against all paths of small problems, enumerated."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.decoding import ctc
from tests.helpers.ctc_paths import LENGTHS, SHORT, all_strings, collapsed


def test_steps_needed_are_labels_and_repetitions():
    labels = np.array([[3, 3, 3, -1], [1, 2, 1, 2], [5, -1, -1, -1], [7, 7, 8, 8]])
    np.testing.assert_array_equal(ctc.steps_needed(labels, np.array([3, 4, 1, 4])), [5, 4, 1, 6])


def test_the_best_path_is_that_of_all_paths():
    logits, lengths = 2 * SHORT, LENGTHS
    read = jax.tree.map(np.asarray, ctc.best_path(logits, lengths))
    for number, steps in enumerate(lengths):
        scores = logits[number, :steps].astype(np.float64)
        log_probs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        paths = list(itertools.product(range(3), repeat=steps))
        values = [sum(log_probs[range(steps), path]) for path in paths]
        string = collapsed(paths[int(np.argmax(values))], 2)
        assert tuple(read.labels[number, : read.lengths[number]]) == string
        assert (read.labels[number, read.lengths[number] :] == -1).all()
        np.testing.assert_allclose(read.log_probability[number], max(values), rtol=1e-5)


def test_a_wide_beam_finds_the_best_of_all_strings():
    read = jax.tree.map(np.asarray, ctc.beam_search(SHORT, LENGTHS, beam=70))
    differ = 0
    for number, steps in enumerate(LENGTHS):
        strings = all_strings(SHORT[number, :steps])
        best = max(strings, key=lambda string: strings[string])
        assert tuple(read.labels[number, : read.lengths[number]]) == best
        assert (read.labels[number, read.lengths[number] :] == -1).all()
        np.testing.assert_allclose(read.log_probability[number], strings[best], rtol=1e-5)
        differ += collapsed(SHORT[number, :steps].argmax(axis=1), 2) != best
    assert differ  # Where the best path led to the best string everywhere, this has shown nothing.


def test_a_beam_needs_a_blank_between_labels_that_repeat():
    # Step by step 0, blank, 0 is nearly certain: "00"; without the blank the zeros are one.
    sure = 8 * np.eye(2, dtype=np.float32)
    read = ctc.beam_search(jnp.asarray(np.stack([sure[[0, 1, 0]], sure[[0, 0, 0]]])), beam=2)
    np.testing.assert_array_equal(read.labels, [[0, 0, -1], [0, -1, -1]])
    np.testing.assert_array_equal(read.lengths, [2, 1])


def searched_with_a_dictionary(probabilities, beam):
    """The algorithm of Hannun et al. (2014): probabilities of prefixes that end in a blank and that do not."""
    blank = probabilities.shape[1] - 1
    prefixes = {(): (1.0, 0.0)}
    for of_step in probabilities:
        then: dict = {}

        def add(prefix, ends_blank, ends_label, then=then):
            before = then.get(prefix, (0.0, 0.0))
            then[prefix] = (before[0] + ends_blank, before[1] + ends_label)

        for prefix, (ends_blank, ends_label) in prefixes.items():
            add(prefix, (ends_blank + ends_label) * of_step[blank], 0.0)
            for label in range(blank):
                if prefix and prefix[-1] == label:
                    add(prefix, 0.0, ends_label * of_step[label])
                    add((*prefix, label), 0.0, ends_blank * of_step[label])
                else:
                    add((*prefix, label), 0.0, (ends_blank + ends_label) * of_step[label])
        prefixes = dict(sorted(then.items(), key=lambda item: -sum(item[1]))[:beam])
    best = max(prefixes, key=lambda prefix: sum(prefixes[prefix]))
    return list(best), sum(prefixes[best])


@pytest.mark.parametrize("beam", [2, 5])
def test_a_narrow_beam_keeps_the_best_prefixes(beam):
    logits = 2 * np.random.default_rng(8).normal(size=(12, 9, 4))
    read = jax.tree.map(np.asarray, ctc.beam_search(jnp.asarray(logits, jnp.float32), beam=beam))
    for n, scores in enumerate(logits):
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        best, probability = searched_with_a_dictionary(probabilities, beam)
        assert read.labels[n, : read.lengths[n]].tolist() == best
        assert read.log_probability[n] == pytest.approx(np.log(probability), abs=1e-4)


def test_a_narrow_beam_is_sure_of_less():
    wide, narrow = (ctc.beam_search(SHORT, beam=beam).log_probability for beam in (70, 2))
    assert (np.asarray(narrow) <= np.asarray(wide) + 1e-5).all()
    assert (np.asarray(narrow) < np.asarray(wide) - 1e-3).any()


@pytest.mark.parametrize("decode", [ctc.best_path, ctc.beam_search])
@pytest.mark.parametrize(
    ("logits", "lengths", "message"),
    [
        (SHORT[0], None, r"have the shape \[b, t, classes \+ 1\]"),
        (SHORT[:, :0], None, "at least one step"),
        (SHORT[..., :1], None, "one class beside the blank"),
        (SHORT, [5, 5, 4, 3, 2, 0], "lengths from 1 to 5; these run from 0 to 5. Leave out empty lines"),
        (SHORT, [6, 5, 4, 3, 2, 1], "these run from 1 to 6"),
        (SHORT, [5], "one length for each of 6 lines"),
    ],
)
def test_what_cannot_be_decoded(decode, logits, lengths, message):
    with pytest.raises(ValueError, match=message):
        decode(logits, None if lengths is None else np.array(lengths))


def test_a_beam_of_nothing():
    with pytest.raises(ValueError, match="keeps at least 1 prefix, not 0"):
        ctc.beam_search(SHORT, beam=0)
