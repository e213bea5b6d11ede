"""Strings compared by edits: labels put in, left out or mistaken."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int
from rapidfuzz.distance import Levenshtein

MISSING = -1
"""In an alignment, what stands beside a label that only one string has."""


def edit_distances(readings: Sequence[Sequence[int]], truths: Sequence[Sequence[int]]) -> Int[np.ndarray, "n"]:
    """Fewest labels to put in, leave out or change so that each reading becomes its truth (Levenshtein 1966).

    Args:
        readings: strings of labels.
        truths: as many.

    Raises:
        ValueError: if there are not as many.
    """
    if len(readings) != len(truths):
        raise ValueError(f"Each reading has a truth: {len(readings)} readings cannot meet {len(truths)} truths.")
    return np.array([Levenshtein.distance(*pair) for pair in zip(readings, truths, strict=True)], np.int64)


def label_error_rate(readings: Sequence[Sequence[int]], truths: Sequence[Sequence[int]]) -> float:
    """Edit distances summed over all strings, divided by the number of true labels (Graves et al. 2006, eq. 1, but of
    all labels together, so that each counts alike in short strings and long ones).

    Raises:
        ValueError: as `edit_distances`, or if there is no true label.
    """
    labels = sum(map(len, truths))
    if labels == 0:
        raise ValueError("An error rate needs at least one true label.")
    return float(edit_distances(readings, truths).sum() / labels)


def aligned(reading: Sequence[int], truth: Sequence[int]) -> Int[np.ndarray, "n 2"]:
    """Two strings side by side in as few edits as can be: rows (label read, true label), -1 where one has none."""
    rows: list[tuple[int, int]] = []
    for edit in Levenshtein.opcodes(reading, truth):
        read, true = reading[edit.src_start : edit.src_end], truth[edit.dest_start : edit.dest_end]
        longest = max(len(read), len(true))
        rows += zip(_filled(read, longest), _filled(true, longest), strict=True)
    return np.array(rows, np.int64).reshape(-1, 2)


def _filled(labels: Sequence[int], count: int) -> list[int]:
    return [*labels, *[MISSING] * (count - len(labels))]
