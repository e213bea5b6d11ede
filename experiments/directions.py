"""Does it matter in which order a recurrent network reads an image?

One cell, one parameter budget, one recipe; what differs is the order: rows from the top or from the bottom, columns,
rows both ways, a snake over patches, diagonals, rows in a fixed random order, and ReNet, two layers that read patches
from all four sides, pooled by the mean where the others end. A table tells accuracy, seconds per epoch and memory,
pictures show every order and how far it came.

    python experiments/directions.py            about half an hour on 2 cores
    python experiments/directions.py --full     some hours: the committed results
    python experiments/directions.py --quick    a minute: does it run?
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from rowrnn import CELLS, Bidirectional, ImageScan, Recurrent, ReNet
from rowrnn.errors import InputError
from rowrnn.image.orders import HOLE, ORDERS, Order
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Augmentation, Dataset, as_float
from rowrnn.lab.experiment.classifier_trial import PROTOCOL, ClassifierOptions, run_classifier_trial
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import started
from rowrnn.lab.experiment.option_checks import check_names
from rowrnn.lab.report.columns import ANSWERS, MEMORY, PARAMETERS, SECONDS, WIDTH, model_table, score_column
from rowrnn.models import ScanClassifier

TITLES = {
    "rows": "rows, from the top",
    "rows_lstm": "rows, from the top, LSTM",
    "bottom_up": "rows, from the bottom",
    "columns": "columns, from the left",
    "both_ways": "rows, both ways",
    "pixels": "patches, row by row",
    "snake": "patches, as a snake",
    "diagonal": "diagonals",
    "permuted_rows": "rows in random order",
    "renet": "ReNet",
}


@dataclass(frozen=True)
class Options(ClassifierOptions):
    """The same cell reads the same images in different orders."""

    directions: tuple[str, ...] = tuple(TITLES)
    """Orders to compare: rows, rows_lstm, bottom_up, columns, both_ways, pixels (patch by patch), snake, diagonal,
    permuted_rows, renet."""
    cell: str = "gru"
    """Cell that reads: gru, lstm or another of rowrnn.CELLS; rows_lstm is an LSTM whatever it is."""
    params: int = 30_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    patch: int = 4
    """Side of the patches that `pixels` and `snake` read as a step."""
    renet_patch: int = 2
    """Side of the patches of both layers of ReNet."""
    quick: bool = False
    """Preset: tiny models, one epoch, two seeds, 2,000 images."""
    full: bool = False
    """Preset: larger models, 20 epochs, five seeds."""


PRESETS = {
    "quick": {"params": 10_000, "epochs": 1, "seeds": 2, "train_images": 2_000},
    "full": {
        "params": 80_000,
        "epochs": 20,
        "seeds": 5,
        "dropout": 0.2,
        "learning_rate": 4e-3,
        "augmentation": Augmentation(shift=2.0, rotation=10.0, zoom=0.1, shear=0.15),
    },
}

Make = Callable[[int, nnx.Rngs], ScanClassifier]


def main(options: Options) -> None:
    """Trains, scores and draws what the options ask for."""
    check(options)
    data = options.load()
    makes = {name: build(name, options, data) for name in options.directions}
    widths = {name: solve_width(make, options.params) for name, make in makes.items()}
    with started("directions", options, data, PROTOCOL, table_of) as experiment:
        for name, units in widths.items():
            make = partial(makes[name], units)
            reader = jax.eval_shape(lambda make=make: make(nnx.Rngs(0))).layers[0]
            described = about(reader, units, data)
            trial, _ = run_classifier_trial(TITLES[name], make, options, data, experiment, about=described)
            experiment.add(trial, pictured(name, options, data), examples=(as_float(data.test.images[:1]),))


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("directions", options.directions, TITLES)
    check_names("cell", (options.cell,), CELLS)
    options.check("params", "patch", "renet_patch")


def build(name: str, options: Options, data: Dataset) -> Make:
    """A model of this direction, by its width.

    Raises:
        InputError: if patches do not divide the images.
    """
    height, width, channels = data.shape
    order = {"rows_lstm": "rows", "bottom_up": "rows", "both_ways": "rows", "renet": "down"}.get(name, name)
    sides = {"pixels": options.patch, "snake": options.patch, "renet": options.renet_patch}
    how = {"patch": (sides[name], sides[name])} if name in sides else {}
    try:
        features = ORDERS[order](height, width, **how).pixels.shape[-1] * channels
        if name == "renet":  # Its second layer reads patches of patches.
            ORDERS[order](height, width, patch=(options.renet_patch**2, options.renet_patch**2))
    except ValueError as error:
        raise InputError(f"{error} Take other ones with --patch or --renet-patch.") from None
    cell = CELLS["lstm" if name == "rows_lstm" else options.cell]

    def make(units: int, rngs: nnx.Rngs) -> ScanClassifier:
        if name == "renet":
            # The first layer reads four times as many patches, of fewer features.
            first = ReNet(channels, -(-units // 2), how["patch"], cell=cell, rngs=rngs)
            layers = [first, ReNet(first.outputs, units, how["patch"], cell=cell, rngs=rngs)]
        else:
            cells = [cell(features, units, rngs=rngs) for _ in range(1 + (name == "both_ways"))]
            layer = Bidirectional(*cells) if name == "both_ways" else Recurrent(*cells, reverse=name == "bottom_up")
            layers = [ImageScan(layer, order, **how)]
        pooling = "mean" if name == "renet" else "last"
        return ScanClassifier(layers, data.classes, pooling=pooling, dropout=options.dropout, rngs=rngs)

    return make


def about(layer: ImageScan | ReNet, units: int, data: Dataset) -> dict[str, Any]:
    """Width of the cells, and how many sequences of how many steps each direction of the first layer reads."""
    scan = layer.vertical if isinstance(layer, ReNet) else layer
    sequences, steps, _ = scan.order(*data.shape[:2], **dict(scan.options)).pixels.shape
    return {"width": units, "sequences": sequences, "steps": steps}


COLUMNS = (
    score_column("test\naccuracy %"),
    PARAMETERS,
    WIDTH,
    ("steps", lambda row: f"{row['sequences']}x{row['steps']}" if row["sequences"] > 1 else str(row["steps"])),
    SECONDS,
    ANSWERS,
    MEMORY,
)


def table_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Accuracy and cost of every order, as text."""
    best_first = sorted(results["summary"], key=lambda row: -row["test_accuracy"]["mean"])
    return model_table("order", best_first, COLUMNS)


def pictured(name: str, options: Options, data: Dataset) -> dict[str, np.ndarray]:
    """When each pixel is read, `[h, w]`, and of every direction the centres of its steps, `[t, 2]`."""
    height, width, _ = data.shape
    side = options.renet_patch if name == "renet" else options.patch
    how = {"patch": (side, side)} if name in ("renet", "pixels", "snake") else {}
    orders = {"rows_lstm": ["rows"], "bottom_up": ["rows"], "both_ways": ["rows"], "renet": ["down", "across"]}
    read = [ORDERS[order](height, width, **how) for order in orders.get(name, [name])]
    directions = {"bottom_up": [-1], "both_ways": [1, -1], "renet": [1, -1]}.get(name, [1])
    ways = [centres_of(order)[::direction] for order in read for direction in directions]
    return {"when": directions[0] * read[0].when(), **{f"way/{number}": way for number, way in enumerate(ways)}}


def centres_of(order: Order) -> np.ndarray:
    """Row and column of the centre of every step, `[t, 2]`, of the sequence in the middle."""
    steps = order.pixels[len(order.pixels) // 2]
    return np.array([[np.mean(axis) for axis in np.divmod(step[step != HOLE], order.size[1])] for step in steps])


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
