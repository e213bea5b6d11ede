"""Alphabets: texts to labels and back, in scripts from the left and from the right."""

import unicodedata

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.tasks.lines.alphabet import Alphabet, reversed_text
from rowrnn.lab.tasks.lines.measures import character_error_rate, label_error_rate, word_error_rate


def test_an_alphabet_is_the_composed_characters_of_its_texts_in_order():
    decomposed = unicodedata.normalize("NFD", "été à")
    assert Alphabet.of([decomposed, "bœuf"]).characters == " bftuàéœ"
    # No code point is an x with a macron: the mark stays a character.
    assert Alphabet.of(["x\u0304e"]).characters == "ex\u0304"


def test_texts_are_their_labels_and_back():
    texts = ["bœuf", "", "été à Œ"]
    alphabet = Alphabet.of(texts)
    for text in texts:
        for form in ("NFC", "NFD"):
            labels = alphabet.encode(unicodedata.normalize(form, text))
            assert [alphabet.characters[label] for label in labels] == list(text)
            assert alphabet.decode(labels) == text
    labels, lengths = alphabet.encode_all(texts)
    assert labels.shape == (3, 7)
    np.testing.assert_array_equal(lengths, [4, 0, 7])
    for row, length, text in zip(labels, lengths, texts, strict=True):
        assert (row[length:] == -1).all()
        assert alphabet.decode(row[:length]) == text


@pytest.mark.parametrize(
    ("logical", "visual"),
    [
        ("שלום", "םולש"),
        ("שלום world", "world םולש"),
        ("שלום big world!", "!big world םולש"),
        ("ב 1948 היה", "היה 1948 ב"),
        ("מחיר 3.14 12", "12 3.14 ריחמ"),
        ("א-ב", "ב-א"),
        ("كتاب ١٢٣", "١٢٣ باتك"),
        ("שָׁל", "לשָׁ"),  # the points stay behind their letter
        ("", ""),
    ],
)
def test_a_script_from_the_right_is_reversed_but_for_words_and_numbers_from_the_left(logical, visual):
    assert reversed_text(logical) == visual
    assert reversed_text(visual) == logical


def test_any_line_turned_twice_is_itself():
    rng = np.random.default_rng(0)
    characters = list("אבג\u0627\u0628ab12., -+()!é\u05b8\u0304")
    for _ in range(500):
        line = "א" + "".join(rng.choice(characters, rng.integers(0, 12)))
        assert reversed_text(reversed_text(line)) == line
        assert sorted(reversed_text(line)) == sorted(line)


def test_labels_of_a_script_from_the_right_run_from_the_left_of_the_line():
    alphabet = Alphabet.of(["שלום 12"], right_to_left=True)
    labels = alphabet.encode("שלום 12")
    assert "".join(alphabet.characters[label] for label in labels) == "12 םולש"
    assert alphabet.decode(labels) == "שלום 12"


def test_a_character_outside_the_alphabet_is_named_with_its_text():
    with pytest.raises(InputError, match=r"'4 €' has ' ' .*'€' \(EURO SIGN, U\+20AC\), not among the 2 characters"):
        Alphabet("34").encode("4 €")
    assert Alphabet("34").missing("4 €€") == " €"
    with pytest.raises(InputError, match="from 0 to 1, not 2"):
        Alphabet("34").decode([0, 2])
    with pytest.raises(InputError, match="from 0 to 1, not -1"):
        Alphabet("34").decode([-1])
    with pytest.raises(InputError, match="each of them once, not 'aba'"):
        Alphabet("aba")
    with pytest.raises(InputError, match="at least one character"):
        Alphabet.of(["", ""])


# Errors of texts.


def test_characters_and_words_of_all_lines_count_alike():
    truths = ["le chat", "", "a b c d"]
    readings = ["le chut", "x", "a c d e"]
    # Characters: one replaced, one inserted, three replaced.
    assert character_error_rate(readings, truths) == pytest.approx((1 + 1 + 3) / (7 + 0 + 7))
    # Words: one replaced, one inserted, one left out, one put behind.
    assert word_error_rate(readings, truths) == pytest.approx((1 + 1 + 2) / (2 + 0 + 4))


def test_composed_and_decomposed_letters_are_one():
    assert character_error_rate([unicodedata.normalize("NFD", "été")], ["été"]) == 0
    assert word_error_rate([unicodedata.normalize("NFD", "été")], ["été"]) == 0
    assert character_error_rate(["ete"], ["été"]) == pytest.approx(2 / 3)


def test_character_errors_are_label_errors_where_no_space_is_at_an_end():
    rng = np.random.default_rng(1)
    truths, readings = (["x" + "".join(rng.choice(list("ab c"), 8)) + "x" for _ in range(30)] for _ in range(2))
    alphabet = Alphabet("abcx ")
    by_labels = label_error_rate(*([alphabet.encode(t).tolist() for t in texts] for texts in (readings, truths)))
    assert character_error_rate(readings, truths) == pytest.approx(by_labels)


@pytest.mark.parametrize("rate", [character_error_rate, word_error_rate])
def test_error_rates_of_nothing(rate):
    with pytest.raises(ValueError, match="1 readings cannot meet 2 truths"):
        rate(["a"], ["a", "b"])
    with pytest.raises(ValueError, match="at least one true character"):
        rate(["a", "b"], ["", " "])
