"""What the models of an experiment learn."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Task(NamedTuple):
    """What the models of an experiment learn.

    Args:
        loss: model, batch and key to the mean loss and metrics, as `rowrnn.lab.training.fit` takes it.
        score: model and batch to a score of each example, the higher the better.
        train: training examples, or the source that they are read from.
        validation: validation examples.
        measure: what the score is called.
        shown: how a mean score is written while training.
    """

    loss: Callable[[Any, Any, Any], tuple[Any, dict[str, Any]]]
    score: Callable[[Any, Any], Any]
    train: Any
    validation: Any
    measure: str = "accuracy"
    shown: str = ".2%"
