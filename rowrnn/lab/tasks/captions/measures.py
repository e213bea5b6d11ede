"""Measures of generated captions: exact match, BLEU, and accuracy of each kind of statement."""

import re
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import sacrebleu
from jaxtyping import Bool, Int

from rowrnn.lab.tasks.captions.language import DIGITS, SIZES

_DIGIT = re.compile(rf"\ba ({'|'.join(SIZES)}) ({'|'.join(DIGITS)})\b")
_RELATION = re.compile(r"\b(left of|right of|above|below them|below it|below)\b")


class Said(NamedTuple):
    """The statements of a caption, each kind in the order of the text.

    Args:
        sizes: sizes of the digits, "small" or "large".
        digits: names of the digits.
        relations: relations between digits, such as "left of".
    """

    sizes: tuple[str, ...]
    digits: tuple[str, ...]
    relations: tuple[str, ...]


def exact_match(said: Int[np.ndarray, "*n t"], truth: Int[np.ndarray, "n t"]) -> Bool[np.ndarray, "*n"]:
    """Returns which captions equal the reference in every word.

    Args:
        said: generated captions as word indices, padded like the references; leading axes, such as seeds, are allowed.
        truth: references.
    """
    return (said == truth).all(axis=-1)


def bleu4(said: Sequence[str], truth: Sequence[str | Sequence[str]]) -> float:
    """Computes corpus BLEU-4 (Papineni et al. 2002), from 0 to 1.

    It is computed by sacrebleu with tokenization "none" (words are separated by spaces) and smoothing "exp", which has
    an effect only if the whole corpus has no correct n-gram of some order.

    Args:
        said: generated captions as text.
        truth: for each of them the reference as text, or several references.

    Raises:
        ValueError: if there is no caption, the numbers of captions and references differ, or a caption has no
            reference.
    """
    _check(said, truth)
    references = [[true] if isinstance(true, str) else true for true in truth]
    if not all(map(len, references)):
        raise ValueError("Each caption is compared with at least one reference, and one of them has none.")
    # Sacrebleu takes the first references of all captions, then the second ones, None where a caption has fewer.
    in_turn: Any = list(zip_longest(*references))
    # `force` only suppresses a warning that the text looks tokenized already.
    return sacrebleu.corpus_bleu(said, in_turn, tokenize="none", smooth_method="exp", force=True).score / 100


def slots(said: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """Computes the accuracy of each kind of statement.

    The k-th digit, size or relation of a caption is compared with the k-th of its reference; one that is missing counts
    as wrong, an additional one is ignored.

    Args:
        said: generated captions as text.
        truth: references as text.

    Returns:
        `count`, the share of captions that name the correct number of digits; `digit`, `size` and `relation`, the
        share of correct ones among those of the references, 1 where the references have none.

    Raises:
        ValueError: if there is no caption, or the numbers of captions and references differ.
    """
    _check(said, truth)
    pairs = [(parse(ours), parse(true)) for ours, true in zip(said, truth, strict=True)]

    def share(kind: str) -> float:
        right = of = 0
        for ours, true in pairs:
            wanted, given = getattr(true, kind), getattr(ours, kind)
            right += sum(a == b for a, b in zip(given, wanted, strict=False))
            of += len(wanted)
        return right / of if of else 1.0

    counts = [len(ours.digits) == len(true.digits) for ours, true in pairs]
    return {
        "count": float(np.mean(counts)),
        "digit": share("digits"),
        "size": share("sizes"),
        "relation": share("relations"),
    }


def parse(text: str) -> Said:
    """Extracts the statements of a caption; words that do not fit the grammar are ignored."""
    named = _DIGIT.findall(text)
    return Said(tuple(size for size, _ in named), tuple(digit for _, digit in named), tuple(_RELATION.findall(text)))


def _check(said: Sequence[str], truth: Sequence[Any]) -> None:
    if not truth or len(said) != len(truth):
        raise ValueError(
            f"Captions are compared with as many others, at least one: there are {len(said)} and {len(truth)}."
        )
