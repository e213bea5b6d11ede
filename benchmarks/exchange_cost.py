"""What would more devices and machines give? The exchange of gradients between processes, measured and computed.

Processes of this machine, which talk over gloo, add up arrays as large as the gradients of a model, as they do after
every training step. More devices and machines are not at hand: what they give is computed, with links as the options
say, for an exchange in a ring (Patarasuk & Yuan 2009):

    seconds = 2 (n - 1) · latency + 2 (n - 1) / n · bytes / bandwidth

    python benchmarks/exchange_cost.py            a minute
    rowrnn publish runs/exchange_cost   renews results/ and the pages from a finished run
"""

import multiprocessing
import socket
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmark import open_benchmark
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from rowrnn.cells import CELLS
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, Positive
from rowrnn.models import Classifier

REPEATS = 20  # of a step or an exchange in one compiled call

PROTOCOL = {
    "exchange": "milliseconds in which the processes add up their gradients, median over rounds of the slowest process",
    "computed": "of devices or machines in a ring with the latency and bandwidth of the options, which are assumed",
    "step": "milliseconds of a training step of one device, and with the exchange of the gradients after it; a device "
    "has a batch of its own",
    "speed": "examples in a second ÷ those of one device",
}


@dataclass(frozen=True)
class Options:
    """Measures the exchange of gradients between processes, and computes what more devices and machines give."""

    processes: tuple[Count, ...] = (2, 4)
    """Numbers of processes to measure; with more than there are cores they wait for each other."""
    hidden: Count = 88
    """Units of the Row GRU whose gradients are exchanged."""
    batch: Count = 128
    """Images of a training step on each device."""
    rounds: Count = 51
    """Rounds of a measurement."""
    devices: Count = 8
    """Devices, or machines, of which the speed is computed."""
    device_gigabits: Annotated[float, Positive()] = 80.0
    """Bandwidth between devices of one machine, in gigabits a second."""
    device_microseconds: Annotated[float, Positive()] = 10.0
    """Time of a message between devices, in microseconds."""
    network_gigabits: Annotated[float, Positive()] = 10.0
    """Bandwidth of the network between machines, in gigabits a second."""
    network_microseconds: Annotated[float, Positive()] = 50.0
    """Time of a message between machines, in microseconds."""
    output: Path = Path("runs/exchange_cost")
    """Directory for results; if it is taken, the next free name is used."""


class Place(NamedTuple):
    """Where gradients are exchanged: among how many devices, each in a process of its own, and in how many seconds."""

    what: str
    devices: int
    exchange: float


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Measures steps and exchanges, and prints the table."""
    with open_benchmark("exchange_cost", PROTOCOL, options, chosen) as benchmark:
        model = Classifier(CELLS["gru"](28, options.hidden, rngs=nnx.Rngs(0)), 10, rngs=nnx.Rngs(0))
        count = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))
        step, places = step_seconds(model, options), []
        for n in benchmark.track(options.processes):
            places.append(Place(f"{n} processes here, measured", n, exchange_seconds(n, count, options.rounds)))
        links = {
            "devices of one machine": (options.device_microseconds, options.device_gigabits),
            "machines": (options.network_microseconds, options.network_gigabits),
        }
        for what, (microseconds, gigabits) in links.items():
            n = options.devices
            seconds = ring_seconds(n, 4 * count, 1e-6 * microseconds, gigabits * 1e9 / 8)
            places.append(Place(f"{n} {what}, computed", n, seconds))
        found = [place._asdict() for place in places]
        benchmark.save(parameters=count, step_seconds=step, places=found, table=table(step, places))


def ring_seconds(processes: int, size: int, latency: float, bandwidth: float) -> float:
    """Returns the seconds in which processes add up arrays of so many bytes in a ring."""
    return 2 * (processes - 1) * (latency + size / processes / bandwidth)


def table(step: float, places: Sequence[Place]) -> list[list[str]]:
    """Returns a header and rows: the exchange, the step with it, and the speed of all devices together."""
    header = ["", "exchange ms", "step with it ms", "times one device"]
    body = [["one device", "0", f"{1e3 * step:.2f}", "1.00"]]
    for place in places:
        whole = step + place.exchange
        speed = place.devices * step / whole
        body.append([place.what, f"{1e3 * place.exchange:.2f}", f"{1e3 * whole:.2f}", f"{speed:.2f}"])
    return [header, *body]


def step_seconds(model: Classifier, options: Options) -> float:
    """Returns the median seconds of a training step on one device."""
    images = jnp.asarray(np.random.default_rng(0).random((options.batch, 28, 28, 1)), jnp.float32)
    labels = jnp.arange(options.batch) % 10
    optimizer = optax.adam(1e-3)

    @jax.jit
    def steps(model: Classifier, state: Any) -> Any:
        def one(_: Any, both: Any) -> Any:
            model, state = both
            gradient = jax.grad(
                lambda model: optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()
            )(model)
            updates, state = optimizer.update(gradient, state)
            return optax.apply_updates(model, updates), state

        return jax.lax.fori_loop(0, REPEATS, one, (model, state))

    state = optimizer.init(model)
    return timed(lambda: steps(model, state), options.rounds)


def timed(run: Callable[[], Any], rounds: int) -> float:
    """Returns the median seconds of one of the `REPEATS` of a call."""
    jax.block_until_ready(run())
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append((time.perf_counter() - started) / REPEATS)
    return statistics.median(seconds)


def exchange_seconds(processes: int, size: int, rounds: int) -> float:
    """Returns the seconds in which so many new processes add up arrays of so many numbers."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        address = f"localhost:{server.getsockname()[1]}"
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawned) as pool:
        started = [pool.submit(exchange, address, processes, process, size, rounds) for process in range(processes)]
        return max(process.result(timeout=300) for process in started)


def exchange(address: str, processes: int, process: int, size: int, rounds: int) -> float:
    """Returns the seconds of one process, which has one device."""
    jax.config.update("jax_num_cpu_devices", 1)
    jax.distributed.initialize(address, processes, process)
    mesh = jax.make_mesh((processes,), ("data",))
    split = PartitionSpec("data")

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=split, out_specs=split)
    def exchanges(a: jax.Array) -> jax.Array:
        # Each from the one before, so that they follow each other.
        return jax.lax.fori_loop(
            0, REPEATS, lambda _, a: jax.lax.pcast(jax.lax.pmean(a, "data"), "data", to="varying"), a
        )

    sharding = NamedSharding(mesh, split)
    array = jax.make_array_from_process_local_data(sharding, np.ones((1, size), np.float32))
    seconds = timed(lambda: exchanges(array), rounds)
    jax.distributed.shutdown()
    return seconds


if __name__ == "__main__":
    run_experiment(Options, main, {})
