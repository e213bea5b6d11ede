"""Language models of lines: what label comes next by the last ones, n-grams with Witten-Bell smoothing."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float, Int

from rowrnn.decoding.ctc import LanguageModel
from rowrnn.errors import InputError

LARGEST = 1 << 24
"""Elements of a language model's table, at most: twice 64 MiB."""


def ngrams(
    strings: Iterable[Sequence[int]], classes: int, *, order: int = 5, fewest: int = 2, largest: int = LARGEST
) -> LanguageModel:
    """Estimates an n-gram model of labels, for `rowrnn.decoding.ctc.beam_search`.

    The probability of a label after a context is interpolated with that after the context without its first label
    (Witten & Bell 1991, method C; Chen & Goodman 1999, §2.5): a context seen n times with k different successors has
    weight n / (n + k). The end of a string counts as a successor, its beginning as the first label of a context. At the
    bottom all classes and the end are equally likely, so that no string is impossible.

    A model is a table of `classes` columns and a row for each context: 10,000 contexts of 100 characters take 8 MB.

    Args:
        strings: strings of labels, as `Alphabet.encode` gives them.
        classes: number of classes.
        order: number of labels of the longest n-gram; the context has one less.
        fewest: how often a context must be seen to have a row of its own.
        largest: elements of the table, at most; for more contexts, they must be seen more often.

    Raises:
        InputError: if there is no string, a label is not in [0, classes), or `order` or `fewest` is below 1.
    """
    if order < 1 or fewest < 1:
        raise InputError(f"An n-gram model has an order and a count of at least 1, not {order} and {fewest}.")
    tokens, depth = _tokens(strings, classes)
    begin = classes + 1
    places = np.flatnonzero(depth)  # of the tokens that follow a context
    below = np.full((1, classes + 1), 1 / (classes + 1))
    probabilities = _interpolated(below, np.zeros(len(places), np.int64), tokens[places])
    following = np.zeros((1, classes), np.int32)
    first = 0
    # For each token, the row of the context of so many tokens before it; -1 where it has none.
    state = np.zeros(len(tokens), np.int64)
    for length in range(1, order):
        known = places[(depth[places] >= length) & (state[places] >= 0)]
        # A context is its part without the first token, which is seen at least as often, and that token.
        codes = state[known] * (classes + 2) + tokens[known - length]
        found, where, number, counts = np.unique(codes, return_index=True, return_inverse=True, return_counts=True)
        room = max(0, largest // (classes + 1) - len(probabilities))
        if (counts >= fewest).sum() > room:
            fewest = int(np.sort(counts)[::-1][room]) + 1
        kept = counts >= fewest
        if not kept.any():
            break
        row = np.where(kept, len(probabilities) + np.cumsum(kept) - 1, -1)
        # The context without its last token is followed by the one with it.
        last = known[where[kept]] - 1
        inside = tokens[last] != begin
        following[state[last][inside], tokens[last][inside]] = row[kept][inside]
        if length == 1 and tokens[last][-1] == begin:  # the greatest token
            first = int(row[kept][-1])
        shorter = found[kept] // (classes + 2)
        counted = kept[number]
        longer = _interpolated(
            probabilities[shorter], row[number][counted] - len(probabilities), tokens[known][counted]
        )
        probabilities = np.concatenate([probabilities, longer])
        following = np.concatenate([following, following[shorter]])
        state = np.full(len(tokens), -1)
        state[known] = row[number]
    log_probs = np.log(probabilities).astype(np.float32)
    return LanguageModel(first, following, log_probs[:, :classes], log_probs[:, classes])


def _tokens(strings: Iterable[Sequence[int]], classes: int) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Returns the labels of all strings, each between a beginning and an end, and how far each is from the beginning.

    The end is the number of classes, and the beginning one more.
    """
    tokens, depths = [], []
    for string in strings:
        labels = [int(label) for label in string]
        if labels and not 0 <= min(labels) <= max(labels) < classes:
            raise InputError(f"The labels of {classes} classes run from 0 to {classes - 1}; {labels} has others.")
        tokens += [classes + 1, *labels, classes]
        depths += range(len(labels) + 2)
    if not tokens:
        raise InputError("A language model is estimated from at least one string.")
    return np.array(tokens, np.int64), np.array(depths, np.int64)


def _interpolated(
    below: Float[np.ndarray, "contexts labels"], rows: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "contexts labels"]:
    """Returns the probability of each label after each context.

    Args:
        below: those after the context without its first label.
        rows: the context of each label that was seen.
        labels: the label.
    """
    seen = np.bincount(rows * below.shape[1] + labels, minlength=below.size).reshape(below.shape)
    different = (seen > 0).sum(axis=1, keepdims=True)
    return (seen + different * below) / (seen.sum(axis=1, keepdims=True) + different)


def log_probability(model: LanguageModel, string: Iterable[int]) -> float:
    """Computes the log-probability of a string of labels and its end, in nats.

    Its negative, summed over texts that the model was not estimated from and divided by the number of their labels,
    tells which order is best.
    """
    following, log_probs, ends = (np.asarray(table) for table in model[1:])
    state, total = int(np.asarray(model.first)), 0.0
    for label in map(int, string):
        total += float(log_probs[state, label])
        state = int(following[state, label])
    return total + float(ends[state])
