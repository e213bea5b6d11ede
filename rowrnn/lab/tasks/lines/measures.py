"""Measures of recognized strings: edit distance and alignment of labels, error rates of labels, letters and words."""

from collections.abc import Sequence

import jiwer
import numpy as np
from jaxtyping import Int
from rapidfuzz.distance import Levenshtein

from rowrnn.lab.tasks.lines.alphabet import composed

MISSING = -1
"""Marks, in an alignment, a label that the other string does not have."""


def edit_distances(readings: Sequence[Sequence[int]], truths: Sequence[Sequence[int]]) -> Int[np.ndarray, "n"]:
    """Computes the smallest number of insertions, deletions and substitutions between strings (Levenshtein 1966).

    Args:
        readings: recognized strings of labels.
        truths: true strings, one for each.

    Raises:
        ValueError: if the numbers of strings differ.
    """
    if len(readings) != len(truths):
        raise ValueError(f"Each reading has a truth: {len(readings)} readings cannot meet {len(truths)} truths.")
    return np.array([Levenshtein.distance(*pair) for pair in zip(readings, truths, strict=True)], np.int64)


def label_error_rate(readings: Sequence[Sequence[int]], truths: Sequence[Sequence[int]]) -> float:
    """Computes the sum of the edit distances divided by the total number of true labels.

    Graves et al. (2006, equation 1) average the rate of each string; here all labels have the same weight, in short
    strings and in long ones.

    Args:
        readings: recognized strings of labels.
        truths: true strings, one for each.

    Raises:
        ValueError: if the numbers of strings differ, or there is no true label.
    """
    labels = sum(map(len, truths))
    if labels == 0:
        raise ValueError("An error rate needs at least one true label.")
    return float(edit_distances(readings, truths).sum() / labels)


def character_error_rate(readings: Sequence[str], truths: Sequence[str]) -> float:
    """Computes the sum of the edit distances in characters divided by the total number of true characters.

    Characters are code points of the composed texts (NFC). Spaces at both ends of a line do not count.

    Args:
        readings: recognized texts.
        truths: true texts, one for each.

    Raises:
        ValueError: if the numbers of texts differ, or there is no true character.
    """
    return float(jiwer.cer(*_texts(readings, truths)))


def word_error_rate(readings: Sequence[str], truths: Sequence[str]) -> float:
    """Computes the sum of the edit distances in words divided by the total number of true words.

    Words are what spaces separate, punctuation included.

    Args:
        readings: recognized texts.
        truths: true texts, one for each.

    Raises:
        ValueError: if the numbers of texts differ, or there is no true word.
    """
    return float(jiwer.wer(*_texts(readings, truths)))


def _texts(readings: Sequence[str], truths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns composed true and recognized texts, in jiwer's order."""
    if len(readings) != len(truths):
        raise ValueError(f"Each reading has a truth: {len(readings)} readings cannot meet {len(truths)} truths.")
    if not any(map(str.strip, truths)):
        raise ValueError("An error rate needs at least one true character.")
    return [composed(text) for text in truths], [composed(text) for text in readings]


def aligned(reading: Sequence[int], truth: Sequence[int]) -> Int[np.ndarray, "n 2"]:
    """Aligns two strings with the smallest number of edits.

    Returns:
        Rows of recognized label and true label, `MISSING` where a string has none.
    """
    rows: list[tuple[int, int]] = []
    for edit in Levenshtein.opcodes(reading, truth):
        read, true = reading[edit.src_start : edit.src_end], truth[edit.dest_start : edit.dest_end]
        longest = max(len(read), len(true))
        rows += zip(_filled(read, longest), _filled(true, longest), strict=True)
    return np.array(rows, np.int64).reshape(-1, 2)


def _filled(labels: Sequence[int], count: int) -> list[int]:
    return [*labels, *[MISSING] * (count - len(labels))]
