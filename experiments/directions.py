"""Does it matter in which order a recurrent network reads an image?

One cell, one parameter budget, one recipe; what differs is the order: rows from the top or from the bottom, columns,
rows both ways, a snake over patches, diagonals, rows in a fixed random order, and ReNet, two layers that read patches
from all four sides, pooled by the mean where the others end. A table tells accuracy, seconds per epoch and memory,
pictures show every order and how far it came.

    python experiments/directions.py            about half an hour on 2 cores
    python experiments/directions.py --full     some hours: the committed results
    python experiments/directions.py --quick    a minute: does it run?
"""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console

from rowrnn import CELLS, Bidirectional, Cell, ImageScan, Recurrent, ReNet, explain
from rowrnn.data import Augmentation, Dataset, as_float, load
from rowrnn.errors import InputError
from rowrnn.mesh import one_device_per_core
from rowrnn.models import ScanClassifier, solve_width
from rowrnn.orders import HOLE, ORDERS, Order
from rowrnn.program import keep
from rowrnn.progress import LiveTable
from rowrnn.report import accuracy, plain_table
from rowrnn.run import Run, peak_memory, run_experiment, seconds_since_start
from rowrnn.trial import PROTOCOL, TrialOptions, run_trial

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
class Options(TrialOptions):
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
    output: Path = Path("runs/directions")
    """Directory for results and pictures; one that is taken is kept, and the next free name used."""
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
    one_device_per_core()
    console = Console(width=None if sys.stdout.isatty() else 130)
    data = load(options.dataset, options.data_dir)
    makes = {name: build(name, options, data) for name in options.directions}
    widths = {name: solve_width(make, options.params) for name, make in makes.items()}
    with Run(options.output) as run:
        results: dict[str, Any] = {
            "experiment": "directions",
            "finished": False,
            **run.environment(),
            "data": {**data.describe(), "train": len(data.train.first(options.train_images))},
            "protocol": {**PROTOCOL, **dataclasses.asdict(options)},
            "summary": [],
            "curves": {},
        }
        with LiveTable(console, options.epochs) as table:
            for name, units in widths.items():
                title, make = TITLES[name], partial(makes[name], units)
                reader = jax.eval_shape(lambda make=make: make(nnx.Rngs(0))).layers[0]
                trial = run_trial(
                    title, make, options, data, table, computed_by=computed_by(reader), about=about(reader, units, data)
                )
                results["summary"].append(trial.row)
                results["curves"][title] = trial.curve
                results["peak_memory_mib"] = peak_memory() / 2**20
                results["table"] = table_of(results["summary"])
                keep(run.directory, title, trial.models, as_float(data.test.images[:1]))
                run.save(results)
        results["finished"] = True
        results["seconds"] = seconds_since_start()
        run.save(results)
        console.print(plain_table(results["table"]))
        pictures = ", ".join(draw(results, options, run.directory))
        console.print(f"In {run.directory}: results.json, models, {pictures}.")


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    for name, known in [(name, TITLES) for name in options.directions] + [(options.cell, CELLS)]:
        if name not in known:
            near = get_close_matches(name.lower(), known)
            meant = f"Did you mean {near[0]!r}? " if near else ""
            raise InputError(f"There is no {name!r}. {meant}Known ones: {', '.join(known)}.")
    if not options.directions:
        raise InputError(f"Name at least one direction of {', '.join(TITLES)}.")
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


def first_cell(layer: ImageScan | ReNet) -> Cell:
    """A cell of a layer: what tells how its recurrences run."""
    inner: Any = (layer.vertical if isinstance(layer, ReNet) else layer).layer
    return (inner.forward if isinstance(inner, Bidirectional) else inner).cell


def computed_by(layer: ImageScan | ReNet) -> str:
    """The backend of a layer's recurrences, and why."""
    cell = first_cell(layer)
    return explain(cell, jnp.zeros((1, 1, cell.features)))


def about(layer: ImageScan | ReNet, units: int, data: Dataset) -> dict[str, Any]:
    """Width of the cells, and how many sequences of how many steps each direction of the first layer reads."""
    scan = layer.vertical if isinstance(layer, ReNet) else layer
    sequences, steps, _ = scan.order(*data.shape[:2], **dict(scan.options)).pixels.shape
    return {"width": units, "sequences": sequences, "steps": steps}


HEADER = (
    *("order", "test\naccuracy %", "para-\nmeters", "width", "steps"),
    *("s an epoch\nof a seed", "answers\nimages/s", "memory\nMiB, all"),
)


def table_of(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Accuracy and cost of every order, as text."""
    table = [list(HEADER)]
    for row in sorted(rows, key=lambda row: -row["test_accuracy"]["mean"]):
        table.append(
            [
                row["model"],
                accuracy(row["test_accuracy"]),
                f"{row['parameters']:,}",
                str(row["width"]),
                f"{row['sequences']}x{row['steps']}" if row["sequences"] > 1 else str(row["steps"]),
                f"{row['train_seconds'] / row['epochs'] / row['seeds']:.1f}",
                f"{row['inference_images_per_second']:,.0f}",
                f"{row['memory_mib']:,.0f}",
            ]
        )
    return table


def draw(results: dict[str, Any], options: Options, directory: Path) -> list[str]:
    """Pictures of the orders, of how far each came, and of the way there; returns their names."""
    import matplotlib.pyplot as plt  # It takes long to import: not before training.

    from rowrnn.plots import STYLE, learning_curves

    with plt.rc_context(STYLE), plt.ioff():
        figures = {
            "orders": picture_of_orders(results, options),
            "accuracy": picture_of_accuracy(results),
            "learning_curves": learning_curves(results),
        }
        for name, figure in figures.items():
            figure.savefig(directory / f"{name}.png")
            plt.close(figure)
    return [f"{name}.png" for name in figures]


def picture_of_orders(results: dict[str, Any], options: Options) -> Any:
    """When each pixel is read, and the way through the centres of the steps."""
    import matplotlib.pyplot as plt

    names = [name for name in options.directions if TITLES[name] in results["curves"]]
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    figure, panels = plt.subplots(lines, columns, figsize=(2.4 * columns, 2.7 * lines), squeeze=False)
    height, width, _ = results["data"]["shape"]
    for axes in panels.flat:
        axes.axis("off")
    for axes, name in zip(panels.flat, names, strict=False):
        read = ways(name, options, height, width)
        axes.imshow(-read[0][0].when() if read[0][1] else read[0][0].when(), cmap="viridis")
        for number, (order, backwards) in enumerate(read):
            # Side by side where there are several.
            y, x = centres_of(order)[:: -1 if backwards else 1].T + 1.4 * (number - (len(read) - 1) / 2)
            axes.plot(x, y, color="white", linewidth=1)
            if len(x) > 1:
                axes.annotate("", (x[-1], y[-1]), (x[-2], y[-2]), arrowprops={"arrowstyle": "-|>", "color": "white"})
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        axes.set_title(TITLES[name], fontsize=9)
    figure.suptitle("When each pixel is read: dark first, bright last", fontsize=10)
    return figure


def ways(name: str, options: Options, height: int, width: int) -> list[tuple[Order, bool]]:
    """The order of every direction that a model reads in, and whether backwards."""
    patch = {"patch": (options.patch, options.patch)}
    if name == "renet":
        patch = {"patch": (options.renet_patch, options.renet_patch)}
        return [(ORDERS[order](height, width, **patch), back) for order in ("down", "across") for back in (False, True)]
    if name in ("pixels", "snake"):
        return [(ORDERS[name](height, width, **patch), False)]
    order = {"rows_lstm": "rows", "bottom_up": "rows", "both_ways": "rows"}.get(name, name)
    read = ORDERS[order](height, width)
    return [(read, False), (read, True)] if name == "both_ways" else [(read, name == "bottom_up")]


def centres_of(order: Order) -> np.ndarray:
    """Row and column of the centre of every step, `[t, 2]`, of the sequence in the middle."""
    steps = order.pixels[len(order.pixels) // 2]
    return np.array([[np.mean(axis) for axis in np.divmod(step[step != HOLE], order.size[1])] for step in steps])


def picture_of_accuracy(results: dict[str, Any]) -> Any:
    """Test accuracy of every order: mean, 95 % interval and every seed."""
    import matplotlib.pyplot as plt

    rows = sorted(results["summary"], key=lambda row: row["test_accuracy"]["mean"])
    figure, axes = plt.subplots(figsize=(7, 0.45 * len(rows) + 1.4))
    for line, row in enumerate(rows):
        score = row["test_accuracy"]
        axes.plot(100 * np.array(score["values"]), [line] * row["seeds"], "|", color="grey", markersize=8)
        axes.errorbar(100 * score["mean"], line, xerr=100 * (score["ci95"] or 0), fmt="o", color="C0", capsize=3)
    axes.set_yticks(range(len(rows)), [row["model"] for row in rows])
    axes.set(xlabel="test accuracy (%)", title="Does the order matter?")
    return figure


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
