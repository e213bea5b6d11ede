"""Alphabets: the characters of texts as the labels of a reader, and back."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
from jaxtyping import Int

from rowrnn.decoding.ctc import NOTHING
from rowrnn.errors import InputError

LETTERS, NUMBERS = {"L"}, {"EN", "AN"}  # bidirectional classes of Unicode (UAX #9) that run from the left in any script
RIGHT = {"R", "AL"}  # letters of scripts that run from the right
SEPARATORS = {"ES", "CS"}  # as + and the comma, which belong to the numbers on their two sides


@dataclass(frozen=True)
class Alphabet:
    """The characters that a reader knows; the label of a character is its place.

    A character is a code point of the composed text (Unicode's form NFC): é is one character, and a combining mark that
    composes with no letter is one of its own.

    A reader goes over a line from left to right, so that labels are in visual order. For a script that runs from the
    right, texts are reversed, and readings are reversed back; see `reversed_text`.

    Args:
        characters: all characters, each once.
        right_to_left: whether the lines run from right to left.

    Raises:
        InputError: if there is no character, or one occurs twice.
    """

    characters: str
    right_to_left: bool = False

    def __post_init__(self) -> None:
        if not self.characters or len(set(self.characters)) < len(self.characters):
            raise InputError(
                f"An alphabet has at least one character and each of them once, not {self.characters!r}: make it of "
                "texts with Alphabet.of."
            )

    @classmethod
    def of(cls, texts: Iterable[str], *, right_to_left: bool = False) -> "Alphabet":
        """Returns the alphabet of texts: all their characters, sorted by code point.

        Raises:
            InputError: if the texts have no character.
        """
        return cls("".join(sorted({c for text in texts for c in composed(text)})), right_to_left)

    def __len__(self) -> int:
        return len(self.characters)

    @cached_property
    def _labels(self) -> dict[str, int]:
        return {character: label for label, character in enumerate(self.characters)}

    def missing(self, text: str) -> str:
        """Returns the characters of a text that are not in the alphabet, each once, sorted."""
        return "".join(sorted(set(composed(text)) - self._labels.keys()))

    def encode(self, text: str) -> Int[np.ndarray, "n"]:
        """Returns the labels of a text, from the left of its line to the right.

        Raises:
            InputError: if a character is not in the alphabet; it names character and text.
        """
        if missing := self.missing(text):
            named = ", ".join(f"{c!r} ({unicodedata.name(c, 'without a name')}, U+{ord(c):04X})" for c in missing)
            raise InputError(
                f"The text {text!r} has {named}, not among the {len(self)} characters of the alphabet: train on texts "
                "that have it, or leave this line out."
            )
        text = composed(text)
        text = reversed_text(text) if self.right_to_left else text
        return np.array([self._labels[c] for c in text], np.int32)

    def encode_all(self, texts: Sequence[str]) -> tuple[Int[np.ndarray, "b n"], Int[np.ndarray, "b"]]:
        """Returns the labels of texts, padded with -1 to the longest, and the number of labels of each.

        Raises:
            InputError: if a character is not in the alphabet; it names character and text.
        """
        rows = [self.encode(text) for text in texts]
        labels = np.full((len(rows), max(map(len, rows), default=0)), NOTHING, np.int32)
        for row, of_text in zip(labels, rows, strict=True):
            row[: len(of_text)] = of_text
        return labels, np.array([len(row) for row in rows], np.int32)

    def decode(self, labels: Sequence[int] | Int[np.ndarray, "n"]) -> str:
        """Returns the text of labels, in the order in which it is read; the reverse of `encode`.

        Raises:
            InputError: if a label is no place in the alphabet.
        """
        places = [int(label) for label in labels]
        if wrong := [label for label in places if not 0 <= label < len(self)]:
            raise InputError(f"The labels of {len(self)} characters run from 0 to {len(self) - 1}, not {wrong[0]}.")
        text = "".join(self.characters[label] for label in places)
        return reversed_text(text) if self.right_to_left else text


def composed(text: str) -> str:
    """Returns a text with letters and marks composed where Unicode has one code point for them (form NFC)."""
    return unicodedata.normalize("NFC", text)


def reversed_text(text: str) -> str:
    """Turns the logical order of a line in a script from the right into the visual one, from left to right, and back.

    All is reversed but runs from the left, which keep their order: words of scripts from the left, with what is between
    two of them, and numbers, with a single separator between two of them. A mark stays behind the letter that carries
    it. This is Unicode's bidirectional algorithm (UAX #9) without embeddings, isolates, mirrored brackets and signs of
    currencies; turned twice, every text that does not begin with a mark is itself.
    """
    letters: list[str] = []
    for c in text:
        if unicodedata.combining(c) and letters:
            letters[-1] += c
        else:
            letters.append(c)
    units: list[str] = []  # what is not reversed inside: runs, and single letters
    gap, words = [], False
    for from_left, letters_of_stretch in groupby(letters, lambda letter: _kind(letter) in LETTERS | NUMBERS):
        stretch = list(letters_of_stretch)
        if not from_left:
            gap = stretch
            continue
        between, words_before = set(map(_kind, gap)), words
        words = any(_kind(letter) in LETTERS for letter in stretch)
        joins = not between & RIGHT if words else len(gap) == 1 and between <= SEPARATORS
        if joins and words == words_before and len(units) > 0:
            units[-1] += "".join([*gap, *stretch])
        else:
            units += [*gap, "".join(stretch)]
        gap = []
    return "".join(reversed([*units, *gap]))


def _kind(letter: str) -> str:
    return unicodedata.bidirectional(letter[0])
