"""How long does a recurrent cell remember?

A cell reads an image of a digit, one row in each step, then n rows of zeros or noise, and only then its state is
classified. It is trained with log-uniformly distributed delays of up to `--delay` rows, and tested with n = 0 …
`--longest`. To show the vanishing gradient, the norm of the gradient of the loss with respect to each row is recorded
at the start and at the end of training.

    python experiments/memory.py            a quarter of an hour on 2 cores
    python experiments/memory.py --full     half an hour: delays of up to 2,000 rows
    python experiments/memory.py --quick    a minute: does it run?
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rowrnn import CELLS, LSTM, RGLRU, Cell, Transformer, lab
from rowrnn.lab.tasks.memory.task import Questions, Witness, correct, fixed_delays, gradient_norms, loss
from rowrnn.lab.training.evaluation import evaluate

GRADIENT_IMAGES = 200
READERS: dict[str, tuple[str, Callable[..., Cell | Transformer]]] = {
    **{name: (cell.__name__, cell) for name, cell in CELLS.items()},
    "rg_lru": ("RG-LRU", RGLRU),
    **{f"lstm_{bias}": (f"LSTM, forget bias {bias}", partial(LSTM, forget_bias=float(bias))) for bias in (0, 1, 3)},
    "transformer": ("Transformer, one block", partial(Transformer, blocks=1, causal=True)),
}
DELAYS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
PROTOCOL = {
    "validation": "images not trained on, each after a delay of its own",
    "test": "asked at the end, after every delay about the same test images",
    "gradients": f"mean norm over {GRADIENT_IMAGES} test images and all seeds, after the longest delay of training",
}


@dataclass(frozen=True)
class Options:
    """Trains recurrent cells to classify a digit after a delay."""

    cells: Annotated[tuple[str, ...], lab.KnownNames(READERS)] = (
        *("elman", "gru", "lstm_0", "lstm_1", "lstm_3"),
        *("min_gru", "rg_lru"),
    )
    """Cells: those of rowrnn.CELLS; rg_lru; lstm_0, lstm_1, lstm_3, by forget bias; transformer, all rows at once."""
    hidden: lab.Count = 64
    """Size of a cell's state."""
    delay: lab.Count = 200
    """Longest delay in training: rows between the digit and the answer."""
    longest: lab.Count = 1000
    """Longest delay in the test, in rows."""
    filler: Literal["blank", "noise"] = "blank"
    """Content of the rows of the delay: zeros, or uniform noise."""
    test_images: lab.OptionalCount = 2_000
    """Number of test images; all where not given."""
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(
        epochs=4, seeds=2, learning_rate=3e-3, train_images=10_000
    )


PRESETS = {
    "quick": {"hidden": 8, "delay": 20, "longest": 40, "epochs": 1, "train_images": 1_000, "test_images": 500},
    "full": {"delay": 500, "longest": 2000, "seeds": 3, "epochs": 12, "train_images": 20_000, "test_images": None},
}


class Memory(lab.Study[Options]):
    """Classifiers of delayed digits, one for each cell."""

    name = "memory"
    protocol = PROTOCOL

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        shorter = (n for n in (*DELAYS, options.delay) if n < options.longest)
        self.delays = sorted({options.longest, *shorter})
        self.test = data.test.first(options.test_images)
        self.noise = options.filler == "noise"

    def contenders(self) -> list[lab.Contender]:
        validation, delay = self.data.validation, self.options.delay
        task = lab.Task(
            partial(loss, delay=delay, noise=self.noise),
            partial(correct, longest=delay, noise=self.noise),
            self.data.train,
            Questions(validation.images, validation.labels, fixed_delays(len(validation), delay=delay)),
        )
        return [
            lab.Contender(name, READERS[name][0], partial(self.build, name), task, width=self.options.hidden)
            for name in self.options.cells
        ]

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> Witness:
        """Builds a model with this cell of `width` units."""
        _, columns, channels = self.data.shape
        reader = READERS[name][1](columns * channels, width, rngs=rngs)
        return Witness(reader, self.data.classes, rngs=rngs)

    def setting(self) -> lab.Setting:
        return lab.Setting(entries={"delays": self.delays})

    def examine(self, trial: lab.Trial) -> lab.Examined:
        accuracies = [self.accuracies(trial, delay) for delay in self.delays]
        keys = self.options.training.seed_keys()
        begun = [trial.contender.build(trial.row.width, nnx.Rngs(jax.random.fold_in(key, 0))) for key in keys]
        norms_of = partial(gradient_norms, delay=self.options.delay, noise=self.noise)
        norms = {}
        for when, models in (("start", jax.tree.map(lambda *leaves: jnp.stack(leaves), *begun)), ("end", trial.models)):
            of_images = evaluate(norms_of, models, self.test.first(GRADIENT_IMAGES), devices=trial.devices)
            norms[f"gradient/{when}"] = of_images.mean(axis=(0, 1))
        return lab.Examined({"test_accuracy": [lab.interval(values) for values in accuracies]}, norms)

    def accuracies(self, trial: lab.Trial, delay: int) -> np.ndarray:
        """Computes the test accuracy of each seed after a delay of `delay` rows, `[seeds]`."""
        questions = Questions(self.test.images, self.test.labels, np.full(len(self.test), delay, np.int32))
        return trial.evaluate(partial(correct, longest=delay, noise=self.noise), questions).mean(axis=1)

    def table(self, record: lab.Record) -> list[list[str]]:
        """Returns the accuracy of every cell after some of the delays."""
        shown = (0, 10, 100, 200, 500, 1000, self.options.delay, self.options.longest)
        asked = [n for n in self.delays if n in shown]
        table = [["accuracy % after rows", *map(str, asked)]]
        for row in record.summary:
            scores = [row["test_accuracy"][self.delays.index(n)] for n in asked]
            table.append([row["model"], *map(lab.format_score, scores)])
        return table


if __name__ == "__main__":
    lab.run(Memory, Options, PRESETS)
