"""Measures of a classifier beside its accuracy."""

import numpy as np
from jaxtyping import Float, Int
from scipy.special import softmax

BINS = 10  # of probability


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
    from scipy.stats import rankdata  # Imported where used: it takes half a second.

    ranks = rankdata(scores)
    return float((ranks[positive].sum() - ones * (ones + 1) / 2) / (ones * zeros))


def calibration(
    labels: Int[np.ndarray, "n"], logits: Float[np.ndarray, "n classes"], bins: int = BINS
) -> Float[np.ndarray, "bins 3"]:
    """Compares how sure a classifier is of its answers with how often they are right, in bins of equal width.

    Args:
        labels: the classes.
        logits: of each example.
        bins: number of bins between the probability 0 and 1.

    Returns:
        For each bin the mean probability of its answers, the share of them that are right, and the share of all answers
        that it has; zeros where it has none.
    """
    probability, answers = softmax(logits, axis=-1).max(axis=-1), logits.argmax(axis=-1)
    of = np.minimum((probability * bins).astype(int), bins - 1)
    found = np.zeros((bins, 3))
    for number in range(bins):
        inside = of == number
        if inside.any():
            right = (answers == labels)[inside].mean()
            found[number] = probability[inside].mean(), right, inside.mean()
    return found


def calibration_error(bins: Float[np.ndarray, "bins 3"]) -> float:
    """Computes the expected calibration error (Guo et al. 2017, equation 3) of what `calibration` returns."""
    sure, right, share = bins.T
    return float((share * np.abs(sure - right)).sum())


def best_threshold(labels: Int[np.ndarray, "n"], scores: Float[np.ndarray, "n"]) -> float:
    """Returns the threshold above which most examples of class 1 lie and below which most of class 0 do.

    Of thresholds that tell as many apart the middle one; each lies half way between two scores, or beyond all.

    Args:
        labels: 0 or 1.
        scores: the higher, the more class 1 is believed.
    """
    ordered, place = np.unique(scores, return_inverse=True)
    thresholds = np.concatenate([[ordered[0] - 1], (ordered[1:] + ordered[:-1]) / 2, [ordered[-1] + 1]])
    # Each score that a threshold rises above makes its examples of class 0 right, and those of class 1 wrong.
    gained = np.bincount(place, np.where(labels == 1, -1, 1), minlength=len(ordered))
    right = np.concatenate([[0], np.cumsum(gained)])
    best = np.flatnonzero(right == right.max())
    return float(thresholds[best[len(best) // 2]])
