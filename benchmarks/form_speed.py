"""How fast are layers that have more than one cell in one direction, compared with other libraries?

Both directions, two layers with dropout between, lengths, episodes, peepholes, a projected output, layer normalization,
Elman's cell and dropout of the recurrence: each a layer of 28 steps of 28 features, timed as in `scan_speed.py` against
those libraries that have it; a loop of `jax.lax.scan` over the cell's step, differentiated by JAX, has all.

    python benchmarks/form_speed.py            an hour
    python benchmarks/form_speed.py --quick    a minute: one case
    python benchmarks/form_speed.py --busy 2 --peers "flax nnx" --output runs/form_speed_busy    beside other work
    rowrnn publish runs/form_speed   renews results/ and the pages from a finished run
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from benchmark import check_installed, open_benchmark
from layers import Case
from peers import Contender
from scan_speed import PROTOCOL
from timing import Timing, against_best, measure, versions

from rowrnn.lab.devices.mesh import cores
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import AtLeast, Count, KnownNames

LIBRARIES = ("torch", "flax nnx", "keras", "lax.scan")
BOTH = ("lstm", "gru")
FORMS: dict[tuple[str, str], tuple[str, ...]] = {
    **{(cell, "both directions"): LIBRARIES for cell in BOTH},
    **{(cell, "two layers"): LIBRARIES for cell in BOTH},
    **{(cell, "lengths"): LIBRARIES for cell in BOTH},
    **{(cell, "episodes"): ("lax.scan",) for cell in BOTH},
    **{(cell, "dropout of the recurrence"): ("keras", "lax.scan") for cell in BOTH},
    ("lstm", "projection"): ("torch", "lax.scan"),
    ("elman", ""): LIBRARIES,
    **{(cell, ""): ("lax.scan",) for cell in ("peephole_lstm", "layer_norm_lstm", "layer_norm_gru")},
}
"""Cells and forms of a layer, and who has them beside rowrnn."""
TRAINED = ("two layers", "dropout of the recurrence")
"""Forms with dropout, which answers do not have."""
SIZES = ((32, 128), (128, 128), (128, 32))
"""Batch and hidden size."""


@dataclass(frozen=True)
class Options(Timing):
    """Times layers of several forms, and compares them with other libraries."""

    threads: Count = field(default_factory=cores)
    """Threads of each contender."""
    peers: Annotated[tuple[str, ...], KnownNames(LIBRARIES)] = LIBRARIES
    """Libraries to compare with."""
    busy: Annotated[int, AtLeast(0)] = 0
    """Processes that compute beside the contenders all the time, each on a core, as others on a machine do."""
    output: Path = Path("runs/form_speed")
    """Directory for results; if it is taken, the next free name is used."""


PRESETS = {"quick": {"rounds": 3, "round_seconds": 0.05, "peers": ("lax.scan",)}}


def cases(quick: bool) -> list[Case]:
    """Returns all cases, or one if `quick`."""
    if quick:
        return [Case("lstm", 32, 32, 28, 28, "train", form="episodes")]
    return [
        Case(cell, batch, hidden, 28, 28, mode, form=form)
        for cell, form in FORMS
        for batch, hidden in SIZES
        for mode in (("train",) if form in TRAINED else ("train", "forward"))
    ]


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times all cases, saves the results after each, and prints the table."""
    check_installed("peers", options.peers)
    entries = {"peer_versions": versions(), "threads": options.threads}
    rows: list[dict[str, Any]] = []
    protocol = {name: PROTOCOL[name] for name in ("train", "forward", "ms", "floor", "spreads", "memory_mib")}
    # The contenders end before the benchmark does, which counts whatever still runs as other work.
    with open_benchmark("form_speed", protocol, options, chosen, **entries) as benchmark, ExitStack() as processes:
        names = ("rowrnn", *options.peers, "floor")
        contenders = {name: processes.enter_context(closing(Contender(name, options.threads))) for name in names}
        for _ in range(options.busy):
            processes.enter_context(other_work())
        for case in benchmark.track(cases(chosen["quick"])):
            with_it = [name for name in options.peers if name in FORMS[case.cell, case.form]]
            if not with_it:
                continue
            rows.append(measure(case, [contenders[name] for name in ("rowrnn", *with_it, "floor")], options))
            benchmark.save(cells=rows, summary=summary(rows), table=table(rows))
    for row in summary(rows):
        print(f"{row['mode']}: geometric mean {row['times_faster']:.2f}, least {row['least_times_faster']:.2f}.")


@contextmanager
def other_work() -> Iterator[None]:
    """Keeps a core busy with another process."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns for each mode how many times faster rowrnn is than the fastest peer: geometric mean, and least."""
    found = []
    for mode in ("train", "forward"):
        ratios = [against_best(row) for row in rows if row["mode"] == mode and row["peers"]]
        if ratios:
            mean = float(np.exp(np.mean(np.log(ratios))))
            found.append({"mode": mode, "times_faster": mean, "least_times_faster": min(ratios)})
    return found


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows: our time, each peer's, and how many times faster than the fastest."""
    names = [name for name in LIBRARIES if any(name in row["peers"] for row in rows)]
    body = [
        [
            " ".join(filter(None, (row["cell"], row["form"]))) + f", {row['batch']} x {row['hidden']}, {row['mode']}",
            f"{row['rowrnn_ms']:.3g}",
            *(f"{row['peers'][name]:.3g}" if name in row["peers"] else "-" for name in names),
            f"{against_best(row):.2f}",
            f"{row['rowrnn_ms'] / row['floor_ms']:.2f}" if row["floor_ms"] else "-",
        ]
        for row in rows
    ]
    header = ["layer, batch x hidden", "rowrnn ms", *(f"{name} ms" for name in names), "times the fastest", "floors"]
    return [header, *body]


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
