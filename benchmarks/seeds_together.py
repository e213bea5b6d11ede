"""Is it faster to train five seeds together than in five runs one after the other?

Both train one model of experiments/mnist_rows.py with its default recipe. The time is that of whole processes, from
start to end; both ways are timed alternately.

    python benchmarks/seeds_together.py            ten minutes; gives the committed results
    python benchmarks/seeds_together.py --quick    a minute, to see that it runs
    rowrnn publish runs/seeds_together   renews results/ and the pages from a finished run
"""

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import open_benchmark

from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, OptionalCount

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "mnist_rows.py"
MODELS = {"lstm": "Row LSTM", "gru": "Row GRU"}
PROTOCOL = {
    "seconds": "wall time of whole processes with imports, compilation and pictures, median over rounds",
    "train_seconds": "seconds of training alone, without imports, compilation and pictures, median over rounds",
    "together": "one process that trains all seeds",
    "one_by_one": "sum over processes that train one seed each",
    "ratio": "median over rounds of the time together ÷ the time one by one",
}


@dataclass(frozen=True)
class Options:
    """Times seeds trained together, and compares with one run for each seed."""

    seeds: Count = 5
    """Number of seeds."""
    rounds: Count = 3
    """Rounds; both ways are run once in each."""
    epochs: Count = 4
    """Epochs of each training."""
    train_images: OptionalCount = None
    """Number of training images; default: all."""
    output: Path = Path("runs/seeds_together")
    """Directory for results; if it is taken, the next free name is used."""


PRESETS = {"quick": {"seeds": 2, "rounds": 1, "epochs": 1, "train_images": 2_560}}


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Runs all trainings, saves the results after each round of a model, and prints the table."""
    ways = {"together": [range(options.seeds)], "one_by_one": [range(s, s + 1) for s in range(options.seeds)]}
    rows: list[dict[str, Any]] = []
    with open_benchmark("seeds_together", PROTOCOL, options, chosen) as benchmark:
        for number, model in benchmark.track(itertools.product(range(options.rounds), MODELS)):
            row: dict[str, Any] = {"model": model, "round": number}
            # The order alternates, since the first one runs with colder caches.
            for way in list(ways)[:: -1 if number % 2 else 1]:
                runs = [train(model, seeds, options) for seeds in ways[way]]
                row[way] = {name: sum(seconds[name] for seconds in runs) for name in runs[0]}
            rows.append(row)
            benchmark.save(rounds=rows, summary=summary(rows), table=table(summary(rows)))


def train(model: str, seeds: range, options: Options) -> dict[str, float]:
    """Trains seeds of a model in one process; returns the seconds of the process and of training alone."""
    with tempfile.TemporaryDirectory() as directory:
        given = {"seed": seeds.start, "seeds": len(seeds), "epochs": options.epochs, "output": f"{directory}/run"}
        given |= {"train-images": options.train_images} if options.train_images else {}
        arguments = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, str(EXPERIMENT), "--models", model, *arguments], check=True, stdout=subprocess.DEVNULL
        )
        seconds = time.perf_counter() - started
        found = json.loads((Path(directory) / "run" / "results.json").read_text(encoding="utf-8"))
    return {"seconds": seconds, "train_seconds": found["summary"][0]["train_seconds"]}


def summary(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns for each model the medians of both ways and of their ratio."""
    found = []
    for model, title in MODELS.items():
        of_model = [row for row in rounds if row["model"] == model]
        if not of_model:
            continue
        row: dict[str, Any] = {"model": title}
        for name in ("seconds", "train_seconds"):
            together, one_by_one = ([r[way][name] for r in of_model] for way in ("together", "one_by_one"))
            row[name] = {
                "together": float(np.median(together)),
                "one_by_one": float(np.median(one_by_one)),
                "ratio": float(np.median(np.divide(together, one_by_one))),
            }
        found.append(row)
    return found


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows: wall times of both ways, their ratio, and the ratio of training alone."""
    header = ["", "together s", "one after the other s", "ratio", "ratio of training alone"]
    body = [
        [
            row["model"],
            *(f"{row['seconds'][way]:.0f}" for way in ("together", "one_by_one")),
            f"{row['seconds']['ratio']:.2f}",
            f"{row['train_seconds']['ratio']:.2f}",
        ]
        for row in rows
    ]
    return [header, *body]


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
