"""A model that competes in an experiment, and the results of its training."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, ArrayLike, PyTree

from rowrnn.lab.budget import TOLERANCE, solve_width
from rowrnn.lab.runs.kept_models import apply
from rowrnn.lab.runs.record import ModelRow
from rowrnn.lab.training import Fit, Task
from rowrnn.lab.training.evaluation import evaluate


@dataclass(frozen=True)
class Contender:
    """A model that competes in an experiment.

    Args:
        name: name in the options.
        title: name in tables.
        build: function of a width and random streams to a model.
        task: the task that it is trained on.
        width: its width; where not given, the width that meets the budget.
        budget: number of parameters to meet.
        tolerance: largest share of the budget by which the number may differ from it.
        about: further entries of its summary row.
        generate: function of a batch of `task.train` and a key to the examples that the loss makes of them; where
            given, the share of the training time that this takes is measured.
    """

    name: str
    title: str
    build: Callable[[int, nnx.Rngs], Any]
    task: Task
    width: int | None = None
    budget: int | None = None
    tolerance: float = TOLERANCE
    about: Mapping[str, Any] = field(default_factory=dict)
    generate: Callable[[Any, Array], Any] | None = None

    def solve(self) -> int:
        """Returns the width: as given, or as the budget determines it.

        Raises:
            InputError: if no width meets the budget.
            ValueError: if there is neither a width nor a budget.
        """
        if self.width is not None:
            return self.width
        if self.budget is None:
            raise ValueError(f"{self.title} needs a width, or a budget of parameters.")
        return solve_width(self.build, self.budget, self.tolerance)


@dataclass(frozen=True)
class Trial:
    """The results of training a contender.

    Args:
        contender: the model.
        row: its summary row, without scores.
        curve: metrics after every epoch, each with a last axis of seeds.
        fitted: the training.
        devices: devices that it was trained on.
        seconds_to_first_step: seconds from the start of the process to the end of the first training step; None if the
            training was finished before an interruption.
    """

    contender: Contender
    row: ModelRow
    curve: Mapping[str, np.ndarray]
    fitted: Fit
    devices: Sequence[jax.Device]
    seconds_to_first_step: float | None

    @property
    def models(self) -> Any:
        """The selected weights, with a leading axis of seeds."""
        return self.fitted.models

    def model(self, seed: int = 0) -> Any:
        """Returns the selected weights of one seed, as NumPy arrays."""
        return jax.device_get(jax.tree.map(lambda array: array[seed], self.models))

    def evaluate(self, f: Callable[[Any, Any], Any], batch: PyTree[ArrayLike]) -> Any:
        """Evaluates `f(model, batch)`, arrays over examples, for every seed and example; returns `[seeds, n, ...]`."""
        return evaluate(f, self.models, batch, devices=self.devices)


@dataclass(frozen=True)
class Examined:
    """The results of examining a trained model.

    Args:
        scores: further entries of its summary row.
        arrays: arrays for its figures, by name.
        examples: example arguments of the model, the first axis of each the batch; where given, the model is saved as a
            program.
        call: function of a model and such arrays to the outputs of the program.
    """

    scores: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, ArrayLike] = field(default_factory=dict)
    examples: Sequence[ArrayLike] = ()
    call: Callable[..., Any] = apply
