"""Measures of a classifier beside its accuracy."""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata


def balanced_accuracy(labels: Int[np.ndarray, "n"], answers: Int[np.ndarray, "n"]) -> float:
    """Computes the mean, over the classes that occur, of the share of a class's examples that are answered right."""
    return float(np.mean([(answers[labels == label] == label).mean() for label in np.unique(labels)]))


def area_under_curve(labels: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n"]) -> float:
    """Computes the area under the receiver operating characteristic of two classes.

    It is the probability that an example of class 1 scores above one of class 0, equal scores counted half (Hanley and
    McNeil 1982), computed from ranks.

    Args:
        labels: 0 or 1.
        scores: the higher, the more class 1 is believed.

    Raises:
        ValueError: if there is no example of a class.
    """
    positive = labels == 1
    ones, zeros = int(positive.sum()), int((~positive).sum())
    if not ones or not zeros:
        raise ValueError("An area under the curve needs examples of both classes.")
    ranks = rankdata(scores)
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))
