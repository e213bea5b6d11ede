"""How much time do the check for finite numbers, checkpoints and data on disk cost a training?

It times epochs of experiments/mnist_rows.py with its default recipe and seeds: unchanged, without the check that every
loss and gradient is finite, and with images read from PNG files in array_record instead of memory. They are timed
alternately in one process. A checkpoint, which a training saves after each epoch, is timed too.

    python benchmarks/survival_cost.py            ten minutes; gives the committed results
    python benchmarks/survival_cost.py --quick    a minute, to see that it runs
    rowrnn publish runs/survival_cost   renews results/ and the pages from a finished run
"""

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tensorflow_datasets as tfds
from benchmark import open_benchmark
from flax import nnx
from PIL import Image

from rowrnn import CELLS
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Augmentation, Dataset
from rowrnn.lab.data.load import load
from rowrnn.lab.devices.mesh import one_device_per_core
from rowrnn.lab.experiment.classification import classification_task
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, KnownNames, OptionalCount
from rowrnn.lab.experiment.placement import choices_of, devices_for
from rowrnn.lab.training import Checkpoints, Recipe
from rowrnn.lab.training import steps as steps_module
from rowrnn.lab.training.steps import Steps, TrainState
from rowrnn.models import CNN, Classifier

EPOCHS = 4  # of experiments/mnist_rows.py
TITLES = {"lstm": "Row LSTM", "gru": "Row GRU", "cnn": "CNN"}
PROTOCOL = {
    "epoch_seconds": "of an epoch with its validation, median over rounds: as it is, without the check for finite "
    "numbers, and with images on disk in the epoch that decodes them and in one that reads them decoded",
    "check": "median over rounds of the time of an epoch ÷ that of an epoch without the check, minus 1",
    "checkpoint": "median time of saving a checkpoint, which is done after each epoch, ÷ that of an epoch",
    "streamed": f"median over rounds of the time of a training of {EPOCHS} epochs with images in memory ÷ that with "
    "images on disk, which are decoded in the first epoch and read decoded in the others",
    "weight_difference": "largest absolute difference between the weights after an epoch with images on disk and those "
    "after an epoch with images in memory",
    "images_per_second": "training images of all seeds ÷ seconds of an epoch, with images in memory",
}


@dataclass(frozen=True)
class Options:
    """Times epochs with and without the check for finite numbers, checkpoints and data on disk."""

    models: Annotated[tuple[str, ...], KnownNames(TITLES)] = tuple(TITLES)
    """Models to train: lstm, gru, cnn."""
    params: Count = 30_000
    """Parameter budget of each model."""
    seeds: Count = 4
    """Seeds of each model, trained together."""
    images: OptionalCount = None
    """Number of images of the training set and of the test set; default: all."""
    rounds: Count = 5
    """Rounds; each kind of epoch is timed once in each."""
    output: Path = Path("runs/survival_cost")
    """Directory for results; if it is taken, the next free name is used."""


PRESETS = {"quick": {"models": ("gru",), "rounds": 1, "images": 2_000}}


class MnistPng(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """TensorFlow dataset of the bundled MNIST as PNG files.

    Args:
        images: number of images of the training set and of the test set; None for all.
        arguments: arguments of the base class.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, images: int | None, **arguments: Any) -> None:
        self._images = images
        super().__init__(**arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {"image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(num_classes=10)}
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        data = load("mnist")
        splits = {"train": data.train.first(self._images), "test": data.test.first(self._images)}
        return {name: self._generate_examples(split) for name, split in splits.items()}

    def _generate_examples(self, split: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, (image, label) in enumerate(zip(np.asarray(split.images), np.asarray(split.labels), strict=True)):
            file = io.BytesIO()
            Image.fromarray(image[..., 0]).save(file, "png")
            file.seek(0)
            yield number, {"image": file, "label": int(label)}


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times every model, saves the results after each, and prints the table."""
    one_device_per_core()
    cases: list[dict[str, Any]] = []
    opened = open_benchmark("survival_cost", PROTOCOL, options, chosen)
    with opened as benchmark, tempfile.TemporaryDirectory() as folder:
        print("Writing MNIST as PNG files.")
        MnistPng(options.images, data_dir=folder).download_and_prepare(file_format="array_record")
        for name in benchmark.track(options.models):
            cases.append(measure(name, Path(folder), options))
            benchmark.save(cases=cases, table=table(cases))


def measure(name: str, folder: Path, options: Options) -> dict[str, Any]:
    """Times a model's epochs; returns the medians and the cost of check, checkpoints and data on disk."""
    whole = load("mnist_png", folder)
    training = partial(training_of, name, options)
    with unchecked():
        without = training(whole)
    epochs = {"as it is": epoch_of(training(whole)), "unchecked": epoch_of(without)}
    seconds: dict[str, list[float]] = {way: [] for way in (*epochs, "decoding", "decoded")}
    states = {}
    for number in range(options.rounds):
        # A fresh data set, of which no image is decoded yet.
        streamed = epoch_of(training(load("mnist_png", folder, budget=0)))
        ways = {**epochs, "decoding": streamed, "decoded": streamed}
        for way in [*list(epochs)[:: -1 if number % 2 else 1], "decoding", "decoded"]:
            states[way], taken = ways[way]()
            seconds[way].append(taken)
    saving = []
    with tempfile.TemporaryDirectory() as kept:
        checkpoints = Checkpoints(Path(kept))
        for number in range(2 + options.rounds):
            started = time.perf_counter()
            checkpoints.save(number, 0, states["as it is"], {})
            saving.append(time.perf_counter() - started)
    differences = jax.tree.map(lambda a, b: jnp.abs(a - b).max(), states["decoded"].model, states["as it is"].model)
    normal = np.array(seconds["as it is"])
    streamed_seconds = np.array(seconds["decoding"]) + (EPOCHS - 1) * np.array(seconds["decoded"])
    return {
        "model": TITLES[name],
        "epoch_seconds": {way: float(np.median(times)) for way, times in seconds.items()},
        # Without the first saves, which import modules.
        "checkpoint_seconds": float(np.median(saving[2:])),
        "check": float(np.median(normal / seconds["unchecked"])) - 1,
        "checkpoint": float(np.median(saving[2:]) / np.median(normal)),
        "streamed": float(np.median(EPOCHS * normal / streamed_seconds)),
        "weight_difference": max(map(float, jax.tree.leaves(differences))),
        "images_per_second": len(whole.train) * options.seeds / float(np.median(normal)),
    }


@contextmanager
def unchecked() -> Iterator[None]:
    """Disables the check for finite numbers in training steps that are compiled in this context."""
    check = steps_module._not_finite
    steps_module._not_finite = lambda metrics, gradient: jnp.zeros((1 + len(jax.tree.leaves(gradient)),), bool)
    try:
        yield
    finally:
        steps_module._not_finite = check


def training_of(name: str, options: Options, data: Dataset) -> Steps:
    """Returns the compiled training steps of a model, as in experiments/mnist_rows.py."""
    _, width, channels = data.shape

    def build(units: int, rngs: nnx.Rngs) -> Classifier | CNN:
        if name == "cnn":
            return CNN(data.shape, units, data.classes, dropout=0.1, rngs=rngs)
        return Classifier(CELLS[name](width * channels, units, rngs=rngs), data.classes, dropout=0.1, rngs=rngs)

    units = solve_width(build, options.params)
    shapes: Any = jax.eval_shape(lambda: build(units, nnx.Rngs(0)))
    steps = Steps(
        lambda key: build(units, nnx.Rngs(key)),
        classification_task(data, Augmentation(shift=1.0)),
        Recipe(epochs=EPOCHS, batch_size=64, learning_rate=6e-3),
        jax.random.split(jax.random.key(0), options.seeds),
        devices_for(choices_of(shapes), options.seeds),
    )
    steps.compile()
    return steps


def epoch_of(steps: Steps) -> Callable[[], tuple[TrainState, float]]:
    """Returns a function that runs the first epoch of a training and returns its state and seconds."""

    def epoch() -> tuple[TrainState, float]:
        state = jax.block_until_ready(steps.begin())
        started = time.perf_counter()
        state = steps.advance(state, steps.open(1, 0), 1, 0, steps.per_epoch)
        state, _ = jax.block_until_ready(steps.conclude(state, 1))
        return state, time.perf_counter() - started

    return epoch


def table(cases: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows: seconds of an epoch, and the cost of check, checkpoint and data on disk."""
    header = ["", "s an epoch", "images/s", "finite check %", "checkpoint %", "streamed ÷ in memory"]
    rows = [
        [
            case["model"],
            f"{case['epoch_seconds']['as it is']:.2f}",
            f"{case['images_per_second']:,.0f}",
            f"{100 * case['check']:+.1f}",
            f"{100 * case['checkpoint']:.1f}",
            f"{case['streamed']:.2f}",
        ]
        for case in cases
    ]
    return [header, *rows]


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
