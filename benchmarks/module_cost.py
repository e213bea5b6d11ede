"""What does a Flax module cost beside the bare function of its arrays?

Both compute the same and are jitted and called step by step; they take turns in one process.

    python benchmarks/module_cost.py            a minute: the committed results
    python -m rowrnn publish runs/module_cost   renews results/ and README from a finished run
"""

import itertools
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from layers import CLASSES, LEARNING_RATE
from rich.console import Console
from rich.progress import track

from rowrnn import CELLS
from rowrnn.errors import InputError
from rowrnn.fused import Recurrence, recur
from rowrnn.models import Classifier
from rowrnn.native import unavailable
from rowrnn.report import plain_table
from rowrnn.run import Run, run_experiment

MODES = ("forward", "train")
PROTOCOL = {
    "module": "rowrnn.models.Classifier as a pytree through jax.jit",
    "bare": "rowrnn.fused.recur and a linear head on a tuple of arrays through jax.jit",
    "train": "forward, backward and Adam; all in float32 on images of 28x28",
    "ratio": "median over rounds of module ÷ bare within a round",
}


@dataclass(frozen=True)
class Options:
    """Times a module against the bare function of its arrays."""

    batch: int = 128
    """Images of a step."""
    hidden: int = 128
    """Hidden units."""
    rounds: int = 21
    """Rounds in which both are timed once."""
    steps: int = 40
    """Steps in a round."""
    output: Path = Path("runs/module_cost")
    """Directory for results; one that is taken is kept, and the next free name used."""


def main(options: Options) -> None:
    """Times LSTM and GRU, forward and to train, and prints the table."""
    for name in ("batch", "hidden", "rounds", "steps"):
        if getattr(options, name) < 1:
            raise InputError(f"--{name} is {getattr(options, name)}; expected at least 1.")
    console = Console(width=None if sys.stdout.isatty() else 130)
    with Run(options.output) as run:
        cases = list(itertools.product(("lstm", "gru"), MODES))
        results: dict[str, Any] = {
            "experiment": "module_cost",
            "finished": True,
            **run.environment(),
            "protocol": {**PROTOCOL, **asdict(options)},
            "cases": [measure(cell, mode, options) for cell, mode in track(cases, "cases", console=console)],
        }
        results["table"] = table(results["cases"])
        run.save(results, {})
    console.print(plain_table(results["table"]))
    console.print(f"In {run.directory}: results.json.")


def measure(cell: str, mode: str, options: Options) -> dict[str, Any]:
    """Medians of both, and of their ratio."""
    model = Classifier(CELLS[cell](28, options.hidden, rngs=nnx.Rngs(0)), CLASSES, rngs=nnx.Rngs(1))
    bare, bare_logits = bare_function(cell, model)
    key = jax.random.key(0)
    images, labels = jax.random.normal(key, (options.batch, 28, 28, 1)), jnp.arange(options.batch) % CLASSES
    np.testing.assert_allclose(model(images), bare_logits(bare, images), atol=1e-5)
    timed = {
        "module": stepper(lambda model, images: model(images), model, images, labels, mode),
        "bare": stepper(bare_logits, bare, images, labels, mode),
    }
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for number in range(options.rounds):
        # Whoever comes first finds colder caches.
        for name in list(timed)[:: 1 if number % 2 else -1]:
            seconds[name].append(timed[name](options.steps) / options.steps)
    milliseconds = {name: float(1e3 * np.median(times)) for name, times in seconds.items()}
    ratio = float(np.median(np.divide(seconds["module"], seconds["bare"])))
    return {"cell": cell, "mode": mode, "milliseconds": milliseconds, "ratio": ratio}


def bare_function(cell: str, model: Classifier) -> tuple[Any, Callable[[Any, Any], Any]]:
    """The arrays of a classifier, and `(arrays, images) → logits` without modules."""
    of, head = model.rows.cell, model.head
    last_bias = of.candidate_bias[...] if cell == "gru" else jnp.zeros((0,))
    weights = of.input_kernel[...], of.bias[...], of.recurrent_kernel[...], last_bias
    how = Recurrence({"lstm": "Lstm", "gru": "Gru"}[cell], reverse=False, native=not unavailable())

    def logits(arrays: Any, images: Any) -> Any:
        weights, kernel, bias = arrays
        zeros = jnp.zeros((len(images), of.hidden))
        state = zeros, zeros if cell == "lstm" else zeros[:, :0]
        outputs, _ = recur(how, images[..., 0], weights, state, jnp.zeros((0,), jnp.int32))
        return outputs[:, -1] @ kernel + bias[None]

    copies = jax.tree.map(jnp.copy, (weights, head.kernel[...], head.bias[...]))
    return copies, logits


def stepper(
    logits: Callable[[Any, Any], Any], parameters: Any, images: Any, labels: Any, mode: str
) -> Callable[[int], float]:
    """Seconds of so many jitted steps."""
    optimizer = optax.adam(LEARNING_RATE)

    def loss(parameters: Any, images: Any, labels: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(logits(parameters, images), labels).mean()

    def train(state: Any, images: Any, labels: Any) -> Any:
        parameters, optimizer_state = state
        gradient = jax.grad(loss)(parameters, images, labels)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, parameters)
        return optax.apply_updates(parameters, updates), optimizer_state

    state = parameters, optimizer.init(parameters)
    step, forward = jax.jit(train), jax.jit(logits)

    def run(steps: int) -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(steps):
            if mode == "train":
                state = step(state, images, labels)
            else:
                jax.block_until_ready(forward(parameters, images))
        jax.block_until_ready(state)
        return time.perf_counter() - started

    run(2)
    return run


def table(cases: list[dict[str, Any]]) -> list[list[str]]:
    """Header and rows: both times and their ratio."""
    rows = [
        [
            f"{case['cell'].upper()}, {case['mode']}",
            *(f"{case['milliseconds'][name]:.2f}" for name in ("module", "bare")),
            f"{case['ratio']:.3f}",
        ]
        for case in cases
    ]
    return [["", "module ms", "bare ms", "ratio"], *rows]


if __name__ == "__main__":
    run_experiment(Options, main, {})
