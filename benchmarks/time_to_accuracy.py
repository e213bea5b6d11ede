"""How long until a Row LSTM and a Row GRU read 99 % of MNIST's test digits, in rowrnn, in torch and in Flax?

One recipe for all: hidden size 128, batches of 128, AdamW with clipping, warm-up and cosine decay, random shifts,
dropout, the same initial distributions. Every training is a process of its own; libraries take turns. The test set is
scored after each epoch, with the clock running: nothing is chosen by it.

    python benchmarks/time_to_accuracy.py            half an hour: the committed results
    python benchmarks/time_to_accuracy.py --quick    a minute: does it run?
    python -m rowrnn publish runs/time_to_accuracy   renews results/ and README from a finished run
"""

import dataclasses
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from peers import missing
from rich.console import Console
from rich.progress import Progress

from rowrnn.errors import InputError
from rowrnn.report import plain_table
from rowrnn.run import Run, run_experiment, seconds_since_start

LIBRARIES = ("rowrnn", "torch", "flax nnx")
CELLS = ("lstm", "gru")
HIDDEN, SHIFT, DROPOUT = 128, 2.0, 0.2
RECIPE = {"batch_size": 128, "learning_rate": 4e-3, "warmup": 0.1, "weight_decay": 1e-2, "clip_norm": 1.0}

PROTOCOL = {
    "recipe": {**RECIPE, "hidden": HIDDEN, "shift": SHIFT, "dropout": DROPOUT},
    "seconds_to": "wall time from the first step on, scoring the test set after each epoch included; null: not reached",
    "first_step_seconds": "from the start of the process until the first step begins, imports and compilation included",
    "accuracies": "on all 10,000 test images after each epoch",
}


@dataclass(frozen=True)
class Options:
    """Times trainings to 98.5 % and 99 % test accuracy."""

    epochs: int = 8
    """Epochs of each training."""
    seeds: int = 5
    """Trainings of each library and cell."""
    train_images: int | None = None
    """Train on so many images only; all where not given."""
    libraries: tuple[str, ...] = LIBRARIES
    """Libraries to train with."""
    output: Path = Path("runs/time_to_accuracy")
    """Directory for results; one that is taken is kept, and the next free name used."""
    quick: bool = False
    """Preset: one seed, one epoch, 2,560 images."""


PRESETS = {"quick": {"epochs": 1, "seeds": 1, "train_images": 2_560}}


def main(options: Options) -> None:
    """Trains everything in turn, saves after each training, and prints the table."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    for name in options.libraries:
        if name not in LIBRARIES:
            raise InputError(f"There is no library {name!r}; there are {', '.join(LIBRARIES)}.")
        if package := missing(name):
            raise InputError(f"{package} is not installed: pip install 'rowrnn[bench]', or choose with --libraries.")
    with Run(options.output) as run, Progress(console=console) as progress:
        results: dict[str, Any] = {
            "experiment": "time_to_accuracy",
            "finished": False,
            **run.environment(),
            "protocol": {**PROTOCOL, **dataclasses.asdict(options)},
            "runs": [],
        }
        trainings = list(itertools.product(range(options.seeds), CELLS, options.libraries))
        for seed, cell, library in progress.track(trainings, description="trainings"):
            results["runs"].append(in_process(library, cell, seed, options))
            results["table"] = table(results["runs"])
            run.save(results, {})
            progress.console.print(line(results["runs"][-1]))
        results["finished"] = True
        run.save(results, {})
    console.print(plain_table(results["table"]))
    console.print(f"In {run.directory}: results.json.")


def in_process(library: str, cell: str, seed: int, options: Options) -> dict[str, Any]:
    """One training, in a process of its own."""
    order = json.dumps([library, cell, seed, options.epochs, options.train_images])
    environment = {**os.environ, "ROWRNN_TRAINING": order}
    done = subprocess.run([sys.executable, __file__], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    first_step, seconds, accuracies = json.loads(done.stdout.splitlines()[-1])

    def until(accuracy: float) -> float | None:
        return next((s for s, reached in zip(seconds, accuracies, strict=True) if reached >= accuracy), None)

    return {
        "library": library,
        "cell": cell,
        "seed": seed,
        "seconds_to_985": until(0.985),
        "seconds_to_99": until(0.99),
        "first_step_seconds": first_step,
        "final_accuracy": accuracies[-1],
        "seconds": seconds,
        "accuracies": accuracies,
    }


def line(row: dict[str, Any]) -> str:
    """One training in a line."""
    reached = "not reached" if row["seconds_to_99"] is None else f"{row['seconds_to_99']:.1f} s"
    return (
        f"{row['library']:8} {row['cell']:4} seed {row['seed']}: 99 % {reached}, {row['seconds'][-1]:.1f} s in all, "
        f"final {100 * row['final_accuracy']:.2f} %"
    )


def table(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Medians over seeds; a median that was not reached is a dash."""
    header = ["", "first step s", "98.5 % after s", "99 % after s", "99 % from start s", "final accuracy %"]
    rows = []
    for cell, library in itertools.product(CELLS, LIBRARIES):
        found = [run for run in runs if (run["cell"], run["library"]) == (cell, library)]
        if not found:
            continue

        def median(of: Callable[[dict[str, Any]], float | None], found: list[dict[str, Any]] = found) -> str:
            values = [np.inf if value is None else value for value in map(of, found)]
            return f"{np.median(values):.1f}" if np.isfinite(np.median(values)) else "-"

        def from_start(run: dict[str, Any]) -> float | None:
            return None if run["seconds_to_99"] is None else run["first_step_seconds"] + run["seconds_to_99"]

        rows.append(
            [
                f"{cell.upper()}, {library}",
                median(lambda run: run["first_step_seconds"]),
                median(lambda run: run["seconds_to_985"]),
                median(lambda run: run["seconds_to_99"]),
                median(from_start),
                f"{100 * np.mean([run['final_accuracy'] for run in found]):.2f}",
            ]
        )
    return [header, *rows]


# One training. Each returns the seconds until the first step, those after each epoch, and the test accuracies.

Trained = tuple[float, list[float], list[float]]


def train_in_jax(library: str, cell: str, seed: int, epochs: int, train_images: int | None) -> Trained:
    """With `rowrnn.train.fit`; the layer is rowrnn's or `flax.nnx.RNN`."""
    import time

    import jax

    from rowrnn.classification import correct, cross_entropy
    from rowrnn.data import Augmentation, load
    from rowrnn.train import Recipe, fit

    data = load("mnist")
    started: list[float] = []
    seconds, accuracies = [], []

    def begin() -> None:
        started.extend((seconds_since_start(), time.perf_counter()))

    def on_epoch(epoch: Any) -> None:
        seconds.append(time.perf_counter() - started[1])
        accuracies.append(float(epoch.score[0]))

    make = rowrnn_classifier if library == "rowrnn" else flax_classifier(cell)

    fit(
        lambda key: make(cell, key),
        partial(cross_entropy, augmentation=Augmentation(shift=SHIFT)),
        correct,
        data.train.first(train_images),
        data.test,
        Recipe(epochs, **RECIPE),
        jax.random.key(seed)[None],
        on_compiled=begin,
        on_epoch=on_epoch,
    )
    return started[0], seconds, accuracies


def rowrnn_classifier(cell: str, key: Any) -> Any:
    """A Row LSTM or Row GRU with a head."""
    from flax import nnx

    from rowrnn import CELLS
    from rowrnn.models import Classifier

    rngs = nnx.Rngs(key)
    return Classifier(CELLS[cell](28, HIDDEN, rngs=rngs), 10, dropout=DROPOUT, rngs=rngs)


def flax_classifier(cell: str) -> Callable[[str, Any], Any]:
    """Makes `flax.nnx.RNN` with a head, as a pytree of its parameters alone, which `fit` wants."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from rowrnn.image import rows

    def layer_of(rngs: Any) -> Any:
        made = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[cell](28, HIDDEN, rngs=rngs)
        if cell == "lstm":
            # Its gates lie in the order i f g o; as in the others, the forget gate starts open.
            made.dense_h.bias[...] = made.dense_h.bias[...].at[HIDDEN : 2 * HIDDEN].set(1.0)
        return nnx.RNN(made, rngs=nnx.Rngs(0))

    graph, template, streams = nnx.split(layer_of(nnx.Rngs(0)), nnx.Param, ...)
    structure = jax.tree.structure(template)

    @jax.tree_util.register_pytree_node_class
    class FlaxClassifier:
        def __init__(self, parameters: list[Any], head: Any) -> None:
            self.parameters, self.head = parameters, head

        def __call__(self, images: Any, *, key: Any = None) -> Any:
            x = rows(images)
            zeros = jnp.zeros((len(x), HIDDEN))
            carry = (zeros, zeros) if cell == "lstm" else zeros
            layer = nnx.merge(graph, jax.tree.unflatten(structure, self.parameters), streams)
            last = layer(x, initial_carry=carry)[:, -1]
            return self.head(nnx.Dropout(DROPOUT)(last, deterministic=key is None, rngs=key))

        def tree_flatten(self) -> Any:
            return (self.parameters, self.head), None

        @classmethod
        def tree_unflatten(cls, _: Any, children: Any) -> Any:
            return cls(*children)

    def make(_: str, key: Any) -> Any:
        rngs = nnx.Rngs(key)
        _, parameters, _ = nnx.split(layer_of(rngs), nnx.Param, ...)
        return FlaxClassifier(jax.tree.leaves(parameters), nnx.Linear(HIDDEN, 10, rngs=rngs))

    return make


def train_in_torch(cell: str, seed: int, epochs: int, train_images: int | None) -> Trained:
    """With `torch.nn`, all tensors in memory."""
    import math
    import time

    import torch
    from torch import nn
    from torch.nn import functional as F

    from rowrnn.data import load

    torch.manual_seed(seed)
    data = load("mnist")

    def tensors(split: Any) -> tuple[Any, Any]:
        images = torch.from_numpy(np.array(split.images))[..., 0].float() / 255
        return images, torch.from_numpy(np.array(split.labels)).long()

    (images, labels), (test_images, test_labels) = tensors(data.train.first(train_images)), tensors(data.test)
    layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](28, HIDDEN, batch_first=True)
    head = nn.Linear(HIDDEN, 10)
    with torch.no_grad():
        nn.init.trunc_normal_(layer.weight_ih_l0, std=28**-0.5, a=-2 * 28**-0.5, b=2 * 28**-0.5)
        for block in layer.weight_hh_l0.split(HIDDEN):
            nn.init.orthogonal_(block)
        for bias in (layer.bias_ih_l0, layer.bias_hh_l0, head.bias):
            bias.zero_()
        if cell == "lstm":
            layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = 1
        nn.init.trunc_normal_(head.weight, std=HIDDEN**-0.5, a=-2 * HIDDEN**-0.5, b=2 * HIDDEN**-0.5)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": RECIPE["weight_decay"]},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=RECIPE["learning_rate"],
    )
    batch = int(RECIPE["batch_size"])
    steps = len(images) // batch
    rise = max(1, round(RECIPE["warmup"] * steps * epochs))

    def rate(step: int) -> float:
        if step < rise:
            return step / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps * epochs - rise)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def shifted(x: Any) -> Any:
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1
        theta[:, :, 2] = (2 * torch.rand(len(x), 2) - 1) * SHIFT * 2 / 27
        grid = F.affine_grid(theta, [len(x), 1, 28, 28], align_corners=True)
        return F.grid_sample(x[:, None], grid, align_corners=True)[:, 0]

    first, started = seconds_since_start(), time.perf_counter()
    seconds, accuracies = [], []
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: steps * batch].split(batch):
            optimizer.zero_grad()
            last = layer(shifted(images[chosen]))[0][:, -1]
            F.cross_entropy(head(F.dropout(last, DROPOUT)), labels[chosen]).backward()
            nn.utils.clip_grad_norm_(parameters, RECIPE["clip_norm"])
            optimizer.step()
            schedule.step()
        with torch.inference_mode():
            answers = torch.cat([head(layer(part)[0][:, -1]).argmax(-1) for part in test_images.split(500)])
        accuracies.append((answers == test_labels).double().mean().item())
        seconds.append(time.perf_counter() - started)
    return first, seconds, accuracies


def train(library: str, cell: str, seed: int, epochs: int, train_images: int | None) -> Trained:
    """One training of a library."""
    if library == "torch":
        return train_in_torch(cell, seed, epochs, train_images)
    return train_in_jax(library, cell, seed, epochs, train_images)


if __name__ == "__main__":
    if "ROWRNN_TRAINING" in os.environ:
        print(json.dumps(train(*json.loads(os.environ["ROWRNN_TRAINING"]))))
    else:
        run_experiment(Options, main, PRESETS)
