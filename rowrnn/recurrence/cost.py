"""What a scan of a gated cell costs, and how long it should take on this CPU: a roofline.

The products of a scan take as long as their operations, or as long as their weights take to be read, whichever is
longer; what is done to each value of a gate comes on top:

    seconds = max(operations / speed, bytes / bandwidth) + gate values · operations of one / speed

Speed and bandwidth are measured with two scans by the same backend, one of many sequences and one of a single one. What
a gate value costs, and how often training reads the weights, are the same for all machines here: they are fitted to the
grid of `benchmarks/scan_speed.py`, which says how far the predictions are off.
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
from rowrnn.recurrence.backend import Backend, ScanCall, dtype_of, name_of

ROUNDS, ROUND_SECONDS, SCANS = 5, 0.02, 16


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
        sequences: number of sequences.
        steps: steps that follow each other.
        operations: multiplications and additions in products.
        weight_bytes: bytes of the weights that these read at each step.
        gate_values: values of gates that are computed.
    """

    sequences: int
    steps: int
    operations: int
    weight_bytes: int
    gate_values: int

    @classmethod
    def of(cls, gates: int, sequences: int, steps: int, features: int, hidden: int, itemsize: int = 4) -> "Cost":
        """Returns the cost of a cell with this number of gates, each a product of the input and one of the state."""
        weights = (features + hidden) * gates * hidden
        count = sequences * steps
        return cls(sequences, steps, 2 * count * weights, itemsize * weights, count * gates * hidden)

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
    """What a machine does in a second with one backend: operations of products, and bytes of weights read."""

    operations: float
    bytes: float

    @classmethod
    def of_times(cls, many: Cost, many_seconds: float, one: Cost, one_seconds: float) -> "Rates":
        """Returns the rates at which forward passes of many sequences and of one take these times."""
        operations = (many.operations + FORWARD.gate * many.gate_values) / many_seconds
        # At least a quarter of the time: of small weights the gates alone may be predicted to take all of it.
        reading = max(one_seconds - FORWARD.gate * one.gate_values / operations, one_seconds / 4)
        return cls(operations, one.steps * one.weight_bytes / reading)


def described_cost(cell: Cell, call: ScanCall, backend: Backend) -> str:
    """Describes what a call costs and how long it should take, in lines; measures this machine for about a second.

    Raises:
        ValueError: if the cell has other products than `Cost` counts, or JAX runs on something else than a CPU.
    """
    if not (recurrence_of(cell) and isinstance(cell, GatedCell)):
        raise ValueError(f"explain predicts the cost of {RECURRENT_CELLS}, not of {name_of(cell)}.")
    if jax.default_backend() != "cpu":
        raise ValueError(f"explain predicts the cost on a CPU, and JAX runs on {jax.default_backend()} here.")
    dtype = dtype_of(cell, call)
    b, t, d = call.x.shape
    cost = Cost.of(len(cell.gate_names), b, t, d, cell.hidden, dtype.itemsize)
    rates = measured_rates(type(cell), backend, dtype)
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


# Of many sequences, and of one.
SEQUENCES, STEPS, FEATURES, HIDDEN = (128, 1), 28, 28, 256


@cache
def measured_rates(kind: type[GatedCell], backend: Backend, dtype: jnp.dtype) -> Rates:
    """Measures both rates of this machine with two scans."""
    cell = kind(FEATURES, HIDDEN, dtype=dtype, rngs=nnx.Rngs(0))
    costs, times = [], []
    for sequences in SEQUENCES:
        x = jnp.ones((sequences, STEPS, FEATURES), dtype)
        costs.append(Cost.of(len(cell.gate_names), sequences, STEPS, FEATURES, HIDDEN, dtype.itemsize))
        times.append(_seconds(cell, x, backend))
    return Rates.of_times(costs[0], times[0], costs[1], times[1])


def _seconds(cell: GatedCell, x: jax.Array, backend: Backend) -> float:
    """Returns the median time of a forward pass."""

    @jax.jit
    def run(cell: GatedCell, x: jax.Array) -> Any:
        state = jax.tree.map(lambda a: a.astype(x.dtype), cell.initial_state(cell.project(x[:, 0])))
        # Many in one call, each from the last state of the one before: a call of compiled code takes time by itself.
        return jax.lax.fori_loop(0, SCANS, lambda _, state: backend.run(cell, ScanCall(x, state=state))[0], state)

    jax.block_until_ready(run(cell, x))
    found = []
    for _ in range(ROUNDS):
        started, runs = time.perf_counter(), 0
        while runs == 0 or time.perf_counter() - started < ROUND_SECONDS:
            jax.block_until_ready(run(cell, x))
            runs += SCANS
        found.append((time.perf_counter() - started) / runs)
    return statistics.median(found)
