"""A task: what models are trained on, by what loss, and by what score their weights are selected."""

from dataclasses import dataclass

from rowrnn.lab.training.contracts import Batch, Loss, Score
from rowrnn.lab.training.evaluation import examples_of
from rowrnn.lab.training.examples import Source


@dataclass(frozen=True)
class Task:
    """What models are trained on, by what loss, and by what score their weights are selected.

    Args:
        loss: function of model, batch and key to the mean loss of the batch and metrics to average over the steps.
        score: function of model and batch to a score of each example, `[b]`; the mean over `validation` selects the
            weights.
        train: training examples, a pytree of arrays with a common leading axis; or a `Source`, from which examples are
            read during training. The numbers are the same up to the last bit, which XLA may round differently.
        validation: validation examples, a pytree of arrays with a common leading axis.
        measure: name of the score.
        shown: format of the mean score in the live table, an argument of `format`.
        together: how many images, lines or clips one example is.
    """

    loss: Loss
    score: Score
    train: Batch | Source
    validation: Batch
    measure: str = "accuracy"
    shown: str = ".2%"
    together: int = 1

    @property
    def examples(self) -> int:
        """Number of training examples.

        Raises:
            InputError: if the arrays of the training examples differ in length, or it is 0.
        """
        return len(self.train) if isinstance(self.train, Source) else examples_of(self.train)
