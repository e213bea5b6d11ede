"""How well captions describe: exactly, by BLEU, and in each thing that they say."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import sacrebleu
from jaxtyping import Bool, Int

from rowrnn.lab.tasks.captions.language import DIGITS, SIZES

_DIGIT = re.compile(rf"\ba ({'|'.join(SIZES)}) ({'|'.join(DIGITS)})\b")
_RELATION = re.compile(r"\b(left of|right of|above|below them|below it|below)\b")


class Said(NamedTuple):
    """What a caption says: size and name of each digit in turn, and the relations between them in turn."""

    sizes: tuple[str, ...]
    digits: tuple[str, ...]
    relations: tuple[str, ...]


def exact_match(said: Int[np.ndarray, "*n t"], truth: Int[np.ndarray, "n t"]) -> Bool[np.ndarray, "*n"]:
    """Which captions are right, word by word to their end; both with the same padding after it."""
    return (said == truth).all(axis=-1)


def bleu4(said: Sequence[str], truth: Sequence[str]) -> float:
    """BLEU (Papineni et al. 2002) of a corpus, of up to four words in a row, from 0 to 1.

    By sacrebleu with tokenization "none", words being what stands between spaces, one reference a caption, and
    smoothing "exp", which counts only where no four words in a row are right anywhere.

    Raises:
        ValueError: if there is no caption, or another number of references.
    """
    _check(said, truth)
    # `force` only keeps it from remarking that the words are apart already.
    return sacrebleu.corpus_bleu(said, [truth], tokenize="none", smooth_method="exp", force=True).score / 100


def slots(said: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """Share of what is right of each kind of thing that the captions should say, each in its turn.

    `count`: captions that name the right number of digits. `digit` and `size`: digits and sizes as named in the same
    turn. `relation`: relations likewise; a caption of one digit has none. Where nothing should be said the share is 1.

    Raises:
        ValueError: as `bleu4`.
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
    """What a caption says, as far as it can be read."""
    named = _DIGIT.findall(text)
    return Said(tuple(size for size, _ in named), tuple(digit for _, digit in named), tuple(_RELATION.findall(text)))


def _check(said: Sequence[str], truth: Sequence[str]) -> None:
    if not truth or len(said) != len(truth):
        raise ValueError(
            f"Captions are compared with as many others, at least one: there are {len(said)} and {len(truth)}."
        )
