"""How long does it take a Row LSTM and a Row GRU to reach 99 % test accuracy on MNIST, in rowrnn, torch and Flax?

All use the same recipe: hidden size 128, batches of 128, AdamW with gradient clipping, warm-up and cosine decay, random
shifts, dropout, and the same initial distributions. Every training has its own process; libraries alternate. The test
set is scored after each epoch, and the time includes this; it is not used to select anything.

    python benchmarks/time_to_accuracy.py            half an hour; gives the committed results
    python benchmarks/time_to_accuracy.py --quick    a minute, to see that it runs
    rowrnn publish runs/time_to_accuracy   renews results/ and the pages from a finished run
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import trainings
from benchmark import check_installed, open_benchmark

from rowrnn.lab.data.load import load
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, KnownNames, OptionalCount

LIBRARIES = ("rowrnn", "torch", "flax nnx")
CELLS = ("lstm", "gru")
PROTOCOL = {
    "recipe": {**trainings.RECIPE, "hidden": trainings.HIDDEN, "shift": trainings.SHIFT, "dropout": trainings.DROPOUT},
    "seconds_to": "wall time from the first step to the end of the first epoch with that test accuracy, scoring the "
    "test set after each epoch included; null if it was not reached",
    "first_step_seconds": "from the start of the process to the first step, imports and compilation included",
    "accuracies": "on all 10,000 test images after each epoch",
}


@dataclass(frozen=True)
class Options:
    """Times trainings to 98.5 % and 99 % test accuracy."""

    epochs: Count = 8
    """Epochs of each training."""
    seeds: Count = 5
    """Seeds, one training each for every library and cell."""
    train_images: OptionalCount = None
    """Number of training images; default: all."""
    libraries: Annotated[tuple[str, ...], KnownNames(LIBRARIES)] = LIBRARIES
    """Libraries to train with."""
    output: Path = Path("runs/time_to_accuracy")
    """Directory for results; if it is taken, the next free name is used."""


PRESETS = {"quick": {"epochs": 1, "seeds": 1, "train_images": 2_560}}


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Runs all trainings, saves the results after each, and prints the table."""
    check_installed("libraries", options.libraries)
    runs: list[dict[str, Any]] = []
    opened = open_benchmark("time_to_accuracy", PROTOCOL, options, chosen)
    with opened as benchmark, tempfile.TemporaryDirectory() as directory:
        splits = Path(directory) / "splits.npz"
        save_splits(splits, options.train_images)
        for seed, cell, library in benchmark.track(itertools.product(range(options.seeds), CELLS, options.libraries)):
            runs.append(in_process(library, cell, seed, options.epochs, splits))
            benchmark.save(runs=runs, table=table(runs))
            print(line(runs[-1]))


def save_splits(path: Path, train_images: int | None) -> None:
    """Writes training and test set to a file, so that no library has to import another to load them."""
    data = load("mnist")
    train = data.train.first(train_images)
    np.savez(
        path,
        train_images=np.asarray(train.images),
        train_labels=np.asarray(train.labels),
        test_images=np.asarray(data.test.images),
        test_labels=np.asarray(data.test.labels),
    )


def in_process(library: str, cell: str, seed: int, epochs: int, splits: Path) -> dict[str, Any]:
    """Runs one training in its own process and returns its times in seconds and test accuracies."""
    order = json.dumps([library, cell, seed, epochs, str(splits)])
    done = subprocess.run([sys.executable, trainings.__file__, order], stdout=subprocess.PIPE, text=True, check=True)
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
    """Formats the result of one training as a line."""
    reached = "not reached" if row["seconds_to_99"] is None else f"{row['seconds_to_99']:.1f} s"
    return (
        f"{row['library']:8} {row['cell']:4} seed {row['seed']}: 99 % {reached}, {row['seconds'][-1]:.1f} s in all, "
        f"final {100 * row['final_accuracy']:.2f} %"
    )


def table(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows of medians over seeds; "-" where the median training did not reach the accuracy."""
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
                f"{100 * np.median([run['final_accuracy'] for run in found]):.2f}",
            ]
        )
    return [header, *rows]


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
