"""How much slower is a Flax module than the bare function of its arrays?

Both compute the same, are jitted and are called step by step. They are timed alternately in one process.

    python benchmarks/module_cost.py            a minute; gives the committed results
    rowrnn publish runs/module_cost   renews results/ and the pages from a finished run
"""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from benchmark import open_benchmark
from flax import nnx
from layers import Case, jax_variants

from rowrnn import CELLS, Rows
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count
from rowrnn.recurrence.array_form import Steps, Weights, recur
from rowrnn.recurrence.fused import FusedPasses
from rowrnn.recurrence.native import NativePasses, unavailable

MODES = ("forward", "train")
PROTOCOL = {
    "module": "milliseconds of a step that takes a rowrnn.Rows, a module, as an argument of a jitted function",
    "bare": "the same with a tuple of arrays, computed by rowrnn.recurrence.array_form.recur",
    "forward": "all outputs, float32, images of 28x28",
    "train": "forward, backward and Adam, with a linear head on the last output, float32, images of 28x28",
    "milliseconds": "median over rounds",
    "ratio": "median over rounds of the time of the module ÷ that of the bare function",
}


@dataclass(frozen=True)
class Options:
    """Times a module against the bare function of its arrays."""

    batch: Count = 128
    """Images per step."""
    hidden: Count = 128
    """Hidden units."""
    rounds: Count = 21
    """Rounds; both are timed once in each."""
    steps: Count = 40
    """Steps per round."""
    output: Path = Path("runs/module_cost")
    """Directory for results; if it is taken, the next free name is used."""


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times LSTM and GRU, forward and training, and prints the table."""
    cases: list[dict[str, Any]] = []
    with open_benchmark("module_cost", PROTOCOL, options, chosen) as benchmark:
        for cell, mode in benchmark.track(itertools.product(("lstm", "gru"), MODES)):
            cases.append(measure(cell, mode, options))
            benchmark.save(cases=cases, table=table(cases))


def measure(cell: str, mode: str, options: Options) -> dict[str, Any]:
    """Times a cell in a mode; returns the median milliseconds of module and bare function, and of their ratio."""
    case = Case(cell, options.batch, options.hidden, 28, 28, mode)
    timed = {name: next(jax_variants(case, layer, (1,))).run for name, layer in LAYERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(options.rounds):
        # The order alternates, since the first one runs with colder caches.
        for name in list(timed)[:: 1 if number % 2 else -1]:
            timed[name](1)
            started = time.perf_counter()
            timed[name](options.steps)
            seconds[name].append((time.perf_counter() - started) / options.steps)
    milliseconds = {name: float(1e3 * np.median(times)) for name, times in seconds.items()}
    ratio = float(np.median(np.divide(seconds["module"], seconds["bare"])))
    return {"cell": cell, "mode": mode, "milliseconds": milliseconds, "ratio": ratio}


def module_layer(case: Case) -> tuple[Any, Any]:
    """Returns a `rowrnn.Rows` module and its call."""
    return Rows(CELLS[case.cell](case.d, case.hidden, rngs=nnx.Rngs(0))), lambda module, x: module(x)[0]


def bare_layer(case: Case) -> tuple[Any, Any]:
    """Returns the arrays of the same cell, and the function of them that computes the same outputs."""
    cell: Any = CELLS[case.cell](case.d, case.hidden, rngs=nnx.Rngs(0))
    passes = (FusedPasses if unavailable() else NativePasses)(case.cell, reverse=False)

    def outputs(weights: Any, x: Any) -> Any:
        zeros = jnp.zeros((len(x), case.hidden))
        state = zeros, zeros if case.cell == "lstm" else None
        return recur(passes, False, x, weights, state, Steps(None, None, None))[0]

    return Weights(*cell.as_arrays()), outputs


LAYERS = {"module": module_layer, "bare": bare_layer}


def table(cases: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows: both times and their ratio."""
    rows = [
        [
            f"{case['cell'].upper()}, {case['mode']}",
            *(f"{case['milliseconds'][name]:.2f}" for name in ("module", "bare")),
            f"{case['ratio']:.3f}",
        ]
        for case in cases
    ]
    return [["", "module ms", "bare ms", "ratio"], *rows]


if __name__ == "__main__":
    run_experiment(Options, main, {})
