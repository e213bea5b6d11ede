"""A model that competes in an experiment, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, ArrayLike, PyTree

from rowrnn.lab.budget import solve_width
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.runs.kept_models import apply
from rowrnn.lab.runs.record import ModelRow
from rowrnn.lab.training import Fit
from rowrnn.lab.training.evaluation import evaluate


@dataclass(frozen=True)
class Contender:
    """A model that competes.

    Args:
        name: as the options name it.
        title: as tables name it.
        build: width and random streams to a model.
        task: what it learns.
        width: its width; where not given, that which the budget allows.
        budget: number of parameters to meet within 3 %.
        about: further entries of its row of the summary.
        generate: a batch of `task.train` and a key to the examples that its loss makes of them; where given, the share
            of the training that this takes is measured.
    """

    name: str
    title: str
    build: Callable[[int, nnx.Rngs], Any]
    task: Task
    width: int | None = None
    budget: int | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    generate: Callable[[Any, Array], Any] | None = None

    def solve(self) -> int:
        """The width: as given, or as the budget allows.

        Raises:
            InputError: if no width meets the budget.
            ValueError: if there is neither a width nor a budget.
        """
        if self.width is not None:
            return self.width
        if self.budget is None:
            raise ValueError(f"{self.title} needs a width, or a budget of parameters.")
        return solve_width(self.build, self.budget)


@dataclass(frozen=True)
class Trial:
    """What came of training a contender.

    Args:
        contender: the model.
        row: its line of the summary, yet without scores.
        curve: metrics after every epoch, each with a last axis of seeds.
        fitted: the training.
        devices: what it ran on.
        seconds_to_first_step: from the start of the process to the end of the first training step; None if there was
            none to take.
    """

    contender: Contender
    row: ModelRow
    curve: Mapping[str, np.ndarray]
    fitted: Fit
    devices: Sequence[jax.Device]
    seconds_to_first_step: float | None

    @property
    def models(self) -> Any:
        """The chosen weights, with a leading axis of seeds."""
        return self.fitted.models

    def model(self, seed: int = 0) -> Any:
        """The chosen weights of one seed, as arrays of the host."""
        return jax.device_get(jax.tree.map(lambda array: array[seed], self.models))

    def evaluate(self, f: Callable[[Any, Any], Any], batch: PyTree[ArrayLike]) -> Any:
        """Evaluates `f(model, batch)`, arrays over examples, for every seed and example: `[seeds, n, ...]`."""
        return evaluate(f, self.models, batch, devices=self.devices)


@dataclass(frozen=True)
class Examined:
    """What an experiment asked of a trained model.

    Args:
        scores: entries of its row of the summary.
        arrays: what its pictures need, by name.
        examples: arrays that the model is called with, the first axis of each the batch; where given, the model is kept
            as a program.
        call: a model and such arrays to what the program computes.
    """

    scores: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, ArrayLike] = field(default_factory=dict)
    examples: Sequence[ArrayLike] = ()
    call: Callable[..., Any] = apply
