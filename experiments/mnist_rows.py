"""Can a recurrent cell that reads an image row by row keep up with a convolutional network that sees it whole?

Row LSTM, Row GRU and a small CNN learn the same images within one parameter budget, several seeds each. A table and
pictures tell how well, how fast, after which row the network knows, and what its gates do meanwhile.

    python experiments/mnist_rows.py            3 to 4 minutes on 2 cores: LSTM and GRU above 98.5 %, CNN above 99 %
    python experiments/mnist_rows.py --full     about an hour: the committed results
    python experiments/mnist_rows.py --quick    half a minute: does it run?
"""

from dataclasses import dataclass
from functools import partial

import jax
from flax import nnx
from jaxtyping import ArrayLike

from rowrnn import CELLS
from rowrnn.errors import InputError
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Augmentation, Dataset, as_float
from rowrnn.lab.experiment.classifier_trial import PROTOCOL, ClassifierOptions, run_classifier_trial
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import started
from rowrnn.lab.experiment.model_trial import Trial
from rowrnn.lab.experiment.option_checks import check_names
from rowrnn.lab.tasks.classification.task import correct_by_row, examine
from rowrnn.models import CNN, Classifier
from rowrnn.models.row_classifier import Pooling

Arrays = dict[str, ArrayLike]

TITLES = {**{name: f"Row {cell.__name__}" for name, cell in CELLS.items()}, "cnn": "CNN"}
CNN_BY_ROW = 500
BY_ROW = f"all test images for a cell, the first {CNN_BY_ROW} for a CNN, its rows below left blank"


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """Row LSTM, Row GRU and a small CNN learn to read images row by row."""

    models: tuple[str, ...] = ("lstm", "gru", "cnn")
    """Models to train: cnn, or a cell: lstm, gru, elman, mgu, min_gru and the others of rowrnn.CELLS."""
    params: int = 30_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    hidden: int | None = None
    """Hidden size of the recurrent cells, instead of the budget."""
    channels: int | None = None
    """Channels of the CNN's last convolution, instead of the budget."""
    pooling: Pooling = "last"
    """What the recurrent models' head reads: the state after the last row, or the mean over rows."""
    example: int = 0
    """Test image whose reading is drawn, gate by gate."""
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
    data = options.load()
    if not 0 <= options.example < len(data.test):
        raise InputError(f"Test image {options.example} does not exist: take one from 0 to {len(data.test) - 1}.")
    widths = {name: width(name, options, data) for name in options.models}
    with started("mnist_rows", options, data, {**PROTOCOL, "correct_by_row": BY_ROW}) as experiment:
        experiment.arrays["example"] = data.test.images[options.example]
        experiment.arrays["example_label"] = data.test.labels[options.example]
        for name, units in widths.items():
            title, make = TITLES[name], partial(build, name, units, options, data)
            trial, logits = run_classifier_trial(title, make, options, data, experiment, about={"width": units})
            experiment.results.setdefault("seconds_to_first_step", trial.seconds_to_first_step)
            examined = {**examine(logits, data.test), **read_along(name, trial, options, data)}
            experiment.add(trial, examined, examples=(as_float(data.test.images[:1]),))


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("models", options.models, TITLES)
    options.check("params", "hidden", "channels")


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


def read_along(name: str, trial: Trial, options: Options, data: Dataset) -> Arrays:
    """When the models know, and of the first seed's recurrent model gates and answer after each row of the example."""
    # A cell reads each image once, a CNN anew for each row: it is asked about some images only.
    by_row = data.test.first(CNN_BY_ROW if name == "cnn" else None)
    seen: Arrays = {"correct_by_row": trial.evaluate(correct_by_row, by_row).mean(axis=1)}
    model = jax.device_get(jax.tree.map(lambda array: array[0], trial.models))
    if isinstance(model, Classifier):
        image = as_float(data.test.images[options.example][None])
        seen |= {f"gate/{gate}": activation[0] for gate, activation in model.rows.gates(image).items()}
        seen["probability"] = jax.nn.softmax(model.logits_by_row(image)[0])
    return seen


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
