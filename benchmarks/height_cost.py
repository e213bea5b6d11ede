"""How do time and memory grow with the height of an image, for rows, convolutions and attention?

Classifiers that have one number of parameters at 28 rows answer and train on images of 28 to 448 rows. They are timed
alternately in one process. Beside the times stands what must be kept to read one more row of an image while it
arrives: the state of a cell, or the keys and values of all rows before; a CNN keeps the image.

    python benchmarks/height_cost.py            a table for five heights
    rowrnn publish runs/height_cost   renews results/ and the pages from a finished run
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmark import open_benchmark
from flax import nnx

from rowrnn import CELLS, ImageScan, Transformer
from rowrnn.lab.budget import parameters, solve_width
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, KnownNames
from rowrnn.models import CNN, Classifier, ScanClassifier

COLUMNS, CLASSES, FIRST = 28, 10, 28
TITLES = {"lstm": "Row LSTM", "gru": "Row GRU", "transformer": "Row Transformer", "cnn": "CNN"}
PROTOCOL = {
    "models": "as in experiments/mnist_rows.py, with the width at which they have the budget's parameters at 28 rows; "
    "the Transformer is causal, and pools the last row; a CNN's head grows with the image",
    "milliseconds": "an image, median over rounds: forward, all logits of a batch; train, forward, backward and "
    "gradient descent",
    "memory": "bytes an image that XLA plans for temporaries of a training step",
    "kept": "bytes that must be kept of an image whose rows arrive one after another, to answer after the next one",
}


@dataclass(frozen=True)
class Options:
    """Times classifiers of images of different heights."""

    models: Annotated[tuple[str, ...], KnownNames(TITLES)] = tuple(TITLES)
    """Models: lstm, gru, transformer, cnn."""
    heights: tuple[int, ...] = (28, 56, 112, 224, 448)
    """Rows of the images; the first is that of the budget."""
    params: Count = 30_000
    """Parameters of each model at 28 rows."""
    batch: Count = 32
    """Images of a step."""
    rounds: Count = 9
    """Rounds; each case is timed once in each."""
    output: Path = Path("runs/height_cost")
    """Directory for results; if it is taken, the next free name is used."""


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times every model at every height, and prints the table."""
    widths = {name: solve_width(partial(build, name, FIRST), options.params) for name in options.models}
    cases: list[dict[str, Any]] = []
    with open_benchmark("height_cost", PROTOCOL, options, chosen, widths=widths) as benchmark:
        for height in benchmark.track(options.heights):
            cases += measure(height, widths, options)
            benchmark.save(cases=cases, table=table(cases))


def build(name: str, height: int, width: int, rngs: nnx.Rngs) -> Any:
    """Builds a classifier of images of `height` rows."""
    if name == "cnn":
        return CNN((height, COLUMNS, 1), width, CLASSES, rngs=rngs)
    if name == "transformer":
        layer = Transformer(COLUMNS, width, causal=True, rngs=rngs)
        return ScanClassifier([ImageScan(layer, "rows")], CLASSES, rngs=rngs)
    return Classifier(CELLS[name](COLUMNS, width, rngs=rngs), CLASSES, rngs=rngs)


def measure(height: int, widths: Mapping[str, int], options: Options) -> list[dict[str, Any]]:
    """Times all models at a height; returns medians, memory and what is kept of each."""
    images = jnp.asarray(np.random.default_rng(0).uniform(size=(options.batch, height, COLUMNS, 1)), jnp.float32)
    labels = jnp.arange(options.batch) % CLASSES
    models = {name: build(name, height, width, nnx.Rngs(0)) for name, width in widths.items()}
    compiled = {name: programs(model, images, labels) for name, model in models.items()}
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(options.rounds):
        # The order alternates, since the first one runs with colder caches.
        for name in list(models)[:: 1 if number % 2 else -1]:
            for mode, program in compiled[name].items():
                jax.block_until_ready(program())
                started = time.perf_counter()
                jax.block_until_ready(program())
                seconds.setdefault((name, mode), []).append(time.perf_counter() - started)
    return [
        {
            "model": TITLES[name],
            "height": height,
            "parameters": parameters(model),
            "milliseconds": {
                mode: 1e3 * float(np.median(seconds[name, mode])) / options.batch for mode in compiled[name]
            },
            "memory": memory(model, images, labels) / options.batch,
            "kept": kept(name, model, height),
        }
        for name, model in models.items()
    ]


def update(model: Any, images: Any, labels: Any) -> Any:
    """Trains a model for a step."""

    def loss(model: Any) -> Any:
        return -jnp.take_along_axis(jax.nn.log_softmax(model(images)), labels[:, None], axis=1).mean()

    return jax.tree.map(lambda p, g: p - 1e-3 * g, model, jax.grad(loss)(model))


def programs(model: Any, images: Any, labels: Any) -> dict[str, Callable[[], Any]]:
    """Returns functions that answer and train, compiled."""
    answer, train = jax.jit(lambda model, images: model(images)), jax.jit(update)
    found: dict[str, Callable[[], Any]] = {
        "forward": lambda: answer(model, images),
        "train": lambda: train(model, images, labels),
    }
    for program in found.values():
        jax.block_until_ready(program())
    return found


def memory(model: Any, images: Any, labels: Any) -> int:
    """Returns the bytes of temporaries of a training step."""
    planned: Any = jax.jit(update).lower(model, images, labels).compile().memory_analysis()
    return planned.temp_size_in_bytes


def kept(name: str, model: Any, height: int) -> int:
    """Returns the bytes that must be kept to read an image row by row."""
    row = jnp.zeros((1, COLUMNS))
    if name == "cnn":
        return 4 * height * COLUMNS
    if name == "transformer":
        state = jax.eval_shape(lambda: model.layers[0].layer.initial_state(row, height))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves((state.keys, state.values)))
    state = jax.eval_shape(lambda: model.rows.cell.initialize_carry((1, COLUMNS)))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


def table(cases: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and a row for each model: what an image of each height takes."""
    heights = list(dict.fromkeys(case["height"] for case in cases))
    rows = [["", *(f"{height} rows" for height in heights)]]
    for title in dict.fromkeys(case["model"] for case in cases):
        of = {case["height"]: case for case in cases if case["model"] == title}
        for mode in ("forward", "train"):
            rows.append([f"{title}, {mode}, ms", *(f"{of[height]['milliseconds'][mode]:.3f}" for height in of)])
        rows.append([f"{title}, training memory, KiB", *(f"{of[height]['memory'] / 1024:,.0f}" for height in of)])
        rows.append([f"{title}, kept to go on, KiB", *(f"{of[height]['kept'] / 1024:,.1f}" for height in of)])
    return rows


if __name__ == "__main__":
    run_experiment(Options, main, {})
