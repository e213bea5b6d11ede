"""What beam search knows of a language: an n-gram model of texts, its weight and a bonus for length."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rowrnn.lab.tasks.lines.alphabet import Alphabet
from rowrnn.lab.tasks.lines.language_model import ngrams

MOST = 1_000_000  # characters


def spoken(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns the first texts, of a million characters together at most: enough to know a language by."""
    ends = np.cumsum([len(text) for text in texts])
    return tuple(texts[: int(np.searchsorted(ends, MOST, side="right"))])


def language_prior(texts: Sequence[str], alphabet: Alphabet, order: int, weight: float, bonus: float) -> dict[str, Any]:
    """Returns arguments of `rowrnn.decoding.ctc.beam_search`; none without a text.

    Args:
        texts: texts that the language model is made of, in characters of the alphabet.
        alphabet: the characters of a reader.
        order: characters of the longest n-grams.
        weight: factor of the language model's log-probabilities.
        bonus: addend for each character.
    """
    if not texts:
        return {}
    model = ngrams([alphabet.encode(text).tolist() for text in texts], len(alphabet), order=order)
    return {"language_model": model, "weight": weight, "bonus": bonus}
