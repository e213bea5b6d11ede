"""The cost of generating training examples relative to training."""

import time

import jax
import numpy as np

from rowrnn.lab.experiment.contender import Trial
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.training import Source
from rowrnn.lab.training.evaluation import examples_of

GENERATIONS = 20  # batches that are timed


def generation_share(trial: Trial, options: TrainingOptions) -> float | None:
    """Measures the share of the training time that generating the examples takes, compiled on its own after training.

    Args:
        trial: the training of a contender that has a `generate`.
        options: the training options.

    Returns:
        The share; None where the training images stay on disk, or the contender has no `generate`.
    """
    train, generate = trial.contender.task.train, trial.contender.generate
    if isinstance(train, Source) or generate is None:
        return None
    batch = jax.tree.map(lambda array: array[: options.batch], train)
    # The key is made inside, as in a training step; outside it would cost another call.
    make, times = jax.jit(lambda batch, number: generate(batch, jax.random.key(number))), []
    for number in range(1 + GENERATIONS):
        started = time.perf_counter()
        jax.block_until_ready(make(batch, number))
        times.append(time.perf_counter() - started)
    # Seeds on different devices generate their examples at the same time.
    steps = options.recipe().steps(examples_of(train)) * trial.row.epochs * options.seeds / trial.fitted.devices["seed"]
    return float(np.median(times[1:]) * steps / trial.row.train_seconds)
