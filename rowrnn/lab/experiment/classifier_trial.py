"""One image classifier of an experiment: trained as every model, then scored on the test set."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np
import tyro
from flax import nnx
from jaxtyping import Float

from rowrnn.lab.data import Augmentation, Dataset
from rowrnn.lab.experiment.experiment import Experiment
from rowrnn.lab.experiment.model_trial import PROTOCOL as OF_EVERY_TASK
from rowrnn.lab.experiment.model_trial import Trial
from rowrnn.lab.experiment.option_checks import check_dropout
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.classification.task import correct, cross_entropy, predict
from rowrnn.lab.training.evaluation import compile_evaluation

PROTOCOL = {
    **OF_EVERY_TASK,
    "validation": "a fixed random part of the training set, not trained on",
    "test": "scored once, at the end, on every test image",
    "seconds_to": "seconds_to_98 and _99: of training until the mean validation accuracy over seeds was reached at the "
    "end of an epoch",
}


@dataclass(frozen=True)
class ClassifierOptions(TrainingOptions):
    """How image classifiers are trained, and on what."""

    dropout: float = 0.1
    """Probability with which a feature before the head is dropped while training."""
    augmentation: Annotated[Augmentation, tyro.conf.arg(name="")] = Augmentation(shift=1.0)
    """Random changes of the training images."""

    def check(self, *counts: str) -> None:
        super().check(*counts)
        check_dropout(self.dropout)


def run_classifier_trial(
    title: str,
    build: Callable[[nnx.Rngs], Any],
    options: ClassifierOptions,
    data: Dataset,
    experiment: Experiment,
    *,
    about: Mapping[str, Any] | None = None,
) -> tuple[Trial, Float[np.ndarray, "seeds n classes"]]:
    """Trains all seeds of an image classifier, `(images, key=...)` to logits, and scores them on the test set.

    Args:
        title, build, options, about: as of `rowrnn.lab.experiment.model_trial.run_trial`.
        data: what to train and test on.
        experiment: what the model is a part of.

    Returns:
        The trial, and the logits of every test image.

    Raises:
        InputError, FloatingPointError, StorageError, Stopped: as `rowrnn.lab.training.fit`.
    """
    loss = partial(cross_entropy, augmentation=options.augmentation)
    task = Task(loss, correct, data.train, data.validation)
    trial = experiment.train(title, build, task, about=about)
    logits, seconds = _timed_answers(trial, data)
    hits = logits.argmax(axis=-1) == np.asarray(data.test.labels)
    trial = trial.scored(
        test_accuracy=interval(hits.mean(axis=1)),
        seconds_to_98=trial.fitted.seconds_to(0.98),
        seconds_to_99=trial.fitted.seconds_to(0.99),
        inference_images_per_second=logits.shape[0] * logits.shape[1] / seconds,
    )
    return trial, logits


def _timed_answers(trial: Trial, data: Dataset) -> tuple[Float[np.ndarray, "seeds n classes"], float]:
    """Logits of every test image, and the median seconds to compute them all."""
    answer = compile_evaluation(predict, trial.models, data.test, devices=trial.devices)
    logits, times = answer(), []
    for _ in range(3):
        started = time.perf_counter()
        answer()
        times.append(time.perf_counter() - started)
    return logits, float(np.median(times))
