"""Image classifiers in an experiment: their task, and their scores on the test set."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import ArrayLike, Float

from rowrnn.lab.data import Augmentation, Dataset, Split, as_float
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.experiment.contender import Trial
from rowrnn.lab.report.columns import Column, model_table, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.classification.measures import (
    area_under_curve,
    balanced_accuracy,
    best_threshold,
    calibration,
    calibration_error,
)
from rowrnn.lab.tasks.classification.row_influence import row_influence
from rowrnn.lab.tasks.classification.task import Floats, correct, cross_entropy, predict
from rowrnn.lab.training import Task
from rowrnn.lab.training.evaluation import compile_evaluation
from rowrnn.saving.card import Card

INFLUENCED = 1_000  # test images, at most
INFLUENCE = {
    "row_influence": f"of at most {INFLUENCED:,} test images, by how much the log-probability of the label falls where "
    "a row is that of their mean image",
}
"""How the values of `influences` are obtained."""
OF_TWO: Mapping[str, Column] = {
    "threshold_accuracy": score_column("at validation's\nthreshold %", "threshold_accuracy"),
    "auc": score_column("AUC\n%", "auc"),
    "calibration_error": score_column("calibration\nerror %", "calibration_error"),
}
"""Further columns of classifiers of two classes, by their scores."""

CLASSIFIER_PROTOCOL = {
    "validation": "a fixed random part of the training set, not trained on",
    "test": "scored once, at the end, on every test image",
    "seconds_to": "seconds_to_98 and _99: of training until the mean validation accuracy over seeds was reached at the "
    "end of an epoch",
    "balanced_accuracy": "mean over classes of the share of its test images that are answered right",
    "auc": "area under the receiver operating characteristic of the test images, where there are two classes",
    "threshold_accuracy": "where there are two classes: of the test images, with the threshold of each seed that tells "
    "most validation images apart",
    "calibration_error": "mean difference of how sure the answers to the test images are and how many of them are "
    "right, in ten bins of probability (Guo et al. 2017)",
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
    trial: Trial, test: Split, floats: Floats = as_float, validation: Split | None = None
) -> tuple[dict[str, Any], Float[np.ndarray, "seeds n classes"]]:
    """Scores a classifier on the test set.

    Args:
        trial: the trained classifier.
        test: test images.
        floats: function of images to those that the model takes.
        validation: validation images, which choose the threshold between two classes; without them there is none.

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
        "calibration_error": interval([calibration_error(calibration(labels, of_seed)) for of_seed in logits]),
    }
    if logits.shape[-1] == 2 and len(np.unique(labels)) == 2:
        margins = logits[..., 1] - logits[..., 0]
        scores["auc"] = interval([area_under_curve(labels, of_seed) for of_seed in margins])
        if validation is not None:
            known = trial.evaluate(partial(predict, floats=floats), validation)
            of_seeds = zip(margins, known[..., 1] - known[..., 0], strict=True)
            chosen = [
                of_test > best_threshold(np.asarray(validation.labels), of_other) for of_test, of_other in of_seeds
            ]
            scores["threshold_accuracy"] = interval([(said == (labels == 1)).mean() for said in chosen])
    return scores, logits


def influences(trial: Trial, some: Split, mean: ArrayLike, floats: Floats) -> Float[np.ndarray, "seeds h"]:
    """Returns the mean influence of each row, see `row_influence`, on some test images.

    Args:
        trial: the trained classifier.
        some: of `influenced`.
        mean: the mean image, as the images are.
        floats: function of images to those that the model takes.
    """
    of_mean = np.asarray(floats(np.asarray(mean)[None]))[0]
    return trial.evaluate(partial(row_influence, floats=floats, mean=of_mean), some).mean(axis=1)


def influenced(test: Split) -> tuple[Split, np.ndarray]:
    """Returns evenly spread test images, some of each class, and their mean, of bytes where they are."""
    chosen = evenly(len(test.labels), INFLUENCED)
    some = Split(test.images[chosen], test.labels[chosen])
    mean = np.asarray(some.images, np.float32).mean(axis=0)
    return some, mean.round().astype(np.uint8) if some.images.dtype == np.uint8 else mean


def classifier_table(record: Record, columns: Sequence[Column]) -> list[list[str]]:
    """Returns the table of classifiers; of two classes `OF_TWO` follow its first column, those that were measured."""
    first, *others = columns
    of_two = [column for name, column in OF_TWO.items() if all({"auc", name} <= row.keys() for row in record.summary)]
    return model_table("model", record.summary, [first, *of_two, *others])


def _timed_logits(trial: Trial, test: Split, floats: Floats) -> tuple[Float[np.ndarray, "seeds n classes"], float]:
    """Returns the logits of every test image, and the median seconds of three evaluations."""
    evaluation = compile_evaluation(partial(predict, floats=floats), trial.models, test, devices=trial.devices)
    logits, times = evaluation(), []
    for _ in range(3):
        started = time.perf_counter()
        evaluation()
        times.append(time.perf_counter() - started)
    return logits, float(np.median(times))
