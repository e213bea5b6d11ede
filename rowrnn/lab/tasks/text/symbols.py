"""Texts as numbers of characters or words, and back."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from jaxtyping import Int

from rowrnn.errors import InputError

Unit = Literal["character", "word"]
UNKNOWN = "\ufffd"
"""Stands for what the training text does not have."""
WORD = re.compile(r"\s?\w+|\s?[^\w\s]|\s+?(?=\s?\S)|\s+")
"""A word or a mark, with one white space before it: words one after the other are the text again."""


@dataclass(frozen=True)
class Symbols:
    """The characters or words that texts consist of; the number of a symbol is its place.

    Args:
        known: the symbols, each once, `UNKNOWN` first.
        unit: what a symbol is.

    Raises:
        InputError: if `UNKNOWN` is not first, there is no other, one occurs twice, or the unit is unknown.
    """

    known: tuple[str, ...]
    unit: Unit = "character"

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise InputError(f"A symbol is one of {', '.join(get_args(Unit))}, not {self.unit!r}.")
        if self.known[:1] != (UNKNOWN,) or len(self.known) < 2 or len(set(self.known)) < len(self.known):
            raise InputError(f"Symbols are U+FFFD, then others, each once, not {self.known[:9]!r}: see Symbols.of.")

    @classmethod
    def of(cls, text: str, unit: Unit = "character", *, min_count: int = 1) -> "Symbols":
        """Returns the symbols of a text, sorted.

        Args:
            text: the training text.
            unit: whether symbols are characters, or words with the white space before them.
            min_count: number of times that a symbol must occur; rarer ones are unknown.

        Raises:
            InputError: if none occurs so often.
        """
        counts = Counter(split(text, unit))
        known = sorted(symbol for symbol, count in counts.items() if count >= min_count and symbol != UNKNOWN)
        if not known:
            raise InputError(f"No {unit} occurs {min_count} times or more in the text, of {len(text):,} characters.")
        return cls((UNKNOWN, *known), unit)

    def __len__(self) -> int:
        return len(self.known)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {symbol: number for number, symbol in enumerate(self.known)}

    def encode(self, text: str) -> Int[np.ndarray, "n"]:
        """Returns the numbers of a text's symbols; what is not known has the number 0."""
        return np.array([self._numbers.get(symbol, 0) for symbol in split(text, self.unit)], np.int32)

    def unknown(self, text: str) -> list[str]:
        """Returns what a text has that is not known, each once, the most frequent first."""
        counts = Counter(symbol for symbol in split(text, self.unit) if symbol not in self._numbers)
        return [symbol for symbol, _ in counts.most_common()]

    def decode(self, numbers: Int[np.ndarray, "n"]) -> str:
        """Returns the text of symbols."""
        return "".join(self.known[number] for number in numbers.tolist())


def split(text: str, unit: Unit) -> Iterable[str]:
    """Splits a text, composed (NFC), into characters or words; joined they are the text again."""
    text = unicodedata.normalize("NFC", text)
    return text if unit == "character" else WORD.findall(text)
