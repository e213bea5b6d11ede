"""What a scan of a gated cell costs in compiled code, and how long it should take on this CPU: a roofline.

The products of a scan take as long as their operations, or as long as their weights take to be read, whichever is
longer; what is done to each value of a gate comes on top:

    seconds = max(operations / speed, bytes / bandwidth) + gate values · operations of one / speed

Speed and bandwidth are measured with two scans, one of many sequences and one of a single one. What a gate value costs,
and how often training reads the weights, are taken to be the same on all machines: they are fitted to the grid of
`benchmarks/scan_speed.py`, which says how far the predictions are off.
"""

import statistics
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from rowrnn.cells import Cell, GatedCell
from rowrnn.recurrence.array_form import RECURRENT_CELLS, recurrence_of
from rowrnn.recurrence.backend import Backend, ScanCall, name_of

ROUNDS, ROUND_SECONDS = 5, 0.02


class Mode(NamedTuple):
    """What one way to run a scan takes.

    Args:
        products: how often it computes the products of the forward pass, or as many operations.
        reads: how often it reads or writes the weights.
        gate: operations for each value of a gate, in those of a product that take as long.
    """

    products: float
    reads: float
    gate: float


FORWARD, TRAIN = Mode(1, 1, 100), Mode(3, 3.75, 320)


@dataclass(frozen=True)
class Cost:
    """What the forward pass of a scan consists of.

    Args:
        steps: steps that follow each other.
        operations: multiplications and additions in products.
        weight_bytes: bytes of the weights that these read at each step.
        gate_values: values of gates that are computed.
    """

    steps: int
    operations: int
    weight_bytes: int
    gate_values: int

    @classmethod
    def of(cls, gates: int, sequences: int, steps: int, features: int, hidden: int) -> "Cost":
        """Returns the cost of a cell with this number of gates, each a product of the input and one of the state."""
        weights = (features + hidden) * gates * hidden
        count = sequences * steps
        return cls(steps, 2 * count * weights, 4 * weights, count * gates * hidden)

    def seconds(self, rates: "Rates", mode: Mode = FORWARD) -> float:
        """Predicts how long it takes."""
        return max(self._parts(rates, mode)) + mode.gate * self.gate_values / rates.operations

    def is_bound_by_reading(self, rates: "Rates", mode: Mode = FORWARD) -> bool:
        """Returns whether reading the weights takes longer than the operations with them."""
        operations, reading = self._parts(rates, mode)
        return reading > operations

    def _parts(self, rates: "Rates", mode: Mode) -> tuple[float, float]:
        operations = mode.products * self.operations / rates.operations
        return operations, mode.reads * self.steps * self.weight_bytes / rates.bytes


class Rates(NamedTuple):
    """What a machine does in a second: operations of products, and bytes of weights read."""

    operations: float
    bytes: float

    @classmethod
    def of_times(cls, many: Cost, many_seconds: float, one: Cost, one_seconds: float) -> "Rates":
        """Returns the rates at which forward passes of many sequences and of one take these times."""
        operations = (many.operations + FORWARD.gate * many.gate_values) / many_seconds
        reading = one_seconds - FORWARD.gate * one.gate_values / operations
        return cls(operations, one.steps * one.weight_bytes / reading)


def described_cost(cell: Cell, call: ScanCall, backend: Backend) -> str:
    """Describes what a call costs and how long it should take, in lines; measures this machine for about a second.

    Raises:
        ValueError: if the cell has other products than `Cost` counts, or another backend than "native" computes it.
    """
    if not (recurrence_of(cell) and isinstance(cell, GatedCell)):
        raise ValueError(f"explain predicts the cost of {RECURRENT_CELLS}, not of {name_of(cell)}.")
    if backend.name != "native":
        raise ValueError(f"explain predicts the cost of the backend 'native', and {backend.name!r} computes this scan.")
    b, t, d = call.x.shape
    cost = Cost.of(len(cell.gate_names), b, t, d, cell.hidden)
    rates = measured_rates(type(cell), backend)
    forward, train = (1e3 * cost.seconds(rates, mode) for mode in (FORWARD, TRAIN))
    bound = "reading the weights" if cost.is_bound_by_reading(rates) else "operations"
    return "\n".join(
        [
            f"products: {cost.operations * 1e-9:.3g} GFLOP, {t} steps one after the other; bound by {bound}",
            f"weights: {cost.weight_bytes / 1024:.4g} KiB, read at each step",
            f"here: {rates.operations * 1e-9:.3g} GFLOP/s in products, {rates.bytes * 1e-9:.3g} GB/s of weights",
            f"predicted: {forward:.3g} ms forward, {train:.3g} ms with gradients",
        ]
    )


STEPS, FEATURES, HIDDEN = 28, 28, 256
MEASURED = {128: 1, 1: 50}
"""By the number of sequences, how many scans follow each other in a call, which takes time by itself."""


@cache
def measured_rates(kind: type[GatedCell], backend: Backend) -> Rates:
    """Measures both rates of this machine with two scans, once."""
    cell = kind(FEATURES, HIDDEN, rngs=nnx.Rngs(0))
    costs = [Cost.of(len(cell.gate_names), sequences, STEPS, FEATURES, HIDDEN) for sequences in MEASURED]
    many, one = (seconds_of(cell, sequences, scans, backend) for sequences, scans in MEASURED.items())
    return Rates.of_times(costs[0], many, costs[1], one)


def seconds_of(cell: GatedCell, sequences: int, scans: int, backend: Backend) -> float:
    """Returns the median time of a forward pass of so many sequences."""
    x = jnp.ones((sequences, STEPS, FEATURES))

    @jax.jit
    def run(cell: GatedCell, x: jax.Array) -> Any:
        # Each from the last state of the one before, so that they follow each other.
        state = cell.initial_state(cell.project(x[:, 0]))
        return jax.lax.fori_loop(0, scans, lambda _, state: backend.run(cell, ScanCall(x, state=state))[0], state)

    jax.block_until_ready(run(cell, x))
    found = []
    for _ in range(ROUNDS):
        started, runs = time.perf_counter(), 0
        while runs == 0 or time.perf_counter() - started < ROUND_SECONDS:
            jax.block_until_ready(run(cell, x))
            runs += scans
        found.append((time.perf_counter() - started) / runs)
    return statistics.median(found)
