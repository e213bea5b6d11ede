"""How much time do masks, a second direction and stacking cost, compared with plain layers?

A training step (forward, backward, gradient descent) of a layer with such a feature is compared with the sum of the
times of plain layers, one for each layer and direction, with inputs of the same width. They are timed alternately in
one process.

    python benchmarks/stack_cost.py            two minutes; gives the committed results
    rowrnn publish runs/stack_cost   renews results/ and the pages from a finished run
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmark import open_benchmark
from flax import nnx

from rowrnn import CELLS, Cell, explain, stack
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count, KnownNames

PROTOCOL = {
    "plain": "sum of the times of plain layers, one for each layer and direction; all their steps are valid, they run "
    "from the first step to the last, and the upper ones compute the gradient of their input too",
    "milliseconds": "of a training step (forward, backward and gradient descent), median over rounds",
    "ratio": "median over rounds of the time of the plain layers ÷ that of the layer with the feature: 1 if the "
    "feature costs nothing, 0.5 if it halves the speed",
    "mask": "each step is valid with a probability of 0.8",
    "lengths": "drawn uniformly from 1 to the number of steps",
}
FEATURES: dict[str, dict[str, Any]] = {
    "lengths": {},
    "mask": {},
    "both directions": {"bidirectional": True},
    "2 layers": {"layers": 2},
    "2 layers, both directions, mask": {"layers": 2, "bidirectional": True},
}


@dataclass(frozen=True)
class Options:
    """Times layers with masks, both directions and stacks, and compares them with plain layers."""

    cells: Annotated[tuple[str, ...], KnownNames(CELLS)] = ("lstm", "gru", "min_gru")
    """Cells of the layers."""
    batch: Count = 128
    """Sequences per step."""
    hidden: Count = 128
    """Hidden units of each direction."""
    steps: Count = 28
    """Steps of a sequence; also the number of features of a step."""
    rounds: Count = 11
    """Rounds; each layer is timed once in each."""
    updates: Count = 10
    """Training steps per round."""
    output: Path = Path("runs/stack_cost")
    """Directory for results; if it is taken, the next free name is used."""


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times every feature with every cell, and prints the table."""
    cases: list[dict[str, Any]] = []
    with open_benchmark("stack_cost", PROTOCOL, options, chosen) as benchmark:
        for cell in benchmark.track(options.cells):
            cases.append(measure(CELLS[cell], options))
            benchmark.save(cases=cases, table=table(cases))


def measure(cell: type[Cell], options: Options) -> dict[str, Any]:
    """Times every feature with a cell; returns the medians of plain layers and feature, and of their ratio."""
    hidden, d = options.hidden, options.steps
    plain = {"first": update_of(cell, d, options, {}, {})}
    for directions in (1, 2):
        plain[f"upper {directions}"] = update_of(cell, directions * hidden, options, {}, {}, below=True)
    features = {name: update_of(cell, d, options, made, valid_of(name, options)) for name, made in FEATURES.items()}
    seconds: dict[Any, list[float]] = {name: [] for name in (*plain, *features)}
    for number in range(options.rounds):
        for name, update in list({**plain, **features}.items())[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            jax.block_until_ready(update())
            seconds[name].append((time.perf_counter() - started) / options.updates)
    rows: list[dict[str, Any]] = []
    for feature, made in FEATURES.items():
        directions, layers = 1 + made.get("bidirectional", False), made.get("layers", 1)
        alone = ["first", *[f"upper {directions}"] * (layers - 1)]
        expected = directions * np.sum([seconds[name] for name in alone], axis=0)
        ratio = float(np.median(expected / np.asarray(seconds[feature])))
        milliseconds = {"plain": 1e3 * float(np.median(expected)), "feature": 1e3 * float(np.median(seconds[feature]))}
        rows.append({"feature": feature, "milliseconds": milliseconds, "ratio": ratio})
    example = cell(d, hidden, rngs=nnx.Rngs(0))
    return {"cell": cell.__name__, "computed_by": explain(example, jnp.zeros((1, 1, d))), "features": rows}


def valid_of(feature: str, options: Options) -> dict[str, Any]:
    """Returns the lengths or the mask of a feature, as arguments of the layer."""
    rng = np.random.default_rng(0)
    if "mask" in feature:
        return {"mask": jnp.asarray(rng.random((options.batch, options.steps)) < 0.8)}
    if feature == "lengths":
        return {"lengths": jnp.asarray(rng.integers(1, options.steps + 1, options.batch))}
    return {}


def update_of(
    cell: type[Cell], width: int, options: Options, made: dict[str, Any], valid: dict[str, Any], *, below: bool = False
) -> Callable[[], Any]:
    """Returns a function that trains a layer for `options.updates` steps in one jitted loop, compiled and warmed up.

    Args:
        cell: class of the cell.
        width: number of input features.
        options: sizes and number of steps.
        made: arguments of `rowrnn.stack`.
        valid: lengths or mask, as arguments of the layer.
        below: whether to compute the gradient of the input too, which a layer below would need.
    """
    layer = stack(cell, width, options.hidden, **made, rngs=nnx.Rngs(0))
    x = jnp.asarray(np.random.default_rng(1).normal(size=(options.batch, options.steps, width)), jnp.float32)

    def loss(layer: Any, x: Any, valid: Any) -> Any:
        return (layer(x, **valid)[0] ** 2).mean()

    def update(carry: Any, _: None) -> tuple[Any, None]:
        layer, x, valid = carry
        by_layer, by_x = jax.grad(loss, argnums=(0, 1))(layer, x, valid) if below else (jax.grad(loss)(*carry), None)
        layer = jax.tree.map(lambda p, g: p - 1e-3 * g, layer, by_layer)
        return (layer, x if by_x is None else x - 1e-3 * by_x, valid), None

    @jax.jit
    def updates(layer: Any, x: Any, valid: Any) -> Any:
        return jax.lax.scan(update, (layer, x, valid), None, length=options.updates)[0][:2]

    jax.block_until_ready(updates(layer, x, valid))
    return lambda: updates(layer, x, valid)


def table(cases: list[dict[str, Any]]) -> list[list[str]]:
    """Returns a header and rows: times of the plain layers and with the feature, and their ratio."""
    rows = [
        [
            f"{case['cell']}, {row['feature']}",
            *(f"{row['milliseconds'][name]:.2f}" for name in ("plain", "feature")),
            f"{row['ratio']:.2f}",
        ]
        for case in cases
        for row in case["features"]
    ]
    return [["", "plain layers ms", "ms", "ratio"], *rows]


if __name__ == "__main__":
    run_experiment(Options, main, {})
