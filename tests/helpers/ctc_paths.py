"""All paths of small CTC problems, enumerated."""

import itertools

import numpy as np


def collapsed(path, blank):
    return tuple(label for label, _ in itertools.groupby(path) if label != blank)


def all_strings(logits):
    """Log-probability of every string of `[t, scores]`, by its paths one by one, in float64."""
    logits = np.asarray(logits, np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    steps, scores = logits.shape
    strings = {}
    for path in itertools.product(range(scores), repeat=steps):
        string = collapsed(path, scores - 1)
        strings[string] = np.logaddexp(strings.get(string, -np.inf), sum(log_probs[range(steps), path]))
    return strings


SHORT = np.random.default_rng(0).normal(size=(6, 5, 3)).astype(np.float32)
LENGTHS = np.array([5, 5, 4, 3, 2, 1])
