"""Language models of lines: what label comes next by the last ones, n-grams with Witten-Bell smoothing."""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from rowrnn.decoding.ctc import LanguageModel
from rowrnn.errors import InputError

Context = tuple[int, ...]


def ngrams(strings: Iterable[Sequence[int]], classes: int, *, order: int = 5, fewest: int = 2) -> LanguageModel:
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

    Raises:
        InputError: if there is no string, a label is not in [0, classes), or `order` or `fewest` is below 1.
    """
    if order < 1 or fewest < 1:
        raise InputError(f"An n-gram model has an order and a count of at least 1, not {order} and {fewest}.")
    begin, end = -1, classes  # the end is the last column of counts
    seen: dict[Context, Counter[int]] = {}
    for string in strings:
        labels = [int(label) for label in string]
        if labels and not 0 <= min(labels) <= max(labels) < classes:
            raise InputError(f"The labels of {classes} classes run from 0 to {classes - 1}; {labels} has others.")
        known = (begin, *labels)
        for place, label in enumerate((*labels, end), 1):
            for length in range(min(order, place + 1)):
                seen.setdefault(known[place - length : place], Counter())[label] += 1
    if not seen:
        raise InputError("A language model is estimated from at least one string.")

    # Shorter ones first; with a context come its parts, which are seen at least as often.
    contexts = sorted((c for c in seen if len(c) == 0 or seen[c].total() >= fewest), key=lambda c: (len(c), c))
    states = {context: state for state, context in enumerate(contexts)}
    successors: dict[Context, list[Context]] = {context: [] for context in contexts}
    for context in contexts[1:]:
        if context[-1] != begin:
            successors[context[:-1]].append(context)

    probabilities = np.empty((len(contexts), classes + 1))
    following = np.zeros((len(contexts), classes), np.int32)
    for state, context in enumerate(contexts):
        counts, shorter = seen[context], states[context[1:]]
        below = probabilities[shorter] if context else np.full(classes + 1, 1 / (classes + 1))
        probabilities[state] = len(counts) * below
        probabilities[state, list(counts)] += list(counts.values())
        probabilities[state] /= counts.total() + len(counts)
        if context:
            following[state] = following[shorter]
        for longer in successors[context]:
            following[state, longer[-1]] = states[longer]
    log_probs = np.log(probabilities).astype(np.float32)
    return LanguageModel(states.get((begin,), 0), following, log_probs[:, :classes], log_probs[:, classes])


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
