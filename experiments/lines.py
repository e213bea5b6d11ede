"""What does memory buy a reader of handwriting that is never told where a digit begins?

Lines of 1 to 12 handwritten digits, each in a random style, are generated from images of single digits in every
training step and recognized with CTC. The readers have the same convolutions and parameter budget; on top is a
bidirectional LSTM, a bidirectional GRU, a GRU from the left only, which can read a line while it is written, or no
recurrent cell. They are tested on lines of test digits, and on lines of exactly 20 digits, longer than any in training.

    python experiments/lines.py --full     2 hours a reader on 2 slow cores: 80 epochs, three seeds
    python experiments/lines.py            20 minutes on 2 cores: fewer epochs, two seeds
    python experiments/lines.py --quick    6 minutes on slow cores, under 3 on fast ones: convolutions see half a digit
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import jax
import numpy as np
from flax import nnx

from rowrnn import GRU, LSTM, Cell, Transformer, lab
from rowrnn.errors import InputError
from rowrnn.lab.tasks.lines.measures import aligned, edit_distances, label_error_rate
from rowrnn.lab.tasks.lines.task import (
    best_path,
    exact,
    fixed_lines,
    loss,
    strings,
    strings_by_seed,
    training_lines,
    transcribe,
)
from rowrnn.models.line_reader import FEWEST_CONVOLUTIONS, LineReader

READERS: dict[str, tuple[str, type[Cell] | type[Transformer] | None, bool]] = {
    "lstm": ("LSTM, both ways", LSTM, True),
    "gru": ("GRU, both ways", GRU, True),
    "forward": ("GRU, from the left", GRU, False),
    "transformer": ("Transformer", Transformer, True),
    "cnn": ("CNN without memory", None, False),
}
SHOWN = 3  # lines in a figure that were read without an error, and as many with errors
PROTOCOL = {
    "examples": "from fixed keys: for validation of validation digits, for the test, scored once, of test digits; "
    "training lines of training digits, anew in every step",
    "selection": "of each seed the weights of the epoch with most validation lines read without an error, the "
    "later of equals: what is asked of a reader in the end, where the loss also grows with how sure it is of its "
    "errors",
    "label_error_rate": "edit distances summed over all test lines, divided by the number of their digits; of the "
    "most probable path, _beam: of the string that a prefix beam search finds; _long: of lines of exactly --long "
    "digits",
}


@dataclass(frozen=True)
class Options:
    """Trains readers of lines of handwritten digits, with and without recurrent cells."""

    models: Annotated[tuple[str, ...], lab.KnownNames(READERS)] = tuple(READERS)
    """Readers: lstm and gru, bidirectional; forward, a GRU from the left only; transformer; cnn, no cell."""
    params: lab.Count = 250_000
    """Parameter budget of each reader, met within 3 %; widths follow from it."""
    channels: tuple[int, ...] = (24, 48, 64, 64, 96)
    """Output channels of the convolutions, at least three; three see 15 columns, each further one 8 more."""
    dropout: lab.Probability = 0.1
    """Dropout probability of the features before and after the cell, in training."""
    augmentation: lab.Unnamed[lab.Augmentation] = lab.Augmentation()
    """Random changes of each digit of a training line."""
    digits: lab.Count = 12
    """Most digits of a line, in training and in the first test."""
    long: lab.Count = 20
    """Digits of every line in the second test."""
    lines: lab.Count = 8
    """Lines generated in each training step for each third of the lengths."""
    beam: lab.Count = 10
    """Strings that beam search keeps after each step."""
    validation_lines: lab.Count = 1_000
    """Lines of the validation set."""
    test_lines: lab.Count = 4_000
    """Lines of each of the two test sets."""
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(epochs=12, seeds=2, batch=160, learning_rate=6e-3)


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
    "full": {"epochs": 80, "seeds": 3, "augmentation": lab.Augmentation(rotation=10.0, zoom=0.1, shear=0.15)},
}


class Lines(lab.Study[Options]):
    """Readers of lines with bidirectional cells, with a cell from the left, and without a cell."""

    name = "lines"
    protocol = PROTOCOL

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        self.validation = fixed_lines(1, data.validation, options.validation_lines, digits=(1, options.digits))

    @classmethod
    def check(cls, options: Options) -> None:
        if len(options.channels) < FEWEST_CONVOLUTIONS or min(options.channels) < 1:
            given = " ".join(map(str, options.channels))
            raise InputError(
                f"--channels are {given}; expected at least {FEWEST_CONVOLUTIONS} numbers, at least 1 each."
            )

    def contenders(self) -> list[lab.Contender]:
        options = self.options
        written = {"digits": options.digits, "lines": options.lines, "augmentation": options.augmentation}
        task = lab.Task(partial(loss, **written), exact, self.data.train, self.validation, "exact_lines")
        return [
            lab.Contender(
                name,
                READERS[name][0],
                partial(self.build, name),
                task,
                budget=options.params,
                generate=partial(training_lines, **written),
            )
            for name in options.models
        ]

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> LineReader:
        """Builds a reader whose cells, or without a cell hidden layer, have `width` units."""
        _, cell, both_ways = READERS[name]
        how = {"channels": self.options.channels, "dropout": self.options.dropout}
        return LineReader(
            self.data.shape[0], self.data.classes, width, cell=cell, both_ways=both_ways, **how, rngs=rngs
        )

    def setting(self) -> lab.Setting:
        options, test = self.options, self.data.test
        self.test = fixed_lines(2, test, options.test_lines, digits=(1, options.digits))
        self.long = fixed_lines(3, test, options.test_lines, digits=(options.long, options.long))
        return lab.Setting()

    def examine(self, trial: lab.Trial) -> lab.Examined:
        truths, long_truths = strings(self.test), strings(self.long)
        read = trial.evaluate(partial(transcribe, beam=self.options.beam), self.test)
        readings, beams = strings_by_seed(read.best_path), strings_by_seed(read.beam_search)
        longs = strings_by_seed(trial.evaluate(best_path, self.long))
        edits = np.stack([edit_distances(reading, truths) for reading in readings])
        scores = {
            "label_error_rate": lab.interval([label_error_rate(reading, truths) for reading in readings]),
            "label_error_rate_beam": lab.interval([label_error_rate(reading, truths) for reading in beams]),
            "label_error_rate_long": lab.interval([label_error_rate(reading, long_truths) for reading in longs]),
            "exact_lines": lab.interval((edits == 0).mean(axis=1)),
        }
        drawn = self.some_lines(edits[0], readings[0], read.probabilities[0])
        arrays = {"error_by_length": self.error_by_length(edits), **drawn}
        return lab.Examined(scores, arrays, (lab.as_float(self.test.images[:1]), self.test.widths[:1]))

    def error_by_length(self, edits: np.ndarray) -> np.ndarray:
        """Computes the label error rate of the test lines of each length, `[lengths, seeds]`, NaN without such lines.

        Args:
            edits: edit distance of every test line, `[seeds, n]`.
        """
        lengths, none = np.asarray(self.test.lengths), np.full(len(edits), np.nan)
        by_length = range(1, self.options.digits + 1)
        return np.stack([edits[:, lengths == n].mean(axis=1) / n if (lengths == n).any() else none for n in by_length])

    def some_lines(
        self, edits: np.ndarray, readings: list[list[int]], probabilities: np.ndarray
    ) -> dict[str, np.ndarray]:
        """Selects test lines for the figures: the first long lines read without an error, and the first with errors.

        Args:
            edits: edit distance of every test line for one seed, `[n]`.
            readings: strings that this seed recognized.
            probabilities: its probabilities at every step, `[n, t, classes + 1]`.

        Returns:
            `line_image`, `line_width`, `line_probability` and `line_aligned`, see `rowrnn.lab.tasks.lines.pictures`.
        """
        lengths = np.asarray(self.test.lengths)
        right = np.flatnonzero((edits == 0) & (lengths > self.options.digits // 2))[:SHOWN]
        shown = np.concatenate([right, np.flatnonzero(edits > 0)[:SHOWN]])
        shown = shown if len(shown) else np.arange(len(edits))[:SHOWN]
        lines = jax.tree.map(lambda array: np.asarray(array)[shown], self.test)
        sides = [aligned(readings[n], truth) for n, truth in zip(shown, strings(lines), strict=True)]
        widest = max(map(len, sides))
        padded = [np.pad(side, ((0, widest - len(side)), (0, 0)), constant_values=-2) for side in sides]
        return {
            "line_image": lines.images,
            "line_width": lines.widths,
            "line_probability": probabilities[shown],
            "line_aligned": np.stack(padded),
        }

    def table(self, record: lab.Record) -> list[list[str]]:
        """Returns errors and cost of each reader."""
        columns = (
            lab.score_column("label\nerror %", "label_error_rate"),
            lab.score_column("with beam\nsearch %", "label_error_rate_beam"),
            lab.score_column(f"of {self.options.long}\ndigits %", "label_error_rate_long"),
            lab.score_column("lines without\nerror %", "exact_lines"),
            lab.PARAMETERS,
            lab.SECONDS,
            lab.MEMORY,
        )
        return lab.model_table("reader", record.summary, columns)


if __name__ == "__main__":
    lab.run(Lines, Options, PRESETS)
