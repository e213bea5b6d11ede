"""Can a recurrent cell that reads an image row by row keep up with a convolutional network that sees it whole?

Row LSTM, Row GRU and a small CNN learn the same images within one parameter budget, several seeds each. A table and
pictures tell how well, how fast, after which row the network knows, and what its gates do meanwhile.

    python experiments/mnist_rows.py            3 to 4 minutes on 2 cores: LSTM and GRU above 98.5 %, CNN above 99 %
    python experiments/mnist_rows.py --full     about an hour: the committed results
    python experiments/mnist_rows.py --quick    half a minute: does it run?
"""

import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx
from jaxtyping import ArrayLike
from rich.console import Console

from rowrnn import CELLS, explain
from rowrnn.classification import correct, correct_by_row, cross_entropy, examine, predict
from rowrnn.data import Augmentation, Dataset, as_float, load
from rowrnn.errors import InputError
from rowrnn.evaluate import compile_evaluation, evaluate
from rowrnn.mesh import one_device_per_core
from rowrnn.models import CNN, Classifier, parameters, solve_width
from rowrnn.models.classifier import Pooling
from rowrnn.progress import LiveTable
from rowrnn.report import interval, summary_table
from rowrnn.run import Run, peak_memory, run_experiment, seconds_since_start
from rowrnn.train import Epoch, Recipe, fit

Arrays = dict[str, ArrayLike]

TITLES = {"lstm": "Row LSTM", "gru": "Row GRU", "elman": "Row Elman", "cnn": "CNN"}
CNN_BY_ROW = 500

PROTOCOL = {
    "validation": "a fixed random part of the training set, not trained on",
    "selection": "of each seed the weights of the epoch with the best validation accuracy, the later of equals",
    "test": "scored once, at the end, on every test image",
    "correct_by_row": f"all test images for a cell, the first {CNN_BY_ROW} for a CNN, its rows below left blank",
    "seconds": "of training with its validation, all seeds together, compilation apart; seconds_to_98 and _99 until "
    "the mean validation accuracy over seeds was reached at the end of an epoch",
    "memory_mib": "what XLA plans for an epoch of all seeds: data, state and temporaries",
}


@dataclass(frozen=True)
class Options:
    """Row LSTM, Row GRU and a small CNN learn to read images row by row."""

    models: tuple[str, ...] = ("lstm", "gru", "cnn")
    """Models to train: lstm, gru, elman, cnn."""
    params: int = 30_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    hidden: int | None = None
    """Hidden size of the recurrent cells, instead of the budget."""
    channels: int | None = None
    """Channels of the CNN's last convolution, instead of the budget."""
    pooling: Pooling = "last"
    """What the recurrent models' head reads: the state after the last row, or the mean over rows."""
    dropout: float = 0.1
    """Probability with which a feature before the head is dropped while training."""
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
    augmentation: Annotated[Augmentation, tyro.conf.arg(name="")] = Augmentation(shift=1.0)
    dataset: str = "mnist"
    """Data set: mnist is bundled; any other image classification set comes from TensorFlow Datasets."""
    data_dir: Path | None = None
    """Directory of TensorFlow Datasets; its own default where not given."""
    train_images: int | None = None
    """Train on so many images only; all where not given."""
    example: int = 0
    """Test image whose reading is drawn, gate by gate."""
    output: Path = Path("runs/mnist_rows")
    """Directory for results and pictures; one that is taken is kept, and the next free name used."""
    quick: bool = False
    """Preset: tiny models, one epoch, two seeds, 4,000 images."""
    full: bool = False
    """Preset: larger models, 20 epochs, six seeds."""


PRESETS = {
    "quick": {"params": 10_000, "epochs": 1, "seeds": 2, "train_images": 4_000},
    "full": {
        "params": 80_000,
        "epochs": 20,
        "seeds": 6,
        "batch": 128,
        "dropout": 0.2,
        "learning_rate": 4e-3,
        "augmentation": Augmentation(shift=2.0, rotation=10.0, zoom=0.1, shear=0.15),
    },
}


def main(options: Options) -> None:
    """Trains, scores and draws what the options ask for."""
    check(options)
    one_device_per_core()
    console = Console(width=None if sys.stdout.isatty() else 130)
    data = load(options.dataset, options.data_dir)
    if not 0 <= options.example < len(data.test):
        raise InputError(f"Test image {options.example} does not exist: take one from 0 to {len(data.test) - 1}.")
    widths = {name: width(name, options, data) for name in options.models}
    with Run(options.output) as run:
        results: dict[str, Any] = {
            "experiment": "mnist_rows",
            "finished": False,
            **run.environment(),
            "data": {**data.describe(), "train": len(data.train.first(options.train_images))},
            "protocol": {**PROTOCOL, **dataclasses.asdict(options)},
            "summary": [],
            "curves": {},
        }
        arrays: Arrays = {
            "example": data.test.images[options.example],
            "example_label": data.test.labels[options.example],
        }
        with LiveTable(console, options.epochs) as table:
            for name, units in widths.items():
                row, curve, model_arrays = train_and_examine(name, units, options, data, table)
                results.setdefault("seconds_to_first_step", row.pop("seconds_to_first_step"))
                results["summary"].append(row)
                results["curves"][row["model"]] = curve
                arrays |= {f"{row['model']}/{key}": array for key, array in model_arrays.items()}
                results["peak_memory_mib"] = peak_memory() / 2**20
                run.save(results, arrays)
        results["finished"] = True
        results["seconds"] = seconds_since_start()
        run.save(results, arrays)
        console.print(summary_table(results))
        for row in results["summary"]:
            console.print(f"{row['model']}: {row['computed_by']}; devices: {row['devices']}.")
        from rowrnn.plots import draw  # Matplotlib takes long to import: not before training.

        pictures = ", ".join(picture.name for picture in draw(run.directory))
        console.print(f"In {run.directory}: results.json, arrays.npz, {pictures}.")


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    for name in options.models:
        if name not in TITLES:
            near = get_close_matches(name.lower(), TITLES)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(f"There is no model {name!r}. {meant}Known models: {', '.join(TITLES)}.")
    if not options.models:
        raise InputError(f"Name at least one model of {', '.join(TITLES)}.")
    for name in ("params", "hidden", "channels", "seeds", "batch", "epochs", "train_images"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} is {value}; expected at least 1.")
    if not 0 <= options.dropout < 1 or not 0 <= options.seed < 2**32 - options.seeds:
        raise InputError(
            f"--dropout {options.dropout} or --seed {options.seed} is out of range; expected a dropout in [0, 1) and "
            "a seed from 0 to 2^32."
        )


def build(name: str, units: int, options: Options, data: Dataset, rngs: nnx.Rngs) -> Classifier | CNN:
    """A model of so many hidden units or channels."""
    if name == "cnn":
        return CNN(data.shape, units, data.classes, dropout=options.dropout, rngs=rngs)
    _, columns, channels = data.shape
    cell = CELLS[name](columns * channels, units, rngs=rngs)
    return Classifier(cell, data.classes, pooling=options.pooling, dropout=options.dropout, rngs=rngs)


def width(name: str, options: Options, data: Dataset) -> int:
    """Hidden units or channels: as given, or as the budget allows."""
    given = options.channels if name == "cnn" else options.hidden
    return given or solve_width(lambda units, rngs: build(name, units, options, data, rngs), options.params)


def train_and_examine(
    name: str, units: int, options: Options, data: Dataset, table: LiveTable
) -> tuple[dict[str, Any], dict[str, Any], Arrays]:
    """Trains all seeds of a model and scores them on the test set: summary row, learning curves, arrays to draw."""
    title = TITLES[name]
    train = data.train.first(options.train_images)
    recipe = Recipe(options.epochs, options.batch, options.learning_rate, weight_decay=options.weight_decay)
    images_per_epoch = len(train) // options.batch * options.batch * options.seeds
    shapes = jax.eval_shape(lambda: build(name, units, options, data, nnx.Rngs(0)))
    size, backend = parameters(shapes), computed_by(shapes)
    ready = []

    def on_epoch(epoch: Epoch) -> None:
        loss, accuracy = epoch.metrics["loss"].mean(), epoch.score.mean()
        table.epoch(title, size, epoch.number, loss, accuracy, images_per_epoch, epoch.seconds)

    table.compiling(title, size)
    fitted = fit(
        lambda key: build(name, units, options, data, nnx.Rngs(key)),
        partial(cross_entropy, augmentation=options.augmentation),
        correct,
        train,
        data.validation,
        recipe,
        jax.vmap(jax.random.key)(jnp.arange(options.seed, options.seed + options.seeds, dtype=jnp.uint32)),
        on_compiled=lambda: ready.append(seconds_since_start()),
        on_epoch=on_epoch,
        devices=devices_for(backend, options.seeds),
    )
    # A cell reads each image once, a CNN anew for each row: it is asked about some images only.
    by_row = data.test.first(CNN_BY_ROW if name == "cnn" else None)
    answers, inference_seconds = timed_answers(fitted.models, data)
    seconds = np.array([epoch.seconds for epoch in fitted.epochs])
    validation = np.stack([epoch.score for epoch in fitted.epochs])
    hits = answers.argmax(axis=-1) == np.asarray(data.test.labels)
    row = {
        "model": title,
        "parameters": size,
        "width": units,
        "seeds": options.seeds,
        "test_accuracy": interval(hits.mean(axis=1)),
        "validation_accuracy": interval(validation.max(axis=0)),
        "train_seconds": seconds.sum(),
        "seconds_to_98": fitted.seconds_to(0.98),
        "seconds_to_99": fitted.seconds_to(0.99),
        "compile_seconds": fitted.compile_seconds,
        "seconds_to_first_step": ready[0] + seconds[0] / (len(train) // options.batch),
        "train_images_per_second": images_per_epoch * len(seconds) / seconds.sum(),
        "inference_images_per_second": answers.shape[0] * answers.shape[1] / inference_seconds,
        "memory_mib": fitted.memory_bytes / 2**20,
        "devices": fitted.devices,
        "computed_by": backend,
    }
    curve = {
        "loss": np.stack([epoch.metrics["loss"] for epoch in fitted.epochs]),
        "training_accuracy": np.stack([epoch.metrics["accuracy"] for epoch in fitted.epochs]),
        "validation_accuracy": validation,
        "seconds": seconds,
    }
    return (
        row,
        curve,
        {
            **examine(answers, data.test),
            "correct_by_row": evaluate(correct_by_row, fitted.models, by_row).mean(axis=1),
            **read_along(fitted.models, options, data),
        },
    )


def computed_by(model: Classifier | CNN) -> str:
    """The backend of a model's recurrence, and why."""
    return "XLA" if isinstance(model, CNN) else explain(model.rows.cell, jnp.zeros((1, 1, model.rows.cell.features)))


def devices_for(backend: str, seeds: int) -> Sequence[jax.Device]:
    """What to train on: compiled code has all cores on one device, and loses where devices share a batch."""
    devices = jax.devices()
    return devices[: math.gcd(seeds, len(devices))] if backend.startswith("native") else devices


def timed_answers(models: Any, data: Dataset) -> tuple[np.ndarray, float]:
    """Logits `[seeds, n, classes]` of every test image, and the median seconds to compute them all."""
    answer = compile_evaluation(predict, models, data.test)
    logits, times = answer(), []
    for _ in range(3):
        started = time.perf_counter()
        answer()
        times.append(time.perf_counter() - started)
    return logits, float(np.median(times))


def read_along(models: Any, options: Options, data: Dataset) -> Arrays:
    """Of the first seed's recurrent model: gates and answer after each row of the example."""
    model = jax.device_get(jax.tree.map(lambda array: array[0], models))
    if not isinstance(model, Classifier):
        return {}
    image = as_float(data.test.images[options.example][None])
    gates = {f"gate/{name}": gate[0] for name, gate in model.rows.gates(image).items()}
    return {**gates, "probability": jax.nn.softmax(model.logits_by_row(image)[0])}


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
