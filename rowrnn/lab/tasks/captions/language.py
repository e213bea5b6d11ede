"""Words and grammar of the captions of scenes, and conversion between text and word indices.

A caption is an array of indices into `WORDS`, `[longest]`: the words of the sentence, `END`, then `PAD` up to a fixed
length. Each scene (`rowrnn.lab.tasks.captions.examples`) has exactly one correct caption: of two digits the larger is
named first, or if both have the same size, the left or upper one; three or four digits are named from left to right,
the upper row first.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from rowrnn.errors import InputError
from rowrnn.lab.tasks.captions.vocabulary import END, PAD, SPECIAL_TOKENS, Vocabulary

SIZES = ("small", "large")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SENTENCES = (
    "a 0",
    "a 0 left of a 1",
    "a 0 right of a 1",
    "a 0 above a 1",
    "a 0 below a 1",
    "three digits : a 0 left of a 1 , below them a 2",
    "three digits : a 0 , below it a 1 left of a 2",
    "four digits : a 0 left of a 1 , below them a 2 left of a 3",
)
"""Sentence templates; number k stands for size and name of digit k, in the order in which they are named."""

WORDS = (
    *SPECIAL_TOKENS,
    *SIZES,
    *DIGITS,
    *("a", "left", "right", "of", "above", "below", "them", "it", "digits", ":", ","),
)
"""The words; "three" and "four" also name the number of digits."""
VOCABULARY = Vocabulary(WORDS)

MOST = 4  # most digits in a scene


def _codes() -> Int[np.ndarray, "sentences longest"]:
    """Returns the templates as word indices; `len(WORDS) + k` stands for the size of digit k, and that + `MOST` for its
    name."""
    numbers: list[list[int]] = []
    for sentence in SENTENCES:
        numbers.append([])
        for word in sentence.split():
            turn = len(WORDS) + int(word) if word.isdigit() else None
            numbers[-1] += [WORDS.index(word)] if turn is None else [turn, turn + MOST]
    longest = max(map(len, numbers)) + 1
    return np.array([[*row, END, *[PAD] * (longest - len(row) - 1)] for row in numbers], np.int32)


_CODES = _codes()
LONGEST = _CODES.shape[1]
"""Number of words of the longest caption, including `END`."""


def captions_of(
    sentence: Int[Array, "b"], sizes: Int[Array, "b k"], digits: Int[Array, "b k"]
) -> Int[Array, "b longest"]:
    """Returns captions as word indices.

    Args:
        sentence: index into `SENTENCES`, `[b]`.
        sizes: 0 for small, 1 for large, of up to four digits in the order in which they are named.
        digits: digits from 0 to 9, in the same order.
    """
    words = jnp.broadcast_to(jnp.arange(len(WORDS), dtype=jnp.int32), (len(sentence), len(WORDS)))
    said = [words, WORDS.index(SIZES[0]) + sizes, WORDS.index(DIGITS[0]) + digits]
    return jnp.take_along_axis(jnp.concatenate(said, axis=1), jnp.asarray(_CODES)[sentence], axis=1)


def encode(texts: Sequence[str]) -> Int[np.ndarray, "n longest"]:
    """Converts texts to word indices; the inverse of `decode`.

    Args:
        texts: captions as words separated by spaces, without special tokens.

    Raises:
        InputError: if there is no text, a word is not in the vocabulary or is a special token, or a text is too long.
    """
    if not texts:
        raise InputError("There is no caption to encode; expected at least one.")
    captions = np.full((len(texts), LONGEST), PAD, np.int32)
    for caption, text in zip(captions, texts, strict=True):
        words = text.split()
        for word in words:
            if word not in WORDS[len(SPECIAL_TOKENS) :]:
                raise InputError(
                    f"{word!r} in {text!r} is no word here; the words are {' '.join(WORDS[len(SPECIAL_TOKENS) :])}"
                )
        if len(words) >= LONGEST:
            raise InputError(f"The caption {text!r} has {len(words)} words; at most {LONGEST - 1} are expected.")
        caption[: len(words) + 1] = [*map(WORDS.index, words), END]
    return captions


def decode(captions: Int[np.ndarray, "n t"]) -> list[str]:
    """Converts word indices to texts; each ends before its first `END` or `PAD`."""
    return VOCABULARY.decode(captions)
