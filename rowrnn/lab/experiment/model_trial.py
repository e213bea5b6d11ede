"""One model of an experiment: several seeds trained together, chosen alike, whatever the task."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from rowrnn.lab.budget import parameters
from rowrnn.lab.experiment.live_table import LiveTable
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.placement import computed_by, devices_for
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.process_usage import seconds_since_start
from rowrnn.lab.training import Checkpoints, Epoch, Fit, Source
from rowrnn.lab.training.evaluation import evaluate, examples_of
from rowrnn.lab.training.fit import fit

PROTOCOL = {
    "selection": "of each seed the weights of the epoch with the best validation score, the later of equals",
    "seconds": "of training with its validation, all seeds together, compilation apart",
    "memory_mib": "what XLA plans for an epoch of all seeds: data, state and temporaries",
}


class Trial(NamedTuple):
    """What came of training a model.

    Args:
        row: its line of the summary.
        curve: metrics after every epoch, each with a last axis of seeds.
        fitted: the training.
        devices: what it ran on.
        seconds_to_first_step: from the start of the process to the end of the first training step; None if there was
            none to take.
    """

    row: dict[str, Any]
    curve: dict[str, Any]
    fitted: Fit
    devices: Sequence[jax.Device]
    seconds_to_first_step: float | None

    @property
    def models(self) -> Any:
        """The chosen weights, with a leading axis of seeds."""
        return self.fitted.models

    def evaluate(self, f: Callable[[Any, Any], Any], batch: Any) -> Any:
        """What `f` makes of the chosen weights and a batch, by `evaluate`: a first axis of seeds."""
        return evaluate(f, self.models, batch, devices=self.devices)

    def scored(self, **scores: Any) -> "Trial":
        """The same with further entries in its line of the summary."""
        return self._replace(row={**self.row, **scores})


def run_trial(
    title: str,
    build: Callable[[nnx.Rngs], Any],
    task: Task,
    options: TrainingOptions,
    run: Run,
    live: LiveTable,
    *,
    about: Mapping[str, Any] | None = None,
) -> Trial:
    """Trains all seeds of a model.

    Args:
        title: name of the model.
        build: random streams to a model.
        task: what it learns.
        options: how to train it.
        run: the run that it is a part of; what of it was done before an interruption is not done again.
        live: where to show how it is doing.
        about: further entries of the model's line of the summary.

    Raises:
        InputError, FloatingPointError, StorageError, Stopped: as `rowrnn.lab.training.fit`.
    """
    examples = len(task.train) if isinstance(task.train, Source) else examples_of(task.train)
    per_epoch = examples // options.batch * options.batch * options.seeds
    shapes = jax.eval_shape(lambda: build(nnx.Rngs(0)))
    size, backends = parameters(shapes), computed_by(shapes)
    devices = devices_for(backends, options.seeds)
    ready = []

    def on_epoch(epoch: Epoch) -> None:
        show(epoch)
        means = {name: float(values.mean()) for name, values in curve_of([epoch], task.measure).items()}
        run.epoch(title, epoch.number, options.epochs, means)

    def show(epoch: Epoch) -> None:
        reached = format(epoch.score.mean(), task.shown)
        live.epoch(title, size, epoch.number, float(epoch.metrics["loss"].mean()), reached, per_epoch, epoch.seconds)

    live.compiling(title, size)
    fitted = fit(
        lambda key: build(nnx.Rngs(key)),
        task.loss,
        task.score,
        task.train,
        task.validation,
        options.recipe(),
        options.seed_keys(),
        checkpoints=Checkpoints(run.checkpoints(title), every=options.save_every),
        on_compiled=lambda: ready.append(seconds_since_start()),
        on_epoch=on_epoch,
        devices=devices,
    )
    if not ready:
        show(fitted.epochs[-1])
    seconds = np.array([epoch.seconds for epoch in fitted.epochs])
    row = {
        "model": title,
        "parameters": size,
        **(about or {}),
        "seeds": options.seeds,
        "epochs": options.epochs,
        f"validation_{task.measure}": interval(np.stack([epoch.score for epoch in fitted.epochs]).max(axis=0)),
        "skipped_steps": fitted.skipped,
        "train_seconds": seconds.sum(),
        "compile_seconds": fitted.compile_seconds,
        "train_images_per_second": per_epoch * len(seconds) / seconds.sum(),
        "memory_mib": fitted.memory_bytes / 2**20,
        "devices": fitted.devices,
        "computed_by": backends,
    }
    # Of a training that was done before an interruption nothing is compiled.
    first_step = ready[0] + seconds[0] / (examples // options.batch) if ready else None
    return Trial(row, curve_of(fitted.epochs, task.measure) | {"seconds": seconds}, fitted, devices, first_step)


def curve_of(epochs: Sequence[Epoch], measure: str) -> dict[str, Float[np.ndarray, "epochs seeds"]]:
    """Metrics after every epoch: the loss, `training_NAME` of the others, `validation_MEASURE`."""
    training = {
        name if name == "loss" else f"training_{name}": np.stack([epoch.metrics[name] for epoch in epochs])
        for name in epochs[0].metrics
    }
    return {**training, f"validation_{measure}": np.stack([epoch.score for epoch in epochs])}
