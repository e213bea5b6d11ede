"""How long does it take to reach 99 % test accuracy on MNIST, for a Row LSTM, a Row GRU and a small CNN?

First by one recipe: hidden size 128, batches of 128, AdamW with gradient clipping, warm-up and cosine decay, random
shifts, dropout, and the same initial distributions, in rowrnn, torch and Flax. Then by the recipe with which each is
there soonest ("for the clock"), chosen on validation images with `--choose`, also for a CNN in torch (channels last,
batch normalization, the one-cycle schedule) and in rowrnn. Every training has its own process, and they alternate. The
test set is scored after each epoch, and the time includes this; it is not used to select anything.

    python benchmarks/time_to_accuracy.py            forty minutes; gives the committed results
    python benchmarks/time_to_accuracy.py --quick    two minutes, to see that it runs
    python benchmarks/time_to_accuracy.py --choose --changes '{"learning_rate": 0.02}' '{"epochs": 3}'
    rowrnn publish runs/time_to_accuracy   renews results/ and the pages from a finished run
"""

import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import trainings
from benchmark import check_installed, open_benchmark

from rowrnn.errors import InputError
from rowrnn.lab.data.load import load
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, KnownNames, OptionalCount
from rowrnn.lab.experiment.options import check_options


class Contender(NamedTuple):
    """What is trained, see `trainings.train`."""

    library: str
    model: str
    kind: str

    def __str__(self) -> str:
        clock = " for the clock" if self.kind == "clock" else ""
        return f"{self.model.upper()}{clock}, {self.library}"


LIBRARIES = ("rowrnn", "torch", "flax nnx")
CONTENDERS = (
    *(Contender(library, cell, "same") for cell in ("lstm", "gru") for library in LIBRARIES),
    *(Contender(library, model, "clock") for model, library in trainings.CLOCK),
)
PROTOCOL = {
    "same": asdict(trainings.SAME),
    "clock": {f"{model}, {library}": asdict(recipe) for (model, library), recipe in trainings.CLOCK.items()},
    "seconds_to": "wall time from the first step to the end of the first epoch with that accuracy, scoring the "
    "images after each epoch included; null if it was not reached",
    "first_step_seconds": "from the start of the process to the first step, imports and compilation included",
    "accuracies": "on all 10,000 test images after each epoch; with --choose, on the last 5,000 training images, "
    "which are then not trained on",
}
CHOSEN_ON = 5_000  # training images


@dataclass(frozen=True)
class Options:
    """Times trainings to 98.5 % and 99 % test accuracy."""

    epochs: OptionalCount = None
    """Epochs of each training; default: those of its recipe."""
    seeds: Count = 5
    """Seeds, one training each for every library and cell."""
    train_images: OptionalCount = None
    """Number of training images; default: all."""
    libraries: Annotated[tuple[str, ...], KnownNames(LIBRARIES)] = LIBRARIES
    """Libraries to train with."""
    models: Annotated[tuple[str, ...], KnownNames(("lstm", "gru", "cnn"))] = ("lstm", "gru", "cnn")
    """Models to train."""
    choose: bool = False
    """Try changes of the recipes for the clock, on training images that are left out."""
    changes: tuple[str, ...] = ("{}",)
    """With --choose, what differs from the recipe, as JSON; each is tried."""
    output: Path = Path("runs/time_to_accuracy")
    """Directory for results; if it is taken, the next free name is used."""


PRESETS = {"quick": {"epochs": 1, "seeds": 1, "train_images": 2_560}}


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Runs all trainings, saves the results after each, and prints the table."""
    check_options(options)
    check_installed("libraries", options.libraries)
    contenders = [one for one in CONTENDERS if one.library in options.libraries and one.model in options.models]
    if options.choose:
        contenders = [one for one in contenders if one.kind == "clock"]
    elif options.changes != Options.changes:
        raise InputError("--changes are tried on validation images: give --choose too, or leave them out.")
    if not contenders:
        raise InputError("None of the --models is trained in one of the --libraries: give more of them.")
    changes = [_change(text) for text in options.changes]
    if options.epochs is not None:
        changes = [{**change, "epochs": options.epochs} for change in changes]
    runs: list[dict[str, Any]] = []
    opened = open_benchmark("time_to_accuracy", PROTOCOL, options, chosen)
    with opened as benchmark, tempfile.TemporaryDirectory() as directory:
        splits = Path(directory) / "splits.npz"
        save_splits(splits, options.train_images, choose=options.choose)
        for seed, contender, changed in benchmark.track(itertools.product(range(options.seeds), contenders, changes)):
            runs.append(in_process(contender, changed, seed, splits))
            benchmark.save(runs=runs, table=table(runs))
            print(line(runs[-1]))


def _change(text: str) -> dict[str, Any]:
    """Reads what differs from a recipe.

    Raises:
        InputError: if it is no JSON object of the recipe's entries.
    """
    try:
        changed = json.loads(text)
        replace(trainings.SAME, **changed)
    except (ValueError, TypeError) as error:
        known = ", ".join(asdict(trainings.SAME))
        raise InputError(f"--changes has {text!r}; expected an object with some of {known} ({error}).") from error
    return changed


def save_splits(path: Path, train_images: int | None, *, choose: bool = False) -> None:
    """Writes what is trained on and what is scored to a file, so that no library has to import another to load them."""
    data = load("mnist")
    train = data.train.first(train_images)
    images, labels = np.asarray(train.images), np.asarray(train.labels)
    test_images, test_labels = np.asarray(data.test.images), np.asarray(data.test.labels)
    if choose:
        cut = len(images) - min(CHOSEN_ON, len(images) // 2)
        (images, test_images), (labels, test_labels) = np.split(images, [cut]), np.split(labels, [cut])
    np.savez(path, train_images=images, train_labels=labels, test_images=test_images, test_labels=test_labels)


def in_process(contender: Contender, changed: dict[str, Any], seed: int, splits: Path) -> dict[str, Any]:
    """Runs one training in its own process and returns its times in seconds and accuracies."""
    order = json.dumps([*contender, changed, seed, str(splits)])
    done = subprocess.run([sys.executable, trainings.__file__, order], stdout=subprocess.PIPE, text=True, check=True)
    first_step, seconds, accuracies = json.loads(done.stdout.splitlines()[-1])

    def until(accuracy: float) -> float | None:
        return next((s for s, reached in zip(seconds, accuracies, strict=True) if reached >= accuracy), None)

    return {
        **contender._asdict(),
        "changed": changed,
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
        f"{title(row)}, seed {row['seed']}: 99 % {reached}, {row['seconds'][-1]:.1f} s in all, "
        f"final {100 * row['final_accuracy']:.2f} %"
    )


def title(run: dict[str, Any]) -> str:
    """Returns the contender of a run in words, and what differs from its recipe."""
    changed = ", ".join(f"{name} {value}" for name, value in run["changed"].items())
    return " with ".join(filter(None, (str(Contender(run["library"], run["model"], run["kind"])), changed)))


def table(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows of medians over seeds; "-" where the median training did not reach the accuracy."""
    header = ["", "first step s", "98.5 % after s", "99 % after s", "99 % from start s", "final accuracy %"]
    rows = []
    for name in dict.fromkeys(map(title, runs)):
        found = [run for run in runs if title(run) == name]

        def median(of: Callable[[dict[str, Any]], float | None], found: list[dict[str, Any]] = found) -> str:
            values = [np.inf if value is None else value for value in map(of, found)]
            return f"{np.median(values):.1f}" if np.isfinite(np.median(values)) else "-"

        def from_start(run: dict[str, Any]) -> float | None:
            return None if run["seconds_to_99"] is None else run["first_step_seconds"] + run["seconds_to_99"]

        rows.append(
            [
                name,
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
