"""One model of an experiment: several seeds trained together, chosen alike, whatever the task."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from rowrnn.cells import Cell
from rowrnn.evaluate import evaluate, examples_of
from rowrnn.models import parameters
from rowrnn.options import TrainingOptions
from rowrnn.progress import LiveTable
from rowrnn.report import interval
from rowrnn.run import Run, seconds_since_start
from rowrnn.scan import explain
from rowrnn.training import Checkpoints, Epoch, Fit, Source, fit

PROTOCOL = {
    "selection": "of each seed the weights of the epoch with the best validation score, the later of equals",
    "seconds": "of training with its validation, all seeds together, compilation apart",
    "memory_mib": "what XLA plans for an epoch of all seeds: data, state and temporaries",
}

GENERATIONS = 20  # batches made to time their making


class Task(NamedTuple):
    """What the models of an experiment learn.

    Args:
        loss: model, batch and key to the mean loss and metrics, as `rowrnn.training.fit` takes it.
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
        """What `f` makes of the chosen weights and a batch, by `rowrnn.evaluate.evaluate`: a first axis of seeds."""
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
        InputError, FloatingPointError, StorageError, Stopped: as `rowrnn.training.fit`.
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


def generation_share(
    generate: Callable[[Any, Any], Any], task: Task, options: TrainingOptions, trial: Trial
) -> float | None:
    """Share of the training time that goes into making the examples, alone and compiled, as measured after training.

    None where what they are made of stays on disk, and is not at hand.

    Args:
        generate: a batch of `task.train` and a key to what the loss makes of them for the model.
        task, options: those of the trial.
        trial: the trained model.
    """
    if isinstance(task.train, Source):
        return None
    batch = jax.tree.map(lambda array: array[: options.batch], task.train)
    # The key is made inside, as in a training step: outside it would be a call of its own.
    make, times = jax.jit(lambda batch, number: generate(batch, jax.random.key(number))), []
    for number in range(1 + GENERATIONS):
        started = time.perf_counter()
        jax.block_until_ready(make(batch, number))
        times.append(time.perf_counter() - started)
    # Seeds on different devices make theirs at the same time.
    steps = examples_of(task.train) // options.batch * options.epochs * options.seeds / trial.fitted.devices["seed"]
    return float(np.median(times[1:]) * steps / trial.row["train_seconds"])


def curve_of(epochs: Sequence[Epoch], measure: str) -> dict[str, Float[np.ndarray, "epochs seeds"]]:
    """Metrics after every epoch: the loss, `training_NAME` of the others, `validation_MEASURE`."""
    training = {
        name if name == "loss" else f"training_{name}": np.stack([epoch.metrics[name] for epoch in epochs])
        for name in epochs[0].metrics
    }
    return {**training, f"validation_{measure}": np.stack([epoch.score for epoch in epochs])}


def computed_by(model: Any) -> str:
    """The backends of a model's recurrences, and why; XLA of a model without any."""
    cells = [module for _, module in nnx.iter_modules(model) if isinstance(module, Cell)]
    reasons = [explain(cell, jnp.zeros((1,) * (1 + cell.num_feature_axes) + (cell.features,))) for cell in cells]
    return "; ".join(dict.fromkeys(reasons)) or "XLA"


def devices_for(computed_by: str, seeds: int) -> Sequence[jax.Device]:
    """What to train on: compiled code has all cores on one device, and loses where devices share a batch."""
    devices = jax.devices()
    if not computed_by.startswith("native"):
        return devices
    if jax.process_count() > 1:
        return [next(d for d in devices if d.process_index == process) for process in range(jax.process_count())]
    return devices[: math.gcd(seeds, len(devices))]
