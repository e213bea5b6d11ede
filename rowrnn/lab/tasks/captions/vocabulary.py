"""Vocabularies: the words of captions as numbers, and back."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from rowrnn.decoding.sentences import SpecialTokens
from rowrnn.errors import InputError

PAD, BEGIN, END = range(3)
SPECIAL_TOKENS = ("<pad>", "<begin>", "<end>")
UNKNOWN = "<unknown>"


class Encoded(NamedTuple):
    """Captions as word indices.

    Args:
        captions: `[n, k, longest]`: of each example up to k captions, each with `END` unless it was cut, then `PAD`.
        counts: number of captions of each example, `[n]`.
        cut: number of captions that were cut, as they have more words than fit.
        unknown: number of words that are not in the vocabulary.
        words: number of all words.
    """

    captions: Int[np.ndarray, "n k longest"]
    counts: Int[np.ndarray, "n"]
    cut: int
    unknown: int
    words: int


@dataclass(frozen=True)
class Vocabulary:
    """The words that captions consist of; the number of a word is its place.

    Args:
        words: the words, each once: first `SPECIAL_TOKENS`; `UNKNOWN` stands for all words that are not among them.

    Raises:
        InputError: if they do not begin with the special tokens, or one occurs twice.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.words[: len(SPECIAL_TOKENS)] != SPECIAL_TOKENS or len(set(self.words)) < len(self.words):
            raise InputError(
                f"A vocabulary begins with {', '.join(SPECIAL_TOKENS)} and has each word once, not "
                f"{' '.join(self.words[:9])}: make it of texts with Vocabulary.of."
            )

    @classmethod
    def of(cls, texts: Iterable[str], *, min_count: int = 1) -> "Vocabulary":
        """Returns the vocabulary of texts: their words, the most frequent first, and `UNKNOWN`.

        Args:
            texts: captions, of the training examples only.
            min_count: number of times that a word must occur; rarer ones are unknown words.

        Raises:
            InputError: if no word occurs so often.
        """
        counts = Counter(chain.from_iterable(map(split_words, texts)))
        words = [word for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        words = [word for word in words if counts[word] >= min_count]
        if not words:
            raise InputError(
                f"No word occurs {min_count} times or more in the captions, which have {len(counts)} different words."
            )
        return cls((*SPECIAL_TOKENS, UNKNOWN, *words))

    def __len__(self) -> int:
        return len(self.words)

    @property
    def tokens(self) -> SpecialTokens:
        """Numbers of the special tokens."""
        return SpecialTokens(PAD, BEGIN, END, self._numbers.get(UNKNOWN))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words)}

    def encode(self, captions: Sequence[Sequence[str]], longest: int) -> Encoded:
        """Converts the captions of several examples to word indices.

        Args:
            captions: one or more texts of each example.
            longest: number of places of a caption; of one that needs more for its words and its end, the first words.

        Raises:
            InputError: if there is no example, one has no caption or an empty one, `longest` is below 1, or a word is
                not in the vocabulary and that has no `UNKNOWN`.
        """
        if not captions or longest < 1:
            raise InputError(
                f"Expected at least one caption and one place for a word, not {len(captions)} and {longest}."
            )
        array = np.full((len(captions), max(map(len, captions)), longest), PAD, np.int32)
        cut = unknown = total = 0
        for number, texts in enumerate(captions):
            if not texts:
                raise InputError(f"Example {number + 1} of {len(captions)} has no caption; expected at least one.")
            for place, text in zip(array[number], texts, strict=False):
                words = split_words(text)
                if not words:
                    raise InputError(
                        f"The caption {text!r} of example {number + 1} has no word; expected at least one."
                    )
                numbers = [*(self._number(word, text) for word in words), END]
                unknown += sum(word not in self._numbers for word in words)
                total, cut = total + len(words), cut + (len(numbers) > longest)
                place[: min(len(numbers), longest)] = numbers[:longest]
        return Encoded(array, np.array([len(texts) for texts in captions], np.int32), cut, unknown, total)

    def decode(self, captions: Int[np.ndarray, "n t"]) -> list[str]:
        """Converts word indices to texts, words separated by spaces; each ends before its first `END` or `PAD`."""
        texts = []
        for caption in np.asarray(captions):
            ends = np.flatnonzero((caption == END) | (caption == PAD))
            texts.append(" ".join(self.words[word] for word in caption[: ends[0] if len(ends) else None]))
        return texts

    def _number(self, word: str, text: str) -> int:
        number = self._numbers.get(word, self._numbers.get(UNKNOWN))
        if number is None:
            listed = " ".join(self.words[len(SPECIAL_TOKENS) :])
            raise InputError(f"{word!r} in {text!r} is no word here; the words are {listed}.")
        return number


def split_words(text: str) -> list[str]:
    """Splits a text into lower-case words and marks.

    Words are separated by white space. Each punctuation mark or symbol (Unicode categories P and S) at the beginning or
    the end of a word is a word of its own; those within, as in "it's" and "close-up", stay. Text is composed (NFC).
    """
    words = []
    for word in unicodedata.normalize("NFC", text).lower().split():
        first, last = 0, len(word)
        while first < last and _is_mark(word[first]):
            first += 1
        while last > first and _is_mark(word[last - 1]):
            last -= 1
        words += [*word[:first], *([word[first:last]] if first < last else []), *word[last:]]
    return words


def as_written(words: str) -> str:
    """Returns words and marks that are separated by spaces as people write them: "a dog , wet ." as "a dog, wet."."""
    return re.sub(r" (?=[.,;:!?)\]}])|(?<=[(\[{]) ", "", words)


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] in "PS"
