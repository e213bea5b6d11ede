"""Image classifiers in an experiment: their task, and their scores on the test set."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from rowrnn.lab.data import Augmentation, Dataset, Split, as_float
from rowrnn.lab.experiment.contender import Trial
from rowrnn.lab.report.columns import AREA_UNDER_CURVE, Column, model_table
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.classification.measures import area_under_curve, balanced_accuracy
from rowrnn.lab.tasks.classification.task import Floats, correct, cross_entropy, predict
from rowrnn.lab.training import Task
from rowrnn.lab.training.evaluation import compile_evaluation
from rowrnn.saving.card import Card

CLASSIFIER_PROTOCOL = {
    "validation": "a fixed random part of the training set, not trained on",
    "test": "scored once, at the end, on every test image",
    "seconds_to": "seconds_to_98 and _99: of training until the mean validation accuracy over seeds was reached at the "
    "end of an epoch",
    "balanced_accuracy": "mean over classes of the share of its test images that are answered right",
    "auc": "area under the receiver operating characteristic of the test images, where there are two classes",
}
"""How the values of `score_classifier` are obtained, for the protocol of a study."""


def classification_task(data: Dataset, augmentation: Augmentation, floats: Floats = as_float) -> Task:
    """Returns the task of a classifier, a function `(images, key=...)` to logits.

    Args:
        data: images with classes.
        augmentation: random changes of training images.
        floats: function of images to those that the model takes.
    """
    outside: ArrayLike = 0.0
    if data.preprocessing is not None:
        outside = np.asarray(floats(data.preprocessing.surroundings()[None, None, None]))[0, 0, 0]
    loss = partial(cross_entropy, augmentation=augmentation, floats=floats, outside=outside)
    return Task(loss, partial(correct, floats=floats), data.train, data.validation)


def classifier_card(data: Dataset, trial: Trial) -> Card:
    """Returns the card of an image classifier, without its scores."""
    return Card(
        task="images",
        title=trial.contender.title,
        preprocessing=data.preprocessing,
        classes=data.class_names,
        data=data.source,
        parameters=trial.row.parameters,
    )


def score_classifier(
    trial: Trial, test: Split, floats: Floats = as_float
) -> tuple[dict[str, Any], Float[np.ndarray, "seeds n classes"]]:
    """Scores a classifier on the test set.

    Returns:
        Entries of its summary row, and the logits of every test image.
    """
    logits, seconds = _timed_logits(trial, test, floats)
    labels, answers = np.asarray(test.labels), logits.argmax(axis=-1)
    scores = {
        "test_accuracy": interval((answers == labels).mean(axis=1)),
        "balanced_accuracy": interval([balanced_accuracy(labels, of_seed) for of_seed in answers]),
        "seconds_to_98": trial.fitted.seconds_to(0.98),
        "seconds_to_99": trial.fitted.seconds_to(0.99),
        "inference_images_per_second": logits.shape[0] * logits.shape[1] / seconds,
    }
    if logits.shape[-1] == 2 and len(np.unique(labels)) == 2:
        margins = logits[..., 1] - logits[..., 0]
        scores["auc"] = interval([area_under_curve(labels, of_seed) for of_seed in margins])
    return scores, logits


def classifier_table(record: Record, columns: Sequence[Column]) -> list[list[str]]:
    """Returns the table of classifiers; of two classes it has the area under the curve too, after the first column."""
    first, *others = columns
    curve = [AREA_UNDER_CURVE] if all("auc" in row for row in record.summary) else []
    return model_table("model", record.summary, [first, *curve, *others])


def _timed_logits(trial: Trial, test: Split, floats: Floats) -> tuple[Float[np.ndarray, "seeds n classes"], float]:
    """Returns the logits of every test image, and the median seconds of three evaluations."""
    evaluation = compile_evaluation(partial(predict, floats=floats), trial.models, test, devices=trial.devices)
    logits, times = evaluation(), []
    for _ in range(3):
        started = time.perf_counter()
        evaluation()
        times.append(time.perf_counter() - started)
    return logits, float(np.median(times))
