"""One model of an experiment on image classification: several seeds trained together, chosen and scored alike."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx
from jaxtyping import Float
from rich.console import Console

from rowrnn.classification import correct, cross_entropy, predict
from rowrnn.data import Augmentation, Dataset, Split, load
from rowrnn.errors import InputError
from rowrnn.evaluate import compile_evaluation
from rowrnn.machines import Machines
from rowrnn.models import parameters
from rowrnn.progress import LiveTable
from rowrnn.report import interval
from rowrnn.run import Run, seconds_since_start
from rowrnn.training import Checkpoints, Epoch, Recipe, fit

PROTOCOL = {
    "validation": "a fixed random part of the training set, not trained on",
    "selection": "of each seed the weights of the epoch with the best validation accuracy, the later of equals",
    "test": "scored once, at the end, on every test image",
    "seconds": "of training with its validation, all seeds together, compilation apart; seconds_to_98 and _99 until "
    "the mean validation accuracy over seeds was reached at the end of an epoch",
    "memory_mib": "what XLA plans for an epoch of all seeds: data, state and temporaries",
}


@dataclass(frozen=True)
class TrainingOptions:
    """How models are trained, and on what."""

    epochs: int = 4
    """Passes over the training set."""
    seeds: int = 4
    """Models of each kind, trained together, each from its own seed."""
    seed: int = 0
    """First seed: everything random follows from it."""
    batch: int = 64
    """Images per training step."""
    learning_rate: float = 6e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of kernels."""
    dataset: str = "mnist"
    """Data set: mnist is bundled; any other image classification set comes from TensorFlow Datasets."""
    data_dir: Path | None = None
    """Directory of TensorFlow Datasets; its own default where not given."""
    data_memory: float | None = None
    """Most MiB that training images of a TFDS set may take; those of a larger set are read from disk meanwhile. Half
    of a device's memory where not given, on a CPU an eighth of what is free."""
    train_images: int | None = None
    """Train on so many images only; all where not given."""
    skips: int = 0
    """Steps whose loss or gradient is not finite that each seed may leave out before its training stops."""
    resume: Path | None = None
    """Directory of an interrupted run to go on with; all options but those of the processes are then the run's."""
    save_every: float = 300.0
    """Most seconds of training that a crash may cost; an epoch's end and a request to stop are saved anyway."""
    tensorboard: bool = False
    """Write loss and accuracies for TensorBoard too."""
    machines: Annotated[Machines, tyro.conf.arg(name="")] = Machines()
    """Processes that train together."""

    def check(self, *counts: str) -> None:
        """Refuses options that cannot be meant; `counts` names further ones that are at least 1 where given.

        Raises:
            InputError: naming the option.
        """
        for name in (*counts, "seeds", "batch", "epochs", "train_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} is {value}; expected at least 1.")
        if self.skips < 0 or not self.save_every > 0:
            raise InputError(
                f"--skips is {self.skips} and --save-every {self.save_every}; expected at least 0 and above 0 seconds."
            )
        if self.data_memory is not None and not 0 <= self.data_memory < math.inf:
            raise InputError(f"--data-memory is {self.data_memory}; expected MiB of at least 0.")
        if not 0 <= self.seed < 2**32 - self.seeds:
            raise InputError(f"--seed {self.seed} is out of range; expected one from 0 to 2^32.")

    def load(self, console: Console) -> Dataset:
        """The data set that the options ask for, with as many training images; says so where they stay on disk.

        Raises:
            InputError: as `rowrnn.data.load`.
        """
        data = load(self.dataset, self.data_dir, None if self.data_memory is None else int(self.data_memory * 2**20))
        if not isinstance(data.train, Split):
            console.print(f"{data.source}.")
        return dataclasses.replace(data, train=data.train.first(self.train_images))

    def recipe(self) -> Recipe:
        """The recipe that the options ask for."""
        return Recipe(self.epochs, self.batch, self.learning_rate, weight_decay=self.weight_decay, skips=self.skips)


@dataclass(frozen=True)
class TrialOptions(TrainingOptions):
    """How image classifiers are trained, and on what."""

    dropout: float = 0.1
    """Probability with which a feature before the head is dropped while training."""
    augmentation: Annotated[Augmentation, tyro.conf.arg(name="")] = Augmentation(shift=1.0)
    """Random changes of the training images."""

    def check(self, *counts: str) -> None:
        super().check(*counts)
        if not 0 <= self.dropout < 1:
            raise InputError(f"--dropout is {self.dropout}; expected a dropout in [0, 1).")


class Trial(NamedTuple):
    """What came of training a model.

    Args:
        row: its line of the summary.
        curve: metrics after every epoch, each with a last axis of seeds.
        models: the chosen weights, with a leading axis of seeds.
        logits: of every test image.
        seconds_to_first_step: from the start of the process to the end of the first training step; None if there was
            none to take.
    """

    row: dict[str, Any]
    curve: dict[str, Any]
    models: Any
    logits: Float[np.ndarray, "seeds n classes"]
    seconds_to_first_step: float | None


def run_trial(
    title: str,
    build: Callable[[nnx.Rngs], Any],
    options: TrialOptions,
    data: Dataset,
    run: Run,
    table: LiveTable,
    *,
    computed_by: str = "XLA",
    about: Mapping[str, Any] | None = None,
) -> Trial:
    """Trains all seeds of a model and scores them on the test set.

    Args:
        title: name of the model.
        build: random streams to a model, `(images, key=...)` to logits.
        options: how to train it.
        data: what to train and test on.
        run: the run that it is a part of; what of it was done before an interruption is not done again.
        table: where to show how it is doing.
        computed_by: the backend of the model's recurrence, and why.
        about: further entries of the model's line of the summary.

    Raises:
        InputError, FloatingPointError, StorageError, Stopped: as `rowrnn.training.fit`.
    """
    train = data.train
    images_per_epoch = len(train) // options.batch * options.batch * options.seeds
    size = parameters(jax.eval_shape(lambda: build(nnx.Rngs(0))))
    ready = []

    def on_epoch(epoch: Epoch) -> None:
        show(epoch)
        means = {name: values.mean() for name, values in curve_of([epoch]).items()}
        run.epoch(title, epoch.number, options.epochs, means)

    def show(epoch: Epoch) -> None:
        loss, accuracy = epoch.metrics["loss"].mean(), epoch.score.mean()
        table.epoch(title, size, epoch.number, loss, accuracy, images_per_epoch, epoch.seconds)

    table.compiling(title, size)
    fitted = fit(
        lambda key: build(nnx.Rngs(key)),
        partial(cross_entropy, augmentation=options.augmentation),
        correct,
        train,
        data.validation,
        options.recipe(),
        jax.vmap(jax.random.key)(jnp.arange(options.seed, options.seed + options.seeds, dtype=jnp.uint32)),
        checkpoints=Checkpoints(run.checkpoints(title), every=options.save_every),
        on_compiled=lambda: ready.append(seconds_since_start()),
        on_epoch=on_epoch,
        devices=devices_for(computed_by, options.seeds),
    )
    if not ready:
        show(fitted.epochs[-1])
    logits, inference_seconds = _timed_answers(fitted.models, data)
    seconds = np.array([epoch.seconds for epoch in fitted.epochs])
    validation = np.stack([epoch.score for epoch in fitted.epochs])
    hits = logits.argmax(axis=-1) == np.asarray(data.test.labels)
    row = {
        "model": title,
        "parameters": size,
        **(about or {}),
        "seeds": options.seeds,
        "epochs": options.epochs,
        "test_accuracy": interval(hits.mean(axis=1)),
        "validation_accuracy": interval(validation.max(axis=0)),
        "skipped_steps": fitted.skipped,
        "train_seconds": seconds.sum(),
        "seconds_to_98": fitted.seconds_to(0.98),
        "seconds_to_99": fitted.seconds_to(0.99),
        "compile_seconds": fitted.compile_seconds,
        "train_images_per_second": images_per_epoch * len(seconds) / seconds.sum(),
        "inference_images_per_second": logits.shape[0] * logits.shape[1] / inference_seconds,
        "memory_mib": fitted.memory_bytes / 2**20,
        "devices": fitted.devices,
        "computed_by": computed_by,
    }
    # Of a training that was done before an interruption nothing is compiled.
    first_step = ready[0] + seconds[0] / (len(train) // options.batch) if ready else None
    return Trial(row, curve_of(fitted.epochs) | {"seconds": seconds}, fitted.models, logits, first_step)


def curve_of(epochs: Sequence[Epoch]) -> dict[str, Float[np.ndarray, "epochs seeds"]]:
    """Metrics after every epoch."""
    return {
        "loss": np.stack([epoch.metrics["loss"] for epoch in epochs]),
        "training_accuracy": np.stack([epoch.metrics["accuracy"] for epoch in epochs]),
        "validation_accuracy": np.stack([epoch.score for epoch in epochs]),
    }


def devices_for(computed_by: str, seeds: int) -> Sequence[jax.Device]:
    """What to train on: compiled code has all cores on one device, and loses where devices share a batch."""
    devices = jax.devices()
    if not computed_by.startswith("native"):
        return devices
    if jax.process_count() > 1:
        return [next(d for d in devices if d.process_index == process) for process in range(jax.process_count())]
    return devices[: math.gcd(seeds, len(devices))]


def _timed_answers(models: Any, data: Dataset) -> tuple[Float[np.ndarray, "seeds n classes"], float]:
    """Logits of every test image, and the median seconds to compute them all."""
    answer = compile_evaluation(predict, models, data.test)
    logits, times = answer(), []
    for _ in range(3):
        started = time.perf_counter()
        answer()
        times.append(time.perf_counter() - started)
    return logits, float(np.median(times))
