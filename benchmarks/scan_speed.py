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
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
from benchmark import check_installed, open_benchmark
from layers import Case
from peers import CONTENDERS, Contender

from rowrnn.lab.devices.mesh import cores
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, KnownNames, Positive
from rowrnn.lab.runs.record import load_run

CELLS, BATCHES, HIDDEN = ("lstm", "gru"), (1, 32, 128, 512), (32, 128, 256)
MODES = ("train", "forward")
LONG = {"batch": 64, "hidden": 64, "t": 784, "d": 1}
OURS = ("rowrnn", "persistent", "checkpoints", "floor")
PEERS = tuple(name for name in CONTENDERS if name not in (*OURS, "cudnn"))

PROTOCOL = {
    "train": "forward, backward and Adam of one layer and a linear head on its last output, float32",
    "forward": "all outputs of one layer, float32",
    "checkpoints": "rowrnn with the state kept after every √t steps only, and the steps between computed again in the "
    "backward pass",
    "floor": "the matrix products of the same step and nothing else, in XLA, on one device or on one per core, "
    "whichever is faster; native code that keeps their results in the processor's cache can be faster still",
    "ms": "milliseconds of a step, median over rounds",
    "spreads": "first and third quartile over rounds of the milliseconds of a step",
    "memory_mib": "outputs and temporaries that XLA plans for, without what native code allocates itself",
}


@dataclass(frozen=True)
class Options:
    """Times one LSTM or GRU layer, and compares it with other libraries and with its bare matrix products."""

    rounds: Count = 7
    """Rounds; every contender is timed once in each."""
    round_seconds: Annotated[float, Positive()] = 0.15
    """Minimum seconds of a contender per round."""
    least_steps: Count = 8
    """Minimum steps of a contender per round."""
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
    finished = [load_run(directory)[0].entries["cells"] for directory in options.join]
    names = () if finished else ("rowrnn", "checkpoints", *options.peers, "floor")
    protocol = {**PROTOCOL, "runs": max(1, len(finished))}
    entries = {"peer_versions": versions(), "threads": options.threads}
    opened = open_benchmark("scan_speed", protocol, options, chosen, **entries)
    rows: list[dict[str, Any]] = []
    with opened as benchmark, ExitStack() as processes:
        peers = [processes.enter_context(closing(Contender(name, options.threads))) for name in names]
        for number, case in enumerate(benchmark.track(cases(chosen["quick"]))):
            rows.append(joined([cells[number] for cells in finished]) if finished else measure(case, peers, options))
            benchmark.save(cells=rows, summary=summary(rows), table=table(rows))
            print(line(rows[-1]))
        draw(rows, benchmark.run.directory / "ratios.png")
    for row in summary(rows):
        means = ", ".join(f"{ratio:.2f} times {name}" for name, ratio in row["times_faster"].items())
        print(f"{row['mode']}, geometric means: {means}, {row['floors']:.2f} floors;")
        print(f"    least {row['least_times_faster']:.2f} times the fastest peer.")


def versions() -> dict[str, str]:
    """Returns the versions of the compared libraries that are installed."""
    return {name: version(name) for name in ("torch", "flax", "keras", "jax") if find_spec(name)}


def measure(
    case: Case, contenders: Iterable[Contender], options: Options, *, compile_together: bool = False
) -> dict[str, Any]:
    """Times a case with every contender and returns medians; "checkpoints" only in training over more than 28 steps.

    Args:
        case: what is computed.
        contenders: who computes it; those without a variant of it are left out.
        options: rounds and steps.
        compile_together: whether all compile at the same time, which lengthens their compile times.
    """
    long = case.t > 28 and case.mode == "train"
    peers = [peer for peer in contenders if long or peer.name != "checkpoints"]
    best: dict[str, tuple[str, int]] = {}
    compile_seconds, memory = {}, {}
    if compile_together:
        for peer in peers:
            peer.tell(prepare=case._asdict())
        prepared = {peer.name: peer.hear() for peer in peers}
        peers = [peer for peer in peers if prepared[peer.name]]
    for peer in peers:
        timed = {}
        for name, seconds, mib in prepared[peer.name] if compile_together else peer.ask(prepare=case._asdict()):
            peer.ask(variant=name, steps=2)
            once = peer.ask(variant=name, steps=1)[0]
            steps = steps_in(options.round_seconds / 2, once, options)
            timed[name] = (peer.ask(variant=name, steps=steps)[0] / steps, seconds, mib)
        name = min(timed, key=lambda name: timed[name][0])
        best[peer.name] = name, steps_in(options.round_seconds, timed[name][0], options)
        compile_seconds[peer.name], memory[peer.name] = timed[name][1:]
    milliseconds: dict[str, list[float]] = {peer.name: [] for peer in peers}
    faults: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(options.rounds):
        for peer in peers:
            name, steps = best[peer.name]
            seconds, faulted = peer.ask(variant=name, steps=steps)
            milliseconds[peer.name].append(1e3 * seconds / steps)
            faults[peer.name].append(faulted / steps)
    median = {name: float(np.median(times)) for name, times in milliseconds.items()}
    return {
        **case._asdict(),
        "rowrnn_ms": median["rowrnn"],
        "floor_ms": median.get("floor"),
        "checkpoints_ms": median.get("checkpoints"),
        "persistent_ms": median.get("persistent"),
        "peers": {name: median[name] for name in median if name not in OURS},
        "spreads": {name: np.percentile(times, [25, 75]).tolist() for name, times in milliseconds.items()},
        "variants": {name: variant for name, (variant, _) in best.items()},
        "compile_seconds": compile_seconds,
        "memory_mib": memory,
        "page_faults": {name: float(np.median(counts)) for name, counts in faults.items()},
    }


def joined(rows: Sequence[Any]) -> Any:
    """Joins the same result of several runs: medians of numbers, the most frequent of strings."""
    first = rows[0]
    if isinstance(first, dict):
        return {name: joined([row[name] for row in rows]) for name in first}
    if isinstance(first, list):
        return [joined(values) for values in zip(*rows, strict=True)]
    if isinstance(first, int | float):
        return statistics.median(rows)
    return statistics.mode(rows)


def steps_in(seconds: float, one_step: float, options: Options) -> int:
    """Returns the number of steps that take `seconds`, and enough to make a jitted loop's allocations negligible."""
    return max(options.least_steps, math.ceil(seconds / max(one_step, 1e-6)))


def against_best(row: Mapping[str, Any]) -> float:
    """Returns how many times faster rowrnn is than the fastest peer."""
    return min(row["peers"].values()) / row["rowrnn_ms"]


def line(row: Mapping[str, Any]) -> str:
    """Formats the result of one case as a line."""
    best = min(row["peers"], key=row["peers"].get)
    return (
        f"{row['cell']:4} {row['mode']:7} batch {row['batch']:3} hidden {row['hidden']:3} steps {row['t']:3}  "
        f"{row['rowrnn_ms']:8.3f} ms  {against_best(row):5.2f} times {best}, "
        f"{row['rowrnn_ms'] / row['floor_ms']:.2f} floors"
    )


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns for each mode the geometric means of the ratios over all cases, and the smallest ratio."""

    def mean(ratios: list[float]) -> float:
        return float(np.exp(np.mean(np.log(ratios))))

    found = []
    for mode in MODES:
        of_mode = [row for row in rows if row["mode"] == mode]
        if not of_mode:
            continue
        ratios = [against_best(row) for row in of_mode]
        peers = {name: mean([row["peers"][name] / row["rowrnn_ms"] for row in of_mode]) for name in of_mode[0]["peers"]}
        found.append(
            {
                "mode": mode,
                "cases": len(of_mode),
                "times_faster": {"the fastest peer": mean(ratios), **peers},
                "least_times_faster": min(ratios),
                "floors": mean([row["rowrnn_ms"] / row["floor_ms"] for row in of_mode]),
                "compile_seconds": {
                    name: float(np.median([row["compile_seconds"][name] for row in of_mode]))
                    for name in ("rowrnn", *peers)
                },
            }
        )
    return found


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
