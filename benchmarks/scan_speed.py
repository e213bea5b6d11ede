"""How fast is one LSTM or GRU layer, compared with other libraries and with its bare matrix products?

Every contender runs in its own process with the same batch, dtype and threads. It is compiled and warmed up, and called
in the way that is fastest for it: step by step or many steps in one jitted loop, in JAX also with the batch sharded
over the cores. Contenders are timed in alternating rounds; results are medians, since a process can be slow by chance.

    python benchmarks/scan_speed.py            half an hour; the committed results are three runs joined with --join
    python benchmarks/scan_speed.py --quick    a minute: four cases
    rowrnn publish runs/scan_speed   renews results/ and the pages from a finished run
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
from benchmark import check_installed, open_benchmark
from layers import Case
from peers import CONTENDERS, Contender
from timing import OURS, Timing, against_best, line, measure, versions

from rowrnn.lab.devices.mesh import cores
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, KnownNames
from rowrnn.lab.report.machine_load import others_load
from rowrnn.lab.runs.record import Record, load_run
from rowrnn.recurrence.cost import FORWARD, TRAIN, Cost, Rates

CELLS, BATCHES, HIDDEN = ("lstm", "gru"), (1, 32, 128, 512), (32, 128, 256)
MODES = ("train", "forward")
LONG = {"batch": 64, "hidden": 64, "t": 784, "d": 1}
PEERS = tuple(name for name in CONTENDERS if name not in (*OURS, "cudnn"))

PROTOCOL = {
    "train": "forward, backward and Adam of one layer and a linear head on its last output, float32",
    "forward": "all outputs of one layer, float32",
    "checkpoints": "rowrnn with the state kept after every √t steps only, and the steps between computed again in the "
    "backward pass",
    "floor": "the matrix products of the same step and nothing else, in XLA, on one device or on one per core, "
    "whichever is faster; native code that keeps their results in the processor's cache can be faster still. Its mean "
    "leaves out batch 1, of which XLA uses one core",
    "ms": "milliseconds of a step, median over rounds",
    "predicted": "the milliseconds that `rowrnn.recurrence.cost` predicts ÷ those measured; its two rates are from the "
    "forward passes of 256 units at batch 128 and 1, which are left out",
    "spreads": "first and third quartile over rounds of the milliseconds of a step",
    "memory_mib": "outputs and temporaries that XLA plans for, without what native code allocates itself",
}


@dataclass(frozen=True)
class Options(Timing):
    """Times one LSTM or GRU layer, and compares it with other libraries and with its bare matrix products."""

    threads: Count = field(default_factory=cores)
    """Threads of each contender."""
    output: Path = Path("runs/scan_speed")
    """Directory for results and figure; if it is taken, the next free name is used."""
    peers: Annotated[tuple[str, ...], KnownNames(PEERS)] = PEERS
    """Libraries to compare with."""
    join: tuple[Path, ...] = ()
    """Finished runs to join instead of measuring; each number becomes the median over these runs."""


PRESETS = {"quick": {"rounds": 3, "round_seconds": 0.05}}


def cases(quick: bool) -> list[Case]:
    """Returns all cases, or four if `quick`."""
    if quick:
        return [Case(cell, 128, 128, 28, 28, mode) for cell in CELLS for mode in MODES]
    grid = itertools.product(CELLS, BATCHES, HIDDEN, MODES)
    short = [Case(cell, batch, hidden, 28, 28, mode) for cell, batch, hidden, mode in grid]
    return short + [Case(cell=cell, mode=mode, **LONG) for cell in CELLS for mode in MODES]


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times all cases, saves the results after each, and prints the table."""
    if not options.join:
        check_installed("peers", options.peers)
    records = [load_run(directory)[0] for directory in options.join]
    finished = [record.entries["cells"] for record in records]
    names = () if finished else ("rowrnn", "checkpoints", *options.peers, "floor")
    protocol = {**PROTOCOL, "runs": max(1, len(finished))}
    entries: dict[str, Any] = {"peer_versions": versions(), "threads": options.threads}
    if records:
        entries["joined"] = [about(record) for record in records]
    opened = open_benchmark("scan_speed", protocol, options, chosen, **entries)
    rows: list[dict[str, Any]] = []
    with opened as benchmark, ExitStack() as processes:
        peers = [processes.enter_context(closing(Contender(name, options.threads))) for name in names]
        for number, case in enumerate(benchmark.track(cases(chosen["quick"]))):
            rows.append(joined([cells[number] for cells in finished]) if finished else measure(case, peers, options))
            loads = {"others_load": max(others_load(record) for record in records)} if records else {}
            ratios = [{**row, **loads} for row in summary(rows)]
            benchmark.save(cells=rows, summary=ratios, table=table(rows), predicted=predicted(rows))
            print(line(rows[-1]))
        draw(rows, benchmark.run.directory / "ratios.png")
    for row in summary(rows):
        means = ", ".join(f"{ratio:.2f} times {name}" for name, ratio in row["times_faster"].items())
        print(f"{row['mode']}, geometric means: {means}, {row['floors']:.2f} floors;")
        print(f"    least {row['least_times_faster']:.2f} times the fastest peer.")
        if leasts := [f"{about(record)['times_faster'][row['mode']]['least']:.2f}" for record in records]:
            print(f"    least in each of the runs: {', '.join(leasts)}.")
    if ratios := predicted(rows):
        close, off = sum(0.8 <= ratio <= 1.25 for ratio in ratios), f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"The cost model: {close} of {len(ratios)} within a quarter of the time, {off} times it.")


def about(record: Record) -> dict[str, Any]:
    """Returns what tells a run from the others that it is joined with: when and with what it ran, and its ratios."""
    told = ("started", "versions", "peer_versions", "others_load", "threads")
    ratios = {
        row["mode"]: {"times_faster": row["times_faster"]["the fastest peer"], "least": row["least_times_faster"]}
        for row in record.summary
    }
    return {**{name: record.entries.get(name) for name in told}, "times_faster": ratios}


def joined(rows: Sequence[Any]) -> Any:
    """Joins the same result of several runs: medians of numbers, the most frequent of strings.

    Of what only some of the runs have, as the time of a peer that failed in another, it joins those.
    """
    first = rows[0]
    if isinstance(first, dict):
        names = dict.fromkeys(name for row in rows for name in row)
        return {name: joined([row[name] for row in rows if name in row]) for name in names}
    if isinstance(first, list):
        return [joined(values) for values in zip(*rows, strict=True)]
    if isinstance(first, int | float):
        return statistics.median(rows)
    return statistics.mode(rows)


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns for each mode the geometric means of the ratios over all cases, and the smallest ratio."""

    def mean(ratios: list[float]) -> float:
        return float(np.exp(np.mean(np.log(ratios)))) if ratios else math.nan

    found = []
    for mode in MODES:
        of_mode = [row for row in rows if row["mode"] == mode]
        if not of_mode:
            continue
        ratios = [against_best(row) for row in of_mode if row["peers"]]
        times = {
            name: [row["peers"][name] / row["rowrnn_ms"] for row in of_mode if name in row["peers"]]
            for name in dict.fromkeys(name for row in of_mode for name in row["peers"])
        }
        peers = {name: mean(ratios_of_one) for name, ratios_of_one in times.items()}
        found.append(
            {
                "mode": mode,
                "cases": len(of_mode),
                "times_faster": {"the fastest peer": mean(ratios), **peers},
                "least_times_faster": min(ratios, default=math.nan),
                "floors": mean(
                    [row["rowrnn_ms"] / row["floor_ms"] for row in of_mode if row["floor_ms"] and row["batch"] > 1]
                ),
                "compile_seconds": {
                    name: float(
                        np.median([row["compile_seconds"][name] for row in of_mode if name in row["compile_seconds"]])
                    )
                    for name in ("rowrnn", *peers)
                },
            }
        )
    return found


def predicted(rows: list[dict[str, Any]]) -> list[float]:
    """Returns how many times its measured milliseconds the cost model predicts for each row.

    The two rates that the model measures are here those of two of the rows of each cell, which are left out.
    """
    ratios = []
    for name, gates in (("lstm", 4), ("gru", 3)):
        of_cell = [row for row in rows if row["cell"] == name]
        costs = [Cost.of(gates, row["batch"], row["t"], row["d"], row["hidden"]) for row in of_cell]
        sizes = [(row["mode"], row["batch"], row["hidden"], row["t"]) for row in of_cell]
        measured = [("forward", batch, HIDDEN[-1], 28) for batch in (128, 1)]
        if not set(measured) <= set(sizes):
            continue
        many, one = map(sizes.index, measured)
        seconds = [1e-3 * row["rowrnn_ms"] for row in of_cell]
        rates = Rates.of_times(costs[many], seconds[many], costs[one], seconds[one])
        ratios += [
            cost.seconds(rates, TRAIN if size[0] == "train" else FORWARD) / taken
            for cost, size, taken in zip(costs, sizes, seconds, strict=True)
            if size not in measured
        ]
    return ratios


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows: cells and sizes by batch size; for long sequences also the memory."""
    sizes = sorted({(row["t"], row["hidden"], row["batch"]) for row in rows})
    batches = sorted({batch for t, _, batch in sizes if t == 28})
    header = ["", *(f"batch {batch}" for batch in batches)]
    body = []
    for mode, cell in itertools.product(MODES, CELLS):
        for t, hidden in sorted({(t, hidden) for t, hidden, _ in sizes}):
            found = {
                r["batch"]: r for r in rows if (r["mode"], r["cell"], r["t"], r["hidden"]) == (mode, cell, t, hidden)
            }
            name = f"{cell.upper()} {hidden}, {mode}"
            if t == 28 and found:
                body.append([name, *(_entry(found[batch]) if batch in found else "" for batch in batches)])
            for row in found.values() if t != 28 else ():
                notes = [f"batch {row['batch']}: {_entry(row)}", *_memories(row)]
                body.append([f"{name}, {t} steps", *notes, *[""] * (len(batches) - len(notes))])
    return [header, *body]


def _entry(row: Mapping[str, Any]) -> str:
    return f"{row['rowrnn_ms']:.3g} ms, {against_best(row):.2f}x"


def _memories(row: Mapping[str, Any]) -> list[str]:
    """Returns the memory of training on long sequences as text: of rowrnn, with checkpoints and of the plain scan."""
    if row.get("checkpoints_ms") is None or "lax.scan" not in row["peers"]:
        return []
    memory, times = row["memory_mib"], {"checkpoints": row["checkpoints_ms"], "lax.scan": row["peers"]["lax.scan"]}
    others = [f"{name}: {ms:.3g} ms, {memory[name]:.3g} MiB" for name, ms in times.items()]
    return [f"{memory['rowrnn']:.3g} MiB", *others]


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws how many times faster rowrnn is than each peer, for every case."""
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(MODES), len(CELLS), figsize=(12, 7), sharex=True, sharey=True, constrained_layout=True, squeeze=False
    )
    for (mode, cell), axis in zip(itertools.product(MODES, CELLS), axes.ravel(), strict=True):
        of_axis = [row for row in rows if (row["mode"], row["cell"]) == (mode, cell)]
        for color, name in zip(matplotlib.color_sequences["tab10"], PEERS, strict=False):
            ratios = [row["peers"].get(name, math.nan) / row["rowrnn_ms"] for row in of_axis]
            axis.plot(ratios, "o", color=color, label=name, alpha=0.8)
        axis.axhline(1, color="gray", linewidth=1)
        axis.set(title=f"{cell.upper()}, {mode}", yscale="log")
        labels = [f"{row['batch']}·{row['hidden']}" + (f"·t{row['t']}" if row["t"] != 28 else "") for row in of_axis]
        axis.set_xticks(range(len(labels)), labels, rotation=60, fontsize=8)
        axis.set_yticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
        axis.grid(alpha=0.25)
    for axis in axes[:, 0]:
        axis.set_ylabel("times faster than the peer")
    for axis in axes[-1]:
        axis.set_xlabel("batch·hidden")
    axes[0, 0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
