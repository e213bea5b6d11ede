"""Confusion matrices."""

import numpy as np
from jaxtyping import Int


def confusion_counts(
    labels: Int[np.ndarray, "n"], answers: Int[np.ndarray, "seeds n"], classes: int
) -> Int[np.ndarray, "seeds classes classes"]:
    """Computes the confusion matrix of each seed: the number of examples by label (row) and prediction (column).

    Args:
        labels: true classes, `[n]`.
        answers: predicted classes, `[seeds, n]`.
        classes: number of classes.
    """
    counts = np.zeros((len(answers), classes, classes), np.int32)
    for of_seed, answer in zip(counts, answers, strict=True):
        np.add.at(of_seed, (labels, answer), 1)
    return counts
