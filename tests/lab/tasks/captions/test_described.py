"""Vocabularies of people's captions, and the task of pictures with several captions each."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn.cells import GRU
from rowrnn.errors import InputError
from rowrnn.lab.data import Augmentation
from rowrnn.lab.tasks.captions import task
from rowrnn.lab.tasks.captions.measures import bleu4
from rowrnn.lab.tasks.captions.vocabulary import BEGIN, END, PAD, UNKNOWN, Vocabulary, as_written, split_words
from rowrnn.models import Captioner

TEXTS = [["A dog runs.", "The dog: it runs!"], ["A cat.", "a CAT sleeps", "It's a close-up, a cat"], ["Dogs?"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A dog runs.", ["a", "dog", "runs", "."]),
        ("  Two\tlines\nand more ", ["two", "lines", "and", "more"]),
        ('"It\'s a close-up," she said...', ['"', "it's", "a", "close-up", ",", '"', "she", "said", ".", ".", "."]),
        ("ÉTÉ À LA PLAGE", ["été", "à", "la", "plage"]),
        ("e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}", ["été"]),
        ("बिल्ली सोती है।", ["बिल्ली", "सोती", "है", "।"]),  # vowel signs are no letters, and stay within
        ("5 € (five)", ["5", "€", "(", "five", ")"]),
        ("?!", ["?", "!"]),
        ("<end>", ["<", "end", ">"]),
        ("", []),
    ],
)
def test_texts_are_split_into_words_and_marks(text, words):
    assert split_words(text) == words


def test_a_vocabulary_has_the_words_of_its_texts_by_their_number():
    vocabulary = Vocabulary.of(text for texts in TEXTS for text in texts)
    assert vocabulary.words[:4] == ("<pad>", "<begin>", "<end>", UNKNOWN)
    # a 5 times; cat 3; then those of 2, and of 1, in alphabetical order.
    assert vocabulary.words[4:] == (
        *("a", "cat", ".", "dog", "runs", "!", ",", ":", "?", "close-up", "dogs", "it", "it's", "sleeps", "the"),
    )
    assert vocabulary.tokens == (PAD, BEGIN, END, 3)
    assert Vocabulary.of(["b b a", "b a c"], min_count=2).words[4:] == ("b", "a")


def test_texts_are_numbers_and_back():
    vocabulary = Vocabulary.of(["a dog runs .", "a dog"])
    encoded = vocabulary.encode([["A dog runs.", "a dog"], ["A red dog runs fast."]], longest=5)
    number = vocabulary.words.index
    a, dog, runs, unknown = map(number, ("a", "dog", "runs", UNKNOWN))
    expected = [
        [[a, dog, runs, number("."), END], [a, dog, END, PAD, PAD]],
        # A caption that is cut has no end; where there is no caption there is padding.
        [[a, unknown, dog, runs, unknown], [PAD] * 5],
    ]
    np.testing.assert_array_equal(encoded.captions, expected)
    assert encoded.counts.tolist() == [2, 1]
    assert (encoded.cut, encoded.unknown, encoded.words) == (1, 2, 4 + 2 + 6)
    assert vocabulary.decode(encoded.captions[:, 0]) == ["a dog runs .", "a <unknown> dog runs <unknown>"]
    assert vocabulary.decode(encoded.captions[:, 1]) == ["a dog", ""]
    assert as_written("a dog ( brown ) runs , and barks !") == "a dog (brown) runs, and barks!"


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: Vocabulary(("a", "b")), InputError, "begins with <pad>, <begin>, <end> and has each word once"),
        (lambda: Vocabulary((*Vocabulary.of(["a"]).words, "a")), InputError, "each word once"),
        (lambda: Vocabulary.of([]), InputError, "No word occurs 1 times or more .* 0 different words"),
        (lambda: Vocabulary.of(["a b"], min_count=2), InputError, "2 times or more .* have 2 different words"),
        (
            lambda: Vocabulary.of(["a"]).encode([], 3),
            InputError,
            "at least one caption and one place for a word, not 0",
        ),
        (lambda: Vocabulary.of(["a"]).encode([["a"], []], 3), InputError, "Example 2 of 2 has no caption"),
        (lambda: Vocabulary.of(["a"]).encode([["a", " "]], 3), InputError, "The caption ' ' of example 1 has no word"),
        (
            lambda: Vocabulary(("<pad>", "<begin>", "<end>", "a")).encode([["a cat"]], 3),
            InputError,
            "'cat' in 'a cat' is no word here; the words are a",
        ),
        (lambda: bleu4(["a"], [[]]), ValueError, "at least one reference, and one of them has none"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        wrong()


def test_bleu_takes_for_each_gram_the_reference_that_has_most_of_it():
    """Papineni et al. 2002: counts clipped by the largest of all references, the brevity by the nearest length."""
    said = ["the cat is on the mat today", "a dog runs over a field"]
    truth = [
        ["there is a cat on the mat", "the cat is on the mat right now"],
        ["a dog runs over the field of grass", "one dog is here", "a brown dog runs over a field"],
    ]

    def grams(text, n):
        words = text.split()
        found = [tuple(words[k : k + n]) for k in range(len(words) - n + 1)]
        return {gram: found.count(gram) for gram in found}

    precision = []
    for n in range(1, 5):
        met = of = 0
        for ours, true in zip(said, truth, strict=True):
            counts = grams(ours, n)
            met += sum(min(k, max(grams(text, n).get(gram, 0) for text in true)) for gram, k in counts.items())
            of += sum(counts.values())
        precision.append(met / of)
    ours = sum(len(text.split()) for text in said)
    nearest = 7 + 7  # of 7 and 8 words for 7; of 8, 4 and 7 for 6
    expected = min(1, math.exp(1 - nearest / ours)) * math.prod(precision) ** 0.25
    assert bleu4(said, truth) == pytest.approx(expected, rel=1e-9)
    assert bleu4(said, [[text, "something else"] for text in said]) == pytest.approx(1)


def test_a_caption_is_right_if_it_is_one_of_the_references():
    found = task.measure_texts([["a cat", "a dog"], ["the cat", "a cow"]], [["a cat", "the cat"], ["a dog"]])
    assert found["exact_match"]["values"] == [1.0, 0.5]
    assert found["bleu4"]["values"][0] == pytest.approx(bleu4(["a cat", "a dog"], [["a cat", "the cat"], ["a dog"]]))


# The task.

VOCABULARY = Vocabulary.of(text for texts in TEXTS for text in texts)
LONGEST = 6
LOGITS = jax.jit(Captioner.logits)


def problem():
    rngs = nnx.Rngs(0)
    model = Captioner(
        GRU,
        5,
        shape=(9, 12, 3),
        words=len(VOCABULARY),
        longest=LONGEST,
        tokens=VOCABULARY.tokens,
        channels=8,
        embedding=4,
        rngs=rngs,
    )
    images = np.random.default_rng(0).integers(0, 256, (3, 9, 12, 3), np.uint8)
    encoded = VOCABULARY.encode(TEXTS, LONGEST)
    return model, task.Described(images, encoded.captions, encoded.counts)


def to_floats(images):
    return (jnp.asarray(images, jnp.float32) / 255 - 0.5) / 0.3


def nats_of(model, image, caption):
    """Minus the log-probabilities of the words of one caption, in float64."""
    logits = np.asarray(LOGITS(model, to_floats(image[None]), caption[None]), np.float64)[0]
    nats = np.log(np.exp(logits).sum(axis=-1)) - logits[np.arange(len(caption)), caption]
    return nats[caption != PAD]


def test_likelihood_is_that_of_all_captions_of_a_picture():
    model, batch = problem()
    expected = [
        -np.concatenate([nats_of(model, image, caption) for caption in captions[:count]]).mean()
        for image, captions, count in zip(*batch, strict=True)
    ]
    found = jax.jit(partial(task.likelihood, to_floats=to_floats))(model, batch)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_each_step_learns_one_caption_of_each_picture():
    model, batch = problem()
    nats = [
        [nats_of(model, image, caption) for caption in captions[:count]]
        for image, captions, count in zip(*batch, strict=True)
    ]
    # All that a step may draw, by its mean loss.
    ways = {(a, b): np.concatenate([nats[0][a], nats[1][b], nats[2][0]]).mean() for a in range(2) for b in range(3)}
    loss = jax.jit(partial(task.loss_of_described, to_floats=to_floats))
    found = [float(loss(model, batch, jax.random.key(seed))[0]) for seed in range(60)]
    drawn = [min(ways, key=lambda way, value=value: abs(ways[way] - value)) for value in found]
    np.testing.assert_allclose(found, [ways[way] for way in drawn], rtol=1e-5)
    assert set(drawn) == set(ways)
    # The key decides the changes of the images too.
    shifted = partial(task.loss_of_described, to_floats=to_floats, augmentation=Augmentation(shift=3.0))
    assert abs(float(shifted(model, batch, jax.random.key(0))[0]) - found[0]) > 1e-6


def test_pictures_are_captioned_as_the_model_does():
    model, batch = problem()
    greedy, by_beam = task.decode(model, batch, beam=2, length_power=0.5, to_floats=to_floats)
    images = to_floats(batch.images)
    np.testing.assert_array_equal(greedy, model(images))
    np.testing.assert_array_equal(by_beam, model.beam(images, 2, length_power=0.5).words[:, 0])
    assert all(set(text.split()) <= set(VOCABULARY.words) for text in VOCABULARY.decode(np.asarray(greedy)))
