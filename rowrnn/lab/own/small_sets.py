"""How a small set is trained on: batches that it can fill, and epochs of several passes over it."""

import dataclasses

from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.report.terminal import terminal

STEPS = 50
"""Fewest steps of an epoch: after fewer, a validation score says little, and a training would end before it began."""


def fitted(options: TrainingOptions, examples: int, together: int = 1) -> TrainingOptions:
    """Returns training options with batches and epochs for a number of training examples, and prints what they are.

    A batch is not larger than the set, and an epoch makes as many passes over it as 50 steps need, where that is more
    than asked for.

    Args:
        options: the options as they were given.
        examples: number of training examples.
        together: number of lines or pictures that one example is.
    """
    batch = max(1, min(options.batch, examples))
    passes = max(options.passes, -(-STEPS * batch // examples))
    steps = passes * examples // batch
    through = f"{passes} times" if passes > 1 else "once"
    message = f"An epoch is {steps:,} steps of {batch * together}, {through} through the training examples."
    terminal().print(message, markup=False)
    return dataclasses.replace(options, batch=batch, passes=passes)
