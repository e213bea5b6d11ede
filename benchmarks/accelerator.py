"""Is every backend right on this accelerator, and how fast are one LSTM or GRU layer and the main job there?

First each cell's values and gradients, by every backend that computes them here, are compared with the plain loop in
float64 on the CPU. Then `experiments/mnist_rows.py` is run. Last, one layer is timed against other libraries as in
`scan_speed.py`, whose torch runs cuDNN here.

    python benchmarks/accelerator.py           as long as --minutes allows, and what runs then
    python benchmarks/accelerator.py --quick   four computations, to see that it runs
    rowrnn publish runs/accelerator            renews results/ and the pages from a finished run
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import scan_speed
from benchmark import check_installed, open_benchmark
from flax import nnx
from layers import Case
from peers import Contender
from timing import Timing, against_best, line, measure, versions

from rowrnn import CELLS, explain, scan
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import KnownNames, Positive
from rowrnn.recurrence.backend_choice import BACKENDS

EXPERIMENT = Path(__file__).parents[1] / "experiments" / "mnist_rows.py"
PEERS = ("torch", "flax nnx", "lax.scan", "cudnn")
ROUNDING = ("rowrnn", "persistent", "torch", "flax nnx", "floor")
PRECISIONS = {"highest": "highest", "default": None}
BOUND = 1e-5
BATCH, STEPS, FEATURES, HIDDEN = 32, 28, 28, 64

PROTOCOL = {
    "correctness": "root of the mean squared difference ÷ root of the mean square, the greatest over outputs, last "
    "state and gradients of parameters and sequences; against the plain loop in float64 on the CPU; ragged sequences, "
    "in reverse",
    "precision": "of products in float32, `jax.default_matmul_precision`; by default a GPU rounds the factors to TF32",
    "bound": f"a backend counts as right below {BOUND} at the precision highest",
    "ms": "milliseconds of a step, median over rounds; train: forward, backward and Adam of one layer and a linear "
    "head; forward: all outputs of one layer; torch in its faster way",
    "one kernel": "rowrnn's backend `persistent`, where it takes the case",
    "contenders": "torch: cuDNN, eager or as a CUDA graph; cudnn: cuDNN's LSTM as `jax.experimental.rnn` has it",
    "bfloat16": "rowrnn rounds the factors of products only; torch computes and stores everything in bfloat16; flax "
    "computes in bfloat16",
    "main_job_seconds": "experiments/mnist_rows.py with its defaults: seconds of the whole process",
}


@dataclass(frozen=True)
class Options(Timing):
    """Checks every backend on this accelerator, and times one layer against other libraries and the main job."""

    round_seconds: Annotated[float, Positive()] = 0.05
    """Minimum seconds of a contender per round."""
    peers: Annotated[tuple[str, ...], KnownNames(PEERS)] = PEERS
    """Libraries to compare with."""
    minutes: Annotated[float, Positive()] = 7
    """Minutes after which no further computation is timed; the record names those that are left out."""
    main_job: bool = True
    """Whether to run the main job."""
    output: Path = Path("runs/accelerator")
    """Directory for results; if it is taken, the next free name is used."""


PRESETS = {"quick": {"rounds": 3, "main_job": False}}


def cases(quick: bool) -> list[Case]:
    """Returns the computations to be timed, four if `quick`."""
    sizes = [(128, 64)] if quick else [(128, 64), (128, 128), (128, 512), (128, 1024)]
    short = [
        Case(cell, batch, hidden, 28, 28, mode)
        for batch, hidden in sizes
        for cell in scan_speed.CELLS
        for mode in scan_speed.MODES
    ]
    if quick:
        return short
    rounded = [case._replace(dtype="bfloat16") for case in short if case.hidden > 64 and case.mode == "train"]
    long = [Case(cell, mode="train", **scan_speed.LONG) for cell in scan_speed.CELLS]
    return [*short, *rounded, *long]


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Checks, times and saves the results after each part.

    Raises:
        SystemExit: with code 1, once everything is saved, if a backend is wrong.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # All processes share the memory of the card.
    check_installed("peers", options.peers)
    began = time.monotonic()
    entries = {"device_kind": jax.devices()[0].device_kind, "peer_versions": versions()}
    with open_benchmark("accelerator", PROTOCOL, options, chosen, **entries) as benchmark, ExitStack() as processes:
        checked = check_all()
        wrong = [row for row in checked if row["precision"] == "highest" and not row["error"] < BOUND]
        benchmark.save(correctness=checked)
        if options.main_job:
            benchmark.save(main_job=main_job())
        peers = [
            processes.enter_context(closing(Contender(name, 4)))
            for name in ("rowrnn", "persistent", *options.peers, "floor")
        ]
        rows: list[dict[str, Any]] = []
        left_out: list[Case] = []
        for case in benchmark.track(cases(chosen["quick"])):
            if time.monotonic() - began > 60 * options.minutes:
                left_out.append(case)
                continue
            timed = [peer for peer in peers if case.dtype == "float32" or peer.name in ROUNDING]
            rows.append(measure(case, timed, options, compile_together=True))
            benchmark.save(cells=rows)
            print(line(rows[-1]), case.dtype)
        benchmark.save(left_out=[case._asdict() for case in left_out], table=table(rows))
    for row in wrong:
        print(f"{row['backend']} is off by {row['error']:.1e} for {row['cell']}.", file=sys.stderr)
    if wrong:
        raise SystemExit(1)


def check_all() -> list[dict[str, Any]]:
    """Returns the error of every cell by every backend that computes it here, in both precisions of products."""
    with ThreadPoolExecutor(8) as threads:  # Compilations of several threads run side by side.
        return [row for rows in threads.map(check, CELLS) for row in rows]


def check(kind: str) -> list[dict[str, Any]]:
    """Returns the errors of one cell, see `check_all`."""
    cpu = jax.devices("cpu")[0]
    with jax.enable_x64(True), jax.default_device(cpu):
        expected = jax.device_get(values_and_gradients(*problem(kind, jnp.float64), backend="plain"))
    found = []
    arguments = problem(kind, jnp.float32)
    for backend in (backend.name for backend in BACKENDS):
        try:
            explain(*arguments[:2], backend=backend)
        except ValueError:
            continue
        for precision, of_products in PRECISIONS.items():
            row = {"cell": kind, "backend": backend, "precision": precision}
            try:
                with jax.default_matmul_precision(of_products):
                    actual = jax.device_get(values_and_gradients(*arguments, backend=backend))
            except Exception as reason:  # A backend that does not compile here is a result too; the others go on.
                found.append({**row, "error": float("inf"), "reason": str(reason)[:500]})
                continue
            pairs = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
            found.append({**row, "error": max(_relative(*pair) for pair in pairs)})
    return found


def problem(kind: str, dtype: Any) -> tuple[Any, Any, Any]:
    """Returns a cell with random parameters, sequences and lengths, the same for every dtype."""
    draw = np.random.default_rng(0)
    cell = CELLS[kind](FEATURES, HIDDEN, dtype=dtype, rngs=nnx.Rngs(0))
    cell = jax.tree.map(lambda a: jnp.asarray(draw.standard_normal(a.shape) / HIDDEN**0.5, a.dtype), cell)
    x = jnp.asarray(draw.standard_normal((BATCH, STEPS, FEATURES)), dtype)
    return cell, x, jnp.asarray(draw.integers(0, STEPS + 1, BATCH))


@partial(jax.jit, static_argnames="backend")
def values_and_gradients(cell: Any, x: Any, lengths: Any, *, backend: str) -> Any:
    """Returns outputs, last state and the gradients of a loss that weights them by cosines."""

    def loss(cell: Any, x: Any) -> tuple[Any, Any]:
        values = scan(cell, x, lengths=lengths, reverse=True, backend=backend)
        return sum(map(weighted, jax.tree.leaves(values))), values

    def weighted(leaf: Any) -> Any:
        return (leaf * jnp.cos(jnp.arange(leaf.size, dtype=x.dtype)).reshape(leaf.shape)).sum()

    (_, values), gradients = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(cell, x)
    return values, gradients


def _relative(actual: Any, expected: Any) -> float:
    off, scale = (float(np.sqrt(np.mean(np.square(np.abs(a))))) for a in (actual - expected, expected))
    return off / scale if scale else off


def main_job() -> dict[str, Any]:
    """Runs the main job and returns the seconds of its process and its table."""
    with tempfile.TemporaryDirectory() as directory:
        started = time.perf_counter()
        subprocess.run([sys.executable, str(EXPERIMENT), "--output", f"{directory}/run"], check=True)
        seconds = time.perf_counter() - started
        found = json.loads((Path(directory) / "run" / "results.json").read_text(encoding="utf-8"))
    return {"seconds": seconds, "table": found["table"]}


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows: milliseconds of every contender, and how many times faster rowrnn is than each."""
    names = [name for name in PEERS if any(name in row["peers"] for row in rows)]
    header = ["", "rowrnn ms", "one kernel ms", *(f"{name} ms" for name in names), "times the fastest"]
    body = []
    for row in rows:
        steps = "" if row["t"] == 28 else f", {row['t']} steps"
        title = f"{row['cell'].upper()} {row['hidden']}, batch {row['batch']}{steps}, {row['mode']}, {row['dtype']}"
        times = (f"{row['peers'][name]:.3g}" if name in row["peers"] else "" for name in names)
        kernel = "" if row["persistent_ms"] is None else f"{row['persistent_ms']:.3g}"
        body.append([title, f"{row['rowrnn_ms']:.3g}", kernel, *times, f"{against_best(row):.2f}"])
    return [header, *body]


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
