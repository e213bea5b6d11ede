"""The task that the models of an experiment learn."""

from dataclasses import dataclass

from rowrnn.lab.training import Source
from rowrnn.lab.training.contracts import Batch, Loss, Score


@dataclass(frozen=True)
class Task:
    """The task that the models of an experiment learn.

    Args:
        loss: the objective.
        score: score of each validation example; its mean selects the best epoch.
        train: training examples, or the source that they are read from.
        validation: validation examples.
        measure: name of the score.
        shown: format of the mean score in the live table, an argument of `format`.
    """

    loss: Loss
    score: Score
    train: Batch | Source
    validation: Batch
    measure: str = "accuracy"
    shown: str = ".2%"
