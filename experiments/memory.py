"""How long does a recurrent cell remember?

A digit is shown, a row a step, then n rows that say nothing, and only then the cell is asked which digit it was. Each
cell learns with delays of up to `--delay` rows, log-uniform, and is then asked after n = 0 … `--longest`. Beside the
accuracy stands the vanishing gradient: the norm of the gradient of the loss with respect to each row, at the start of
training and at its end.

    python experiments/memory.py            a quarter of an hour on 2 cores
    python experiments/memory.py --full     22 minutes: delays of up to 2,000 rows
    python experiments/memory.py --quick    a minute: does it run?
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from rowrnn import CELLS, LSTM, RGLRU, Cell, LSTMState, scan
from rowrnn.lab.data import Dataset, as_float
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import Experiment, started
from rowrnn.lab.experiment.model_trial import PROTOCOL as OF_EVERY_TASK
from rowrnn.lab.experiment.option_checks import check_names
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.columns import format_score
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.training.evaluation import evaluate

GRADIENT_IMAGES = 200
CONTENDERS: dict[str, tuple[str, Callable[..., Cell]]] = {
    **{name: (cell.__name__, cell) for name, cell in CELLS.items()},
    "rg_lru": ("RG-LRU", RGLRU),
    **{f"lstm_{bias}": (f"LSTM, forget bias {bias}", partial(LSTM, forget_bias=float(bias))) for bias in (0, 1, 3)},
}
PROTOCOL = {
    **OF_EVERY_TASK,
    "validation": "images not trained on, each after a delay of its own",
    "test": "asked at the end, after every delay about the same test images",
    "gradients": f"mean norm over {GRADIENT_IMAGES} test images and all seeds, after the longest delay of training",
}
DELAYS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


@dataclass(frozen=True)
class Options(TrainingOptions):
    """Each cell sees a digit, waits, and is asked which one it was."""

    cells: tuple[str, ...] = ("elman", "gru", "lstm_0", "lstm_1", "lstm_3", "min_gru", "rg_lru")
    """Cells to ask: those of rowrnn.CELLS, and lstm_0, lstm_1, lstm_3: an LSTM with such a forget bias."""
    hidden: int = 64
    """Size of a cell's state."""
    delay: int = 200
    """Most rows between the digit and the question in training."""
    longest: int = 1000
    """Most rows between them in the test."""
    filler: Literal["blank", "noise"] = "blank"
    """What the rows between show: nothing, or uniform noise."""
    epochs: int = 4
    """Passes over the training set."""
    seeds: int = 2
    """Models of each kind, trained together, each from its own seed."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW."""
    train_images: int | None = 10_000
    """Train on so many images only; all where not given."""
    test_images: int | None = 2_000
    """Ask about so many test images only; all where not given."""
    quick: bool = False
    """Preset: tiny cells, one epoch, delays of up to 20 rows."""
    full: bool = False
    """Preset: delays of up to 500 rows in training and 2,000 in the test, three seeds, every test image."""


PRESETS = {
    "quick": {"hidden": 8, "delay": 20, "longest": 40, "epochs": 1, "train_images": 1_000, "test_images": 500},
    "full": {"delay": 500, "longest": 2000, "seeds": 3, "epochs": 12, "train_images": 20_000, "test_images": None},
}


class Questions(NamedTuple):
    """Images, their labels, and after how many rows each is asked about."""

    images: Any
    labels: Any
    delays: Any


class Witness(nnx.Module):
    """A cell and what it says of its last state."""

    def __init__(self, cell: Cell, classes: int, *, rngs: nnx.Rngs) -> None:
        self.cell = cell
        self.head = nnx.Linear(cell.outputs, classes, rngs=rngs)

    def __call__(self, rows: Float[Array, "b t d"], lengths: Int[Array, "b"]) -> Float[Array, "b classes"]:
        """Logits after the last of its rows."""
        _, last = scan(self.cell, rows, lengths=lengths)
        return self.head(last.hidden if isinstance(last, LSTMState) else last)


def main(options: Options) -> None:
    """Trains, asks and draws what the options ask for."""
    check(options)
    data = options.load()
    delays = sorted({options.longest, *(n for n in (*DELAYS, options.delay) if n < options.longest)})
    with started("memory", options, data, PROTOCOL, table_of, delays=delays) as experiment:
        for name in options.cells:
            examine(name, delays, options, data, experiment)


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("cells", options.cells, CONTENDERS)
    options.check("hidden", "delay", "longest", "test_images")


def examine(name: str, delays: list[int], options: Options, data: Dataset, experiment: Experiment) -> None:
    """Trains all seeds of a cell, asks them, and takes the norms of their gradients at the start and the end."""
    (title, make), (_, width, channels) = CONTENDERS[name], data.shape
    train, test = data.train, data.test.first(options.test_images)

    def build(rngs: nnx.Rngs) -> Witness:
        return Witness(make(width * channels, options.hidden, rngs=rngs), data.classes, rngs=rngs)

    validation = Questions(data.validation.images, data.validation.labels, drawn_delays(options, len(data.validation)))
    task = Task(partial(loss, options), partial(correct, options, options.delay), train, validation)
    trial = experiment.train(title, build, task, about={"width": options.hidden})
    answers = []
    for n in delays:
        questions = Questions(test.images, test.labels, np.full(len(test), n, np.int32))
        right = trial.evaluate(partial(correct, options, n), questions)
        answers.append(right.mean(axis=1))
    begun = [build(nnx.Rngs(jax.random.fold_in(key, 0))) for key in options.seed_keys()]
    norms = {}
    for when, models in (("start", jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)), ("end", trial.models)):
        of_images = evaluate(
            partial(gradient_norms, options), models, test.first(GRADIENT_IMAGES), devices=trial.devices
        )
        norms[f"gradient/{when}"] = of_images.mean(axis=(0, 1))
    experiment.add(trial.scored(test_accuracy=[interval(values) for values in answers]), norms)


def drawn_delays(options: Options, count: int) -> Int[np.ndarray, "n"]:
    """Delays for the validation images, the same for every cell."""
    drawn = np.random.default_rng(0).uniform(0, np.log(options.delay + 2), count)
    return np.clip(np.exp(drawn).astype(np.int32) - 1, 0, options.delay)


def shown(options: Options, images: Array, delay: int, key: Array) -> Float[Array, "b t d"]:
    """The rows of images and the rows that follow, `[b, h + delay, w·c]`."""
    rows = as_float(images).reshape(*images.shape[:2], -1)
    blank = jnp.zeros((rows.shape[0], delay, rows.shape[2]))
    after = jax.random.uniform(key, blank.shape) if options.filler == "noise" else blank
    return jnp.concatenate([rows, after], axis=1)


def loss(options: Options, model: Witness, batch: Any, key: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean cross-entropy after delays drawn log-uniformly."""
    delay_key, noise_key = jax.random.split(key)
    drawn = jax.random.uniform(delay_key, (len(batch.images),), maxval=float(np.log(options.delay + 2)))
    delays = jnp.clip(jnp.exp(drawn).astype(jnp.int32) - 1, 0, options.delay)
    rows = shown(options, batch.images, options.delay, noise_key)
    logits = model(rows, batch.images.shape[1] + delays)
    mean = optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels).mean()
    return mean, {"loss": mean}


def correct(options: Options, longest: int, model: Witness, batch: Questions) -> Float[Array, "b"]:
    """1 where the answer after an image's delay, `longest` at most, is right, else 0."""
    rows = shown(options, batch.images, longest, jax.random.key(0))
    logits = model(rows, batch.images.shape[1] + batch.delays)
    return (logits.argmax(axis=-1) == batch.labels).astype(jnp.float32)


def gradient_norms(options: Options, model: Witness, batch: Any) -> Float[Array, "b t"]:
    """Norm of the gradient of each image's loss with respect to its rows, after the longest delay of training."""
    rows = shown(options, batch.images, options.delay, jax.random.key(0))
    lengths = jnp.full((len(rows),), rows.shape[1], jnp.int32)

    def total(rows: Array) -> Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(rows, lengths), batch.labels).sum()

    return jnp.linalg.norm(jax.grad(total)(rows), axis=-1)


def table_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Accuracy of every cell after some of the delays, as text."""
    delays, protocol = results["delays"], results["protocol"]
    asked = [n for n in delays if n in (0, 10, 100, 200, 500, 1000, protocol["delay"], protocol["longest"])]
    table = [["accuracy % after rows", *map(str, asked)]]
    for row in results["summary"]:
        table.append([row["model"], *(format_score(row["test_accuracy"][delays.index(n)]) for n in asked)])
    return table


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
