"""Images pixel by pixel: 784 steps of one number, in reading order and in a fixed random order.

Sequential and permuted MNIST (Le et al. 2015) ask how far back a recurrent network can look: the last pixel comes 783
steps after the first. Published for an LSTM are 98.9 % (sequential) and 95.1 % (permuted).

    python experiments/pixels.py --full     40 minutes on 2 cores: a larger cell, more epochs
    python experiments/pixels.py            a quarter of an hour: a smaller cell, fewer epochs
    python experiments/pixels.py --quick    a minute: does it run?
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

import tyro
from flax import nnx

from rowrnn import CELLS, GRU, LSTM, ImageScan, Recurrent, Stack, chrono
from rowrnn.errors import InputError
from rowrnn.lab.data import Augmentation, Dataset, as_float
from rowrnn.lab.experiment.classifier_trial import PROTOCOL, ClassifierOptions, run_classifier_trial
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import started
from rowrnn.lab.experiment.option_checks import check_names
from rowrnn.lab.report.columns import MEMORY, PARAMETERS, SECONDS, WIDTH, model_table, score_column
from rowrnn.models import ScanClassifier
from rowrnn.models.scan_classifier import Pooling

ORDER_OF = {"sequential": "pixels", "permuted": "permuted"}


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """One cell reads images pixel by pixel."""

    orders: tuple[Literal["sequential", "permuted"], ...] = ("sequential", "permuted")
    """Orders of the pixels: sequential, permuted."""
    permutation: int = 0
    """Seed of the permutation."""
    cells: tuple[str, ...] = ("gru",)
    """Cells that read, one layer upon the other: gru, lstm, lru or others of rowrnn.CELLS."""
    hidden: int = 64
    """Size of their states."""
    chrono: bool = True
    """Start the lowest layer with long memories: an LSTM or GRU with those of 2 to 784 steps (rowrnn.chrono), an LRU
    with those of 784 to 6,000, which it then keeps."""
    head: int | None = None
    """Units of a layer with ReLU before the answer, which a linear cell needs; none where not given."""
    pooling: Pooling = "mean"
    """What the head reads: the last state, or the mean over all steps."""
    epochs: int = 5
    """Passes over the training set."""
    seeds: int = 1
    """Models of each order, trained together, each from its own seed."""
    learning_rate: float = 4e-3
    """Peak learning rate of AdamW."""
    augmentation: Annotated[Augmentation, tyro.conf.arg(name="")] = Augmentation()
    quick: bool = False
    """Preset: a tiny cell, one epoch, 2,000 images."""
    full: bool = False
    """Preset: hidden size 128, 20 epochs."""


PRESETS = {
    "quick": {"hidden": 8, "epochs": 1, "train_images": 2_000},
    "full": {"hidden": 128, "epochs": 20, "batch": 32, "learning_rate": 6e-3},
}


def main(options: Options) -> None:
    """Trains, scores and draws what the options ask for."""
    check(options)
    data = options.load()
    cells = [layer.cell for layer in layers(options, data, nnx.Rngs(0))]
    with started("pixels", options, data, PROTOCOL, table_of) as experiment:
        for order in options.orders:
            title = f"{order} {' + '.join(type(cell).__name__ for cell in cells)}"
            make = partial(build, order, options, data)
            about = {"width": options.hidden, "steps": data.shape[0] * data.shape[1]}
            trial, _ = run_classifier_trial(title, make, options, data, experiment, about=about)
            experiment.add(trial, examples=(as_float(data.test.images[:1]),))


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("cells", tuple(dict.fromkeys(options.cells)), CELLS)  # One may have several layers.
    check_names("orders", options.orders, ORDER_OF)
    options.check("hidden", "head")
    if options.permutation < 0:
        raise InputError(f"--permutation is {options.permutation}; expected a seed of at least 0.")


def build(order: str, options: Options, data: Dataset, rngs: nnx.Rngs) -> ScanClassifier:
    """A model that reads in this order."""
    seed = {"seed": options.permutation} if order == "permuted" else {}
    scan = ImageScan(Stack(layers(options, data, rngs)), ORDER_OF[order], **seed)
    how = {"pooling": options.pooling, "dropout": options.dropout, "head_hidden": options.head}
    return ScanClassifier([scan], data.classes, **how, rngs=rngs)


def layers(options: Options, data: Dataset, rngs: nnx.Rngs) -> list[Recurrent]:
    """The layers of a model, from the bottom up."""
    height, width, features = data.shape
    steps, made = height * width, []
    for name in options.cells:
        # What is below remembers; what is above has it at hand in every step.
        remembers = options.chrono and not made
        slow: dict[str, Any] = {"radius": (1 - 1 / steps, 1 - 1 / (8 * steps)), "learned": False}
        cell = CELLS[name](features, options.hidden, **(slow if remembers and name == "lru" else {}), rngs=rngs)
        if remembers and isinstance(cell, LSTM | GRU):
            chrono(cell, steps, rngs=rngs)
        made.append(Recurrent(cell))
        features = cell.outputs
    return made


def table_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Accuracy and cost of each order, as text."""
    columns = (
        score_column("test\naccuracy %"),
        PARAMETERS,
        WIDTH,
        ("steps", lambda row: str(row["steps"])),
        SECONDS,
        MEMORY,
    )
    return model_table("order, cell", results["summary"], columns)


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
