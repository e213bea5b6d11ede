"""What does memory buy a reader of handwriting that is never told where a digit begins?

Lines of 1 to 12 handwritten digits, made anew in every step from single ones, each line by a hand of its own, are read
with CTC: an LSTM and a GRU from both sides, a GRU from the left only, which can follow the pen, and the same
convolutions without a recurrent cell, within one parameter budget. The test asks about lines of digits that were never
seen, and about lines of exactly 20, longer than any in training.

    python experiments/lines.py --full     2 hours a reader on 2 slow cores: 80 epochs, three seeds
    python experiments/lines.py            20 minutes on 2 cores: fewer epochs, two seeds
    python experiments/lines.py --quick    6 minutes on slow cores, under 3 on fast ones: convolutions see half a digit
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import nnx
from jaxtyping import Array, Float

from rowrnn import GRU, LSTM, Cell
from rowrnn.decoding import ctc
from rowrnn.errors import InputError
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Augmentation, Dataset, Split, as_float
from rowrnn.lab.data.fixed import fixed_examples
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import started
from rowrnn.lab.experiment.generation_cost import generation_share
from rowrnn.lab.experiment.model_trial import PROTOCOL as OF_EVERY_TASK
from rowrnn.lab.experiment.model_trial import Trial
from rowrnn.lab.experiment.option_checks import check_dropout, check_names
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.columns import MEMORY, PARAMETERS, SECONDS, model_table, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.lines.examples import Lines, write
from rowrnn.lab.tasks.lines.measures import aligned, edit_distances, label_error_rate
from rowrnn.lab.tasks.lines.task import best_path, ctc_loss, exact, transcribe
from rowrnn.models.line_reader import FEWEST_CONVOLUTIONS, LineReader
from rowrnn.typing import Images

READERS: dict[str, tuple[str, type[Cell] | None, bool]] = {
    "lstm": ("LSTM, both ways", LSTM, True),
    "gru": ("GRU, both ways", GRU, True),
    "forward": ("GRU, from the left", GRU, False),
    "cnn": ("CNN without memory", None, False),
}
PROTOCOL = {
    **OF_EVERY_TASK,
    "examples": "from fixed keys: for validation of validation digits, for the test, scored once, of test digits; "
    "training lines of training digits, anew in every step",
    "selection": "of each seed the weights of the epoch with most validation lines read without an error, the later of "
    "equals: what is asked of a reader in the end, where the loss also grows with how sure it is of its errors",
    "label_error_rate": "edit distances summed over all test lines, divided by the number of their digits; of the most "
    "probable path, _beam: of the string that a prefix beam search finds; _long: of lines of exactly --long digits",
}
PAPERS = 3  # sizes of paper in training
SHOWN = 3  # lines in a picture that were read right, and as many that were not


@dataclass(frozen=True)
class Options(TrainingOptions):
    """Readers of lines of handwritten digits, with memory and without."""

    models: tuple[str, ...] = tuple(READERS)
    """Readers: lstm and gru, a cell for each direction; forward, a GRU from the left; cnn, no cell."""
    params: int = 250_000
    """Parameter budget of each reader, met within 3 %; widths follow from it."""
    channels: tuple[int, ...] = (24, 48, 64, 64, 96)
    """Output channels of the convolutions, at least three: three see 15 columns, each further one 8 more."""
    dropout: float = 0.1
    """Probability with which a feature of a step is dropped, before the cell and behind it, while training."""
    augmentation: Annotated[Augmentation, tyro.conf.arg(name="")] = Augmentation()
    """Random changes of each digit of a training line, before it is written."""
    digits: int = 12
    """Most digits of a line, in training and in the test."""
    long: int = 20
    """Digits of every line of the second test."""
    lines: int = 8
    """Lines made of a batch in each training step, of each third of the lengths."""
    beam: int = 10
    """Strings that the beam search keeps after each step."""
    validation_lines: int = 1_000
    """Lines on which choices are made."""
    test_lines: int = 4_000
    """Lines of each test."""
    epochs: int = 12
    """Passes over the training set."""
    seeds: int = 2
    """Models of each kind, trained together, each from its own seed."""
    batch: int = 160
    """Images of digits per training step."""
    learning_rate: float = 6e-3
    """Peak learning rate of AdamW."""
    quick: bool = False
    """Preset: three convolutions with a small GRU and without, few epochs, 2,000 test lines."""
    full: bool = False
    """Preset: 80 epochs of digits changed at random, three seeds."""


PRESETS = {
    "quick": {
        "models": ("gru", "cnn"),
        "params": 40_000,
        "channels": (12, 24, 32),
        "epochs": 5,
        "train_images": 40_000,
        "validation_lines": 200,
        "test_lines": 2_000,
    },
    "full": {"epochs": 80, "seeds": 3, "augmentation": Augmentation(rotation=10.0, zoom=0.1, shear=0.15)},
}


def main(options: Options) -> None:
    """Trains, reads and draws what the options ask for."""
    check(options)
    data = options.load()
    makes = {name: partial(build, name, options, data) for name in options.models}
    widths = {name: solve_width(make, options.params) for name, make in makes.items()}
    validation = made(1, data.validation, options.validation_lines, (1, options.digits))
    test = made(2, data.test, options.test_lines, (1, options.digits))
    long = made(3, data.test, options.test_lines, (options.long, options.long))
    with started("lines", options, data, PROTOCOL, table_of) as experiment:
        for name, units in widths.items():
            title, make = READERS[name][0], partial(makes[name], units)
            task = Task(partial(loss, options), exact, data.train, validation, "exact_lines")
            trial = experiment.train(title, make, task, about={"width": units})
            share = generation_share(partial(written, options), task, options, trial)
            scores, shown = examine(trial, test, long, options)
            trial = trial.scored(generation_share=share, **scores)
            experiment.add(trial, shown, examples=(as_float(test.images[:1]), test.widths[:1]))


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("models", options.models, READERS)
    options.check("params", "digits", "long", "lines", "beam", "validation_lines", "test_lines")
    if len(options.channels) < FEWEST_CONVOLUTIONS or min(options.channels) < 1:
        given = " ".join(map(str, options.channels))
        raise InputError(f"--channels are {given}; expected at least {FEWEST_CONVOLUTIONS} numbers, at least 1 each.")
    check_dropout(options.dropout)


def build(name: str, options: Options, data: Dataset, units: int, rngs: nnx.Rngs) -> LineReader:
    """A reader whose cells have so many units."""
    _, cell, both_ways = READERS[name]
    how = {"channels": options.channels, "dropout": options.dropout}
    return LineReader(data.shape[0], data.classes, units, cell=cell, both_ways=both_ways, **how, rngs=rngs)


def made(seed: int, split: Split, lines: int, digits: tuple[int, int]) -> Lines:
    """Lines to be asked about, always the same, of the fewest to the most digits."""

    def make(key: Array, split: Split, numbers: Array) -> Lines:
        return write(key, split.images, split.labels, lines=len(numbers), digits=digits)

    return fixed_examples(make, jax.random.key(seed), split, lines)


def written(options: Options, batch: Split, key: Array) -> list[Lines]:
    """Training lines of the digits of a batch, each digit changed at random first.

    Each third of the lengths has paper of its own: on paper for the longest lines half of what a reader computes would
    be about nothing.
    """
    changing, key = jax.random.split(key)
    images = changed(options.augmentation, as_float(batch.images), changing)
    bounds = sorted({round(options.digits * part / PAPERS) for part in range(PAPERS + 1)})
    return [
        write(
            of_paper,
            images,
            batch.labels,
            lines=options.lines,
            digits=(fewer + 1, most),
            room=min(most + 1, options.digits),
        )
        for of_paper, (fewer, most) in zip(jax.random.split(key, len(bounds) - 1), pairwise(bounds), strict=True)
    ]


def changed(augmentation: Augmentation, images: Images, key: Array) -> Images:
    """Digits, each changed at random."""

    def change(one: tuple[Array, Array]) -> Array:
        image, key = one
        return augmentation(image[None], key)[0]

    # Else XLA changes a digit anew for every pixel of a line that shows it; a loop of one pass it would dissolve.
    return jax.lax.map(change, (images, jax.random.split(key, len(images))), batch_size=max(1, len(images) // 2))


def loss(options: Options, model: LineReader, batch: Split, key: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean loss of lines made of a batch."""
    writing, dropping = jax.random.split(key)
    papers = written(options, batch, writing)
    keys = jax.random.split(dropping, len(papers))
    mean = jnp.stack([ctc_loss(model, lines, key) for lines, key in zip(papers, keys, strict=True)]).mean()
    return mean, {"loss": mean}


def examine(trial: Trial, test: Lines, long: Lines, options: Options) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a reader makes of the test lines: scores, and arrays to draw."""
    truths, long_truths = strings(test), strings(long)
    read = trial.evaluate(partial(transcribe, beam=options.beam), test)
    readings, beams = by_seed(read.best_path), by_seed(read.beam_search)
    longs = by_seed(trial.evaluate(best_path, long))
    edits = np.stack([edit_distances(reading, truths) for reading in readings])
    scores = {
        "label_error_rate": interval([label_error_rate(reading, truths) for reading in readings]),
        "label_error_rate_beam": interval([label_error_rate(reading, truths) for reading in beams]),
        "label_error_rate_long": interval([label_error_rate(reading, long_truths) for reading in longs]),
        "exact_lines": interval((edits == 0).mean(axis=1)),
    }
    lengths = np.asarray(test.lengths)
    by_length = [
        edits[:, lengths == n].mean(axis=1) / n if (lengths == n).any() else np.full(options.seeds, np.nan)
        for n in range(1, options.digits + 1)
    ]
    # Of the first seed: the first lines that are long and read right, and the first that are not.
    right = np.flatnonzero((edits[0] == 0) & (lengths > options.digits // 2))[:SHOWN]
    shown = np.concatenate([right, np.flatnonzero(edits[0] > 0)[:SHOWN]])
    shown = shown if len(shown) else np.arange(len(truths))[:SHOWN]
    lines = jax.tree.map(lambda a: np.asarray(a)[shown], test)
    sides = [aligned(readings[0][n], truths[n]) for n in shown]
    widest = max(map(len, sides))
    return scores, {
        "error_by_length": np.stack(by_length),
        "line_image": lines.images,
        "line_width": lines.widths,
        "line_probability": read.probabilities[0, shown],
        "line_aligned": np.stack([np.pad(s, ((0, widest - len(s)), (0, 0)), constant_values=-2) for s in sides]),
    }


def by_seed(readings: ctc.Reading) -> list[list[list[int]]]:
    """The strings of each seed."""
    return [strings(ctc.Reading(*of_seed)) for of_seed in zip(*readings, strict=True)]


def strings(lines: Lines | ctc.Reading) -> list[list[int]]:
    """The labels of each line as a list."""
    return [line[:length].tolist() for line, length in zip(np.asarray(lines.labels), lines.lengths, strict=True)]


def table_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Errors and cost of each reader, as text."""
    columns = (
        score_column("label\nerror %", "label_error_rate"),
        score_column("with beam\nsearch %", "label_error_rate_beam"),
        score_column(f"of {results['protocol']['long']}\ndigits %", "label_error_rate_long"),
        score_column("lines without\nerror %", "exact_lines"),
        PARAMETERS,
        SECONDS,
        MEMORY,
    )
    return model_table("reader", results["summary"], columns)


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
