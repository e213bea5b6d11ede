"""How fast is a convolution on a CPU, compared with XLA's, with one matrix product, and with torch's?

A training step of one convolution: its maps, and the gradients of its kernel and, where it is not the first of its
network, of its images. All are timed in alternating rounds in one process, those of JAX in one jitted loop.

    python benchmarks/convolution_speed.py       three minutes; gives the committed results, where torch is installed
    rowrnn publish runs/convolution_speed   renews results/ and the pages from a finished run
"""

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from benchmark import open_benchmark

from rowrnn import default_backend
from rowrnn.cells.convolution import convolve
from rowrnn.lab.devices.mesh import cores
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count

PROTOCOL = {
    "milliseconds": "of a training step of one convolution, float32: its maps, and the gradients of the sum of their "
    "squares by its kernel and, but for the first of a network, by its images; median over rounds",
    "rowrnn": "the compiled code of rowrnn/machine/kernels",
    "product": "one matrix product with shifted copies of the images, in XLA, as rowrnn computes without a compiler",
    "xla": "jax.lax.conv_general_dilated",
    "torch": "torch.nn.functional.conv2d, images and kernel in channels_last",
    "times_faster": "median over rounds of the fastest other's milliseconds ÷ rowrnn's",
}


class Case(NamedTuple):
    """A convolution of a network: its images `[b, h, w, i]`, and the sides, outputs and strides of its kernel."""

    network: str
    images: tuple[int, int, int, int]
    side: int
    outputs: int
    strides: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        b, h, w, i = self.images
        return f"{self.network}: {b} x {h}x{w}, {i} to {self.outputs} channels, strides {self.strides}"


READER, SMALL = "reader of handwriting", "CNN of 28x28 pixels"
CASES = (
    Case(READER, (12, 40, 640, 1), 3, 8),
    Case(READER, (12, 40, 640, 8), 3, 16, (2, 2)),
    Case(READER, (12, 20, 320, 16), 3, 32, (2, 2)),
    Case(READER, (12, 10, 160, 32), 3, 64, (2, 1)),
    Case(READER, (12, 5, 160, 64), 3, 64),
    Case(READER, (12, 5, 160, 64), 3, 96),
    Case(SMALL, (128, 28, 28, 1), 5, 8, (2, 2)),
    Case(SMALL, (128, 14, 14, 8), 3, 16),
    Case(SMALL, (128, 7, 7, 16), 3, 32),
)


@dataclass(frozen=True)
class Options:
    """Times convolutions by compiled code, by one matrix product, by XLA and by torch."""

    rounds: Count = 15
    """Rounds; each contender is timed once in each."""
    updates: Count = 10
    """Training steps per round; of XLA's convolution one."""
    output: Path = Path("runs/convolution_speed")
    """Directory for results; if it is taken, the next free name is used."""


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times every convolution, and prints the table."""
    rows: list[dict[str, Any]] = []
    peers = {name: version(name) for name in ("torch",) if find_spec(name)}
    entries = {"peer_versions": peers, "threads": cores()}
    with open_benchmark("convolution_speed", PROTOCOL, options, chosen, **entries) as benchmark:
        for case in benchmark.track(CASES):
            rows.append(measure(case, options))
            benchmark.save(cases=rows, table=table(rows))


def measure(case: Case, options: Options) -> dict[str, Any]:
    """Times a convolution with every contender; returns the medians."""
    # XLA's gradients in a loop take seconds: one step a round says enough of them.
    updates = {"rowrnn": options.updates, "product": options.updates, "xla": 1}
    contenders = {name: of_jax(case, name, number) for name, number in updates.items()}
    if find_spec("torch"):
        updates["torch"] = options.updates
        contenders["torch"] = of_torch(case, options.updates)
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, run in list(contenders.items())[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            run()
            times[name].append(1e3 * (time.perf_counter() - started) / updates[name])
    best = np.min([times[name] for name in times if name != "rowrnn"], axis=0)
    return {
        **case._asdict(),
        "milliseconds": {name: float(np.median(taken)) for name, taken in times.items()},
        "times_faster": float(np.median(best / np.asarray(times["rowrnn"]))),
    }


def arrays_of(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Returns images and a kernel."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(case.side, case.side, case.images[3], case.outputs)) / case.side
    return rng.normal(size=case.images).astype(np.float32), kernel.astype(np.float32)


def is_first(case: Case) -> bool:
    """Returns whether a convolution reads pixels, whose gradients nobody needs."""
    return case.images[3] == 1


def of_jax(case: Case, name: str, updates: int) -> Callable[[], Any]:
    """Returns a function that trains a convolution in a jitted loop, compiled and warmed up."""
    padding = ((case.side // 2,) * 2,) * 2

    def loss(kernel: Any, x: Any) -> Any:
        if name == "xla":
            names = ("NHWC", "HWIO", "NHWC")
            maps = jax.lax.conv_general_dilated(x, kernel, case.strides, padding, dimension_numbers=names)
        else:
            with default_backend("plain") if name == "product" else nullcontext():
                maps = convolve(x, kernel, case.strides, padding)
        return (maps**2).sum()

    def update(carry: Any, _: None) -> tuple[Any, None]:
        slopes = jax.grad(loss, argnums=0 if is_first(case) else (0, 1))(*carry)
        kernel, x = carry
        by_kernel, x = (slopes, x) if is_first(case) else (slopes[0], x - 1e-9 * slopes[1])
        return (kernel - 1e-9 * by_kernel, x), None

    run = jax.jit(lambda kernel, x: jax.lax.scan(update, (kernel, x), None, length=updates)[0])
    x, kernel = map(jnp.asarray, arrays_of(case))
    jax.block_until_ready(run(kernel, x))
    return lambda: jax.block_until_ready(run(kernel, x))


def of_torch(case: Case, updates: int) -> Callable[[], None]:
    """Returns a function that trains a convolution in torch, warmed up."""
    import torch

    torch.set_num_threads(cores())
    x, kernel = (
        torch.tensor(a.transpose(order)).contiguous(memory_format=torch.channels_last)
        for a, order in zip(arrays_of(case), ((0, 3, 1, 2), (3, 2, 0, 1)), strict=True)
    )
    kernel.requires_grad_()
    x.requires_grad_(not is_first(case))

    def run() -> None:
        for _ in range(updates):
            kernel.grad = x.grad = None
            maps = torch.nn.functional.conv2d(x, kernel, stride=case.strides, padding=case.side // 2)
            (maps**2).sum().backward()
            with torch.no_grad():
                for array in (kernel, x):
                    if array.grad is not None:
                        array -= 1e-9 * array.grad

    run()
    return run


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Returns the header and the rows of the table."""
    names = list(rows[0]["milliseconds"])
    header = ["training step of a convolution", *(f"{name} ms" for name in names), "times the fastest"]
    lines = [
        [
            str(Case(row["network"], tuple(row["images"]), row["side"], row["outputs"], tuple(row["strides"]))),
            *(f"{row['milliseconds'][name]:.2f}" for name in names),
            f"{row['times_faster']:.2f}",
        ]
        for row in rows
    ]
    return [header, *lines]


if __name__ == "__main__":
    run_experiment(Options, main, {})
