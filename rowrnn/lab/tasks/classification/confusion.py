"""Which class is taken for which."""

import numpy as np
from jaxtyping import Int


def confusion_counts(
    labels: Int[np.ndarray, "n"], answers: Int[np.ndarray, "seeds n"], classes: int
) -> Int[np.ndarray, "seeds classes classes"]:
    """Number of examples by label and answer, of each seed.

    Args:
        labels: what the examples are, `[n]`.
        answers: what they were taken for, `[seeds, n]`.
        classes: number of classes.
    """
    counts = np.zeros((len(answers), classes, classes), np.int32)
    for of_seed, answer in zip(counts, answers, strict=True):
        np.add.at(of_seed, (labels, answer), 1)
    return counts
