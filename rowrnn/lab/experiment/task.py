"""What the models of an experiment learn."""

from dataclasses import dataclass

from rowrnn.lab.training import Source
from rowrnn.lab.training.contracts import Batch, Loss, Score


@dataclass(frozen=True)
class Task:
    """What the models of an experiment learn.

    Args:
        loss: what is minimized.
        score: of each validation example; the mean chooses among the epochs.
        train: training examples, or the source that they are read from.
        validation: validation examples.
        measure: what the score is called.
        shown: how a mean score is written while training, as `format` takes it.
    """

    loss: Loss
    score: Score
    train: Batch | Source
    validation: Batch
    measure: str = "accuracy"
    shown: str = ".2%"
