"""What making training examples costs beside the training."""

import time

import jax
import numpy as np

from rowrnn.lab.experiment.contender import Trial
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.training import Source
from rowrnn.lab.training.evaluation import examples_of

GENERATIONS = 20  # batches made to time their making


def generation_share(trial: Trial, options: TrainingOptions) -> float | None:
    """Share of the training time that goes into making the examples, alone and compiled, as measured after training.

    None where what they are made of stays on disk, and is not at hand.

    Args:
        trial: the training of a contender that has a `generate`.
        options: how it was trained.
    """
    train, generate = trial.contender.task.train, trial.contender.generate
    if isinstance(train, Source) or generate is None:
        return None
    batch = jax.tree.map(lambda array: array[: options.batch], train)
    # The key is made inside, as in a training step: outside it would be a call of its own.
    make, times = jax.jit(lambda batch, number: generate(batch, jax.random.key(number))), []
    for number in range(1 + GENERATIONS):
        started = time.perf_counter()
        jax.block_until_ready(make(batch, number))
        times.append(time.perf_counter() - started)
    # Seeds on different devices make theirs at the same time.
    steps = examples_of(train) // options.batch * options.epochs * options.seeds / trial.fitted.devices["seed"]
    return float(np.median(times[1:]) * steps / trial.row.train_seconds)
