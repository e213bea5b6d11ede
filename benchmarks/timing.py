"""How a case is timed: every contender in alternating rounds, of which the medians count."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, Any

import numpy as np
from layers import Case
from peers import Contender

from rowrnn.lab.experiment.option_checks import Count, Positive

OURS = ("rowrnn", "persistent", "checkpoints", "floor")
"""Contenders that are no other library."""


@dataclass(frozen=True)
class Timing:
    """Options of every benchmark that times contenders."""

    rounds: Count = 7
    """Rounds; every contender is timed once in each."""
    round_seconds: Annotated[float, Positive()] = 0.15
    """Minimum seconds of a contender per round."""
    least_steps: Count = 8
    """Minimum steps of a contender per round."""


def measure(
    case: Case, contenders: Iterable[Contender], options: Timing, *, compile_together: bool = False
) -> dict[str, Any]:
    """Times a case with every contender and returns medians; "checkpoints" only in training over more than 28 steps.

    Args:
        case: what is computed.
        contenders: who computes it, rowrnn among them. Others without a variant of it are left out, and so are those
            that cannot prepare it, whose errors are in the row.
        options: rounds and steps.
        compile_together: whether all compile at the same time, which lengthens their compile times.

    Raises:
        RuntimeError: if rowrnn cannot prepare it, or a process ends.
    """
    long = case.t > 28 and case.mode == "train"
    peers = [peer for peer in contenders if long or peer.name != "checkpoints"]
    best: dict[str, tuple[str, int]] = {}
    compile_seconds, memory = {}, {}
    prepared = prepare(case, peers, together=compile_together)
    failed = {name: answer for name, answer in prepared.items() if isinstance(answer, str)}
    if "rowrnn" in failed:
        raise RuntimeError(f"rowrnn does not compute {case}: {failed['rowrnn']}")
    for name, reason in failed.items():
        print(f"{name} does not compute {case}: {reason}", file=sys.stderr)
    peers = [peer for peer in peers if prepared[peer.name] and peer.name not in failed]
    for peer in peers:
        timed = {}
        for name, seconds, mib in prepared[peer.name]:
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
        "failed": failed,
        "page_faults": {name: float(np.median(counts)) for name, counts in faults.items()},
    }


def prepare(case: Case, peers: Sequence[Contender], *, together: bool) -> dict[str, Any]:
    """Returns by contender's name what it answers when told to prepare a case, see `peers.serve`."""
    if not together:
        return {peer.name: peer.ask(prepare=case._asdict()) for peer in peers}
    for peer in peers:
        peer.tell(prepare=case._asdict())
    return {peer.name: peer.hear() for peer in peers}


def steps_in(seconds: float, one_step: float, options: Timing) -> int:
    """Returns the number of steps that take `seconds`, and enough to make a jitted loop's allocations negligible."""
    return max(options.least_steps, math.ceil(seconds / max(one_step, 1e-6)))


def against_best(row: Mapping[str, Any]) -> float:
    """Returns how many times faster rowrnn is than the fastest peer; NaN if none computed the case."""
    return min(row["peers"].values(), default=math.nan) / row["rowrnn_ms"]


def line(row: Mapping[str, Any]) -> str:
    """Formats the result of one case as a line."""
    best = min(row["peers"], key=row["peers"].get, default="nobody")
    floors = row["rowrnn_ms"] / row["floor_ms"] if row["floor_ms"] else math.nan
    return (
        f"{row['cell']:4} {row['mode']:7} batch {row['batch']:3} hidden {row['hidden']:3} steps {row['t']:3}  "
        f"{row['rowrnn_ms']:8.3f} ms  {against_best(row):5.2f} times {best}, {floors:.2f} floors"
    )


def versions() -> dict[str, str]:
    """Returns the versions of the compared libraries that are installed."""
    return {name: version(name) for name in ("torch", "flax", "keras", "jax") if find_spec(name)}
