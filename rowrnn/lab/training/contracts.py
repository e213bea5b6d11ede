"""The interface between training and task: a loss, a score, and the batches that both take."""

from typing import Any, Protocol, runtime_checkable

from jaxtyping import Array, ArrayLike, Float, PyTree

Batch = PyTree[ArrayLike]
"""Examples: a pytree of arrays whose first axes all have the number of examples as their length."""
Metrics = dict[str, Array]
"""Scalar metrics of a training step by name, beside its `loss`."""


@runtime_checkable
class Loss(Protocol):
    """The objective that training minimizes."""

    def __call__(self, model: Any, batch: Any, key: Array, /) -> tuple[Float[Array, ""], Metrics]:
        """Returns the mean loss of a batch, and metrics to average over the steps of an epoch.

        Args:
            model: a pytree of float arrays.
            batch: training examples.
            key: source of all randomness of the step.
        """
        ...


@runtime_checkable
class Score(Protocol):
    """A measure of quality, higher is better; its mean over the validation examples selects the best epoch."""

    def __call__(self, model: Any, batch: Any, /) -> Float[Array, "b"]:
        """Returns the score of each example; higher is better."""
        ...
