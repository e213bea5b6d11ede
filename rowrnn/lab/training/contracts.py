"""What a training asks of a task, whatever the task: a loss, a score, and batches that both understand."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, ArrayLike, Float, PyTree

Batch = PyTree[ArrayLike]
"""Examples: arrays whose first axis counts the examples, one number for all of them."""
Metrics = dict[str, Array]
"""Scalars of a training step by name, among them `loss`."""


@runtime_checkable
class Loss(Protocol):
    """Computes what is minimized."""

    def __call__(self, model: Any, batch: Any, key: Array, /) -> tuple[Float[Array, ""], Metrics]:
        """Returns the mean loss of a batch, and metrics to average over the steps of an epoch.

        Args:
            model: a pytree of float arrays.
            batch: training examples.
            key: all that is random in this step comes from it.
        """
        ...


@runtime_checkable
class Score(Protocol):
    """Computes how good a model is; the mean over the validation examples chooses among the epochs."""

    def __call__(self, model: Any, batch: Any, /) -> Float[Array, "b"]:
        """Returns a score of each example, the higher the better."""
        ...
