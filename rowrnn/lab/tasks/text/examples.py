"""Examples of text: pieces of a training text, and the rest of it for validation and test."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from rowrnn.errors import InputError
from rowrnn.lab.data.sources.text import read_texts
from rowrnn.lab.tasks.text.symbols import Symbols, Unit

TENTH = 10
"""One of so many parts of a text without splits is its test, the last, and one the validation, the first: the test then
goes on where the training text ends, as where a whole text but its end is learnt."""


@dataclass(frozen=True)
class TextSet:
    """A text, cut into what is learnt, what chooses, and what is scored at the end.

    Args:
        symbols: the characters or words of the training text.
        texts: numbers of the symbols by split: train, validation and test.
        context: number of symbols that a model reads at once in training.
        source: where the text comes from, in words.
    """

    symbols: Symbols
    texts: dict[str, Int[np.ndarray, "n"]]
    context: int
    source: str

    def describe(self) -> dict[str, Any]:
        """Returns what the record says of the data."""
        return {"source": self.source, "symbols": len(self.symbols), **{k: len(v) for k, v in self.texts.items()}}

    @cached_property
    def train(self) -> Int[np.ndarray, "n places"]:
        """Pieces of which each training step takes `context + 1` symbols from a random place on, so that in an epoch
        about every symbol is predicted once.
        """
        return windows(self.texts["train"], 2 * self.context, self.context)

    def judged(self, split: str) -> Int[np.ndarray, "n places"]:
        """Pieces of `context + 1` symbols of a split, in whose second halves every symbol stands once."""
        return windows(self.texts[split], self.context + 1, self.context // 2)


def text_of(place: str, *, unit: Unit = "character", context: int = 256, min_count: int = 1) -> TextSet:
    """Reads text: a file, or the `.txt` files of a folder, those of a split named after it.

    Args:
        place: the file or folder.
        unit: whether symbols are characters or words.
        context: number of symbols that a model reads at once in training, even.
        min_count: number of times that a symbol must occur in the training text; rarer ones are unknown.

    Raises:
        InputError: if no text is named or there is none, it cannot be read, a split is too short, or `context` is odd.
    """
    if not place:
        raise InputError("Name the data: a text file, or a folder of .txt files.")
    if context < 2 or context % 2:
        raise InputError(f"--context is {context}; expected an even number of symbols, at least 2.")
    texts = read_texts(place)
    words = [f"{place}: {', '.join(f'{len(text):,} characters of {split}' for split, text in texts.items())}"]
    texts = dict(zip(("train", "validation", "test"), in_parts(texts), strict=True))
    if not texts["train"]:
        raise InputError(f"There is no text to learn in {place}: call a file train.txt, or give it no split's name.")
    symbols = Symbols.of(texts["train"], unit, min_count=min_count)
    encoded = {split: symbols.encode(text) for split, text in texts.items()}
    for split, numbers in encoded.items():
        if len(numbers) < 2 * context:
            raise InputError(
                f"The text of {split} in {place} has {len(numbers):,} {unit}s, and a piece of it {2 * context:,}: give "
                "more text, or a smaller --context."
            )
        if unknown := int((numbers == 0).sum()):
            some = "".join(symbols.unknown(texts[split])[:20])
            words.append(f"{unknown:,} {unit}s of {split} are unknown, as {some!r}")
    counts = ", ".join(f"{len(numbers):,} of {split}" for split, numbers in encoded.items())
    words.append(f"{len(symbols) - 1:,} different {unit}s; {counts}")
    return TextSet(symbols, encoded, context, ". ".join(words))


def in_parts(texts: dict[str, str]) -> tuple[str, str, str]:
    """Returns the texts of training, validation and test: those given, and for others the tenths at either end."""
    train = texts.get("train", "")
    tenth = len(train) // TENTH
    test, validation = texts.get("test"), texts.get("validation")
    if test is None:
        train, test = train[: len(train) - tenth], train[len(train) - tenth :]
    if validation is None:
        validation, train = train[:tenth], train[tenth:]
    return train, validation, test


def windows(numbers: Int[np.ndarray, "n"], length: int, stride: int) -> Int[np.ndarray, "pieces length"]:
    """Returns pieces of a text that begin `stride` symbols apart; what is left at the end is left out."""
    return np.lib.stride_tricks.sliding_window_view(numbers, length)[::stride].copy()
