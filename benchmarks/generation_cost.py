"""What does recurrence cost a model that writes images, beside masked convolutions that see as far?

A PixelRNN of Row LSTMs, one of Diagonal BiLSTMs and a gated PixelCNN of one number of parameters train on binary images
and write some; their steps are timed alternately in one process. The kernels of the gated PixelCNN are wide enough for
it to see, with its blocks, as many rows above a pixel as an image has, or nearly.

    python benchmarks/generation_cost.py         images of 28x28 pixels, seven blocks
    rowrnn publish runs/generation_cost   renews results/ and the pages from a finished run
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmark import open_benchmark
from flax import nnx

from rowrnn.generation import GatedPixelCNN, PixelModel, PixelRNN, sample
from rowrnn.lab.budget import parameters, solve_width
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count

TITLES = {"row": "Row LSTM", "diagonal": "Diagonal BiLSTM", "gated": "gated PixelCNN"}
TOLERANCE = 0.1
PROTOCOL = {
    "train_ms": "forward, backward and gradient descent of a batch of binary images, median over rounds; ratio: to "
    "that of the gated PixelCNN",
    "sampling_seconds": "of all samples, drawn together, a second time, after compilation; Row LSTMs keep what they "
    "have computed of a row, the others compute a whole pass for every pixel",
}


@dataclass(frozen=True)
class Options:
    """Times models that write images."""

    side: Count = 28
    """Height and width of the images."""
    params: Count = 64_200
    """Parameter budget of each model."""
    blocks: Count = 7
    """Blocks of each model."""
    span: Count = 7
    """Width of the gated PixelCNN's kernels, odd."""
    batch: Count = 32
    """Images of a step."""
    samples: Count = 64
    """Images that are drawn together."""
    rounds: Count = 9
    """Rounds; each case is timed once in each."""
    output: Path = Path("runs/generation_cost")
    """Directory for results; if it is taken, the next free name is used."""


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times every model, and prints the table."""
    widths = {name: solve_width(partial(build, name, options), options.params, TOLERANCE) for name in TITLES}
    with open_benchmark("generation_cost", PROTOCOL, options, chosen, widths=widths) as benchmark:
        models = {name: build(name, options, width, nnx.Rngs(0)) for name, width in widths.items()}
        steps = {name: training_step(model, options) for name, model in models.items()}
        seconds: dict[str, list[float]] = {name: [] for name in models}
        for number in benchmark.track(range(options.rounds)):
            for name in list(models)[:: 1 if number % 2 else -1]:
                seconds[name].append(timed(steps[name]))
        train = {name: 1e3 * float(np.median(of_model)) for name, of_model in seconds.items()}
        cases = [
            {
                "model": TITLES[name],
                "parameters": parameters(model),
                "train_ms": train[name],
                "ratio": train[name] / train["gated"],
                "sampling_seconds": sampling(model, options),
            }
            for name, model in models.items()
        ]
        benchmark.save(cases=cases, table=table(cases))


def build(name: str, options: Options, width: int, rngs: nnx.Rngs) -> PixelModel:
    """Builds a model of binary images."""
    if name == "gated":
        return GatedPixelCNN(width, blocks=options.blocks, span=options.span, rngs=rngs)
    return PixelRNN(name, width, blocks=options.blocks, rngs=rngs)


def training_step(model: PixelModel, options: Options) -> Callable[[], Any]:
    """Returns a function that trains a model for a step, compiled."""
    shape = (options.batch, options.side, options.side, 1)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 2, shape), jnp.int32)

    @jax.jit
    def step(model: Any, images: Any) -> Any:
        slope = jax.grad(lambda model: -model(images).mean())(model)
        return jax.tree.map(lambda p, d: p - 1e-3 * d, model, slope)

    jax.block_until_ready(step(model, images))
    return lambda: step(model, images)


def sampling(model: PixelModel, options: Options) -> float:
    """Returns the seconds in which images are drawn, after compilation."""
    size = (options.side, options.side)
    jax.block_until_ready(sample(model, jax.random.key(0), options.samples, size))
    return timed(lambda: sample(model, jax.random.key(1), options.samples, size))


def timed(f: Callable[[], Any]) -> float:
    """Returns the seconds of a call."""
    started = time.perf_counter()
    jax.block_until_ready(f())
    return time.perf_counter() - started


def table(cases: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and a row for each model."""
    rows = [["", "train step, ms", "to the gated PixelCNN", "seconds of the samples", "parameters"]]
    for case in cases:
        figures = [f"{case['train_ms']:.0f}", f"{case['ratio']:.2f}", f"{case['sampling_seconds']:.1f}"]
        rows.append([case["model"], *figures, f"{case['parameters']:,}"])
    return rows


if __name__ == "__main__":
    run_experiment(Options, main, {})
