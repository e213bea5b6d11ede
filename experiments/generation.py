"""Which network writes the most probable digits, and does none of them peek?

A Row LSTM, a Diagonal BiLSTM, a gated PixelCNN, a GRU and a Transformer over single pixels predict every pixel of an
image from those before it, at one number of parameters. Before a likelihood is computed, a certificate says that no
prediction sees what comes later. The images are binary, each pixel drawn once with its grey value as the probability:
such likelihoods compare with published ones in kind, not with those of other draws or of thresholded images.

    python experiments/generation.py            one seed of each
    python experiments/generation.py --full     three seeds
    python experiments/generation.py --quick    minutes: a small Row LSTM
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
from flax import nnx

from rowrnn import GRU, Stack, Transformer, lab
from rowrnn.errors import InputError
from rowrnn.generation import GatedPixelCNN, PixelModel, PixelRNN, PixelScan, causality, first_peek, sample
from rowrnn.generation.value_distribution import BINARY
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.tasks.generation.examples import BINARIZATIONS, LEVELS, check_bytes, in_bytes, levels_of, prepared
from rowrnn.lab.tasks.generation.likelihood import Nats
from rowrnn.lab.tasks.generation.measures import context, nearest
from rowrnn.lab.tasks.generation.task import log_likelihood, loss, surprise
from rowrnn.sequence import Recurrent

TITLES = {
    "row": "Row LSTM",
    "diagonal": "Diagonal BiLSTM",
    "gated": "gated PixelCNN",
    "gru": "GRU, pixel by pixel",
    "transformer": "Transformer, pixel by pixel",
}
CHECKED, NARROW = (7, 9), 6  # height and width of the images of the certificates, and features of the models
SAMPLES, GIVEN, ENDINGS = 64, 4, 5  # images that are written, half-given ones, and endings of each
PROTOCOL = {
    "nll": "negative log-likelihood, mean over the test images, in its unit: nats an image of binary images, bits for "
    "each value of images of 256 levels",
    "certificate": "before a training, of a narrow model of each kind, in float64 on images of 7x9 pixels, "
    "rowrnn.generation.causality; and of the trained model of the first seed, in its own size, first_peek: each value "
    "of a test image is changed, and no prediction of it or of an earlier value changes",
    "validation": "log-likelihood of the validation images, in nats; it chooses the epoch",
    "test": "scored once, at the end, on every test image",
    "nearest": "the training image with the smallest squared distance",
}


@dataclass(frozen=True)
class Options:
    """Trains models that predict every pixel of an image from those before it."""

    models: Annotated[tuple[str, ...], lab.KnownNames(TITLES)] = tuple(TITLES)
    """Models: row, diagonal, gated, gru, transformer."""
    params: lab.Count = 64_200
    """Parameter budget of each model; seven blocks of row and diagonal then have 16 features, as in their paper."""
    blocks: lab.Count = 7
    """Blocks of row, diagonal and gated; gru has two layers and a transformer four blocks."""
    binarization: Annotated[str, lab.KnownNames({**BINARIZATIONS, "threshold": "refused"})] = "static"
    """How pixels become binary: static, drawn once; dynamic, drawn anew in every step; none, 256 levels."""
    mixture: Annotated[int, lab.AtLeast(0)] = 0
    """Logistic distributions that predict one of 256 levels, such as 10; 0 for the logits of all levels."""
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(
        epochs=12, seeds=1, batch=32, learning_rate=2e-3, averaging=0.999
    )


PRESETS = {
    "quick": {"models": ("row",), "params": 12_000, "blocks": 3, "epochs": 1, "train_images": 10_000},
    "full": {"seeds": 3, "epochs": 30},
}
TOLERANCE = 0.1
"""Widths are whole numbers."""


class Generation(lab.Study[Options]):
    """Models that write images."""

    name = "generation"
    protocol = PROTOCOL
    columns = (
        lab.PARAMETERS,
        lab.WIDTH,
        lab.SECONDS,
        ("samples\na second", lambda row: f"{row['samples_per_second']:.1f}"),
        lab.MEMORY,
    )

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        check_bytes(data)
        self.levels = levels_of(options.binarization)
        self.images = {
            name: prepared(np.asarray(getattr(data, name).images), name, options.binarization)
            for name in ("train", "validation", "test")
        }
        test = self.images["test"]
        self.given = test[evenly(len(test), GIVEN)]

    @classmethod
    def check(cls, options: Options) -> None:
        levels = levels_of(options.binarization)
        if options.mixture and levels == BINARY:
            raise InputError("--mixture is for 256 levels: give --binarization none, or leave it out.")

    @classmethod
    def load(cls, options: Options) -> lab.Dataset:
        return options.training.load(labelled=False)

    def contenders(self) -> Sequence[lab.Contender]:
        objective = partial(loss, binarization=self.options.binarization)
        images, how = self.images, {"budget": self.options.params, "tolerance": TOLERANCE}
        task = lab.Task(objective, log_likelihood, images["train"], images["validation"], "log_likelihood", ".2f")
        return [
            lab.Contender(
                name, TITLES[name], partial(self.build, name), task, about={"certificate": self.certify(name)}, **how
            )
            for name in self.options.models
        ]

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> PixelModel:
        """Builds a model whose layers have `width` features for each colour."""
        colours = self.data.shape[2]
        how: dict[str, Any] = {"colours": colours, "levels": self.levels, "mixture": self.options.mixture, "rngs": rngs}
        if name in ("row", "diagonal"):
            return PixelRNN(name, colours * width, blocks=self.options.blocks, **how)
        if name == "gated":
            return GatedPixelCNN(colours * width, blocks=self.options.blocks, **how)
        if name == "gru":
            cells = [GRU(1 + colours, width, rngs=rngs), GRU(width, width, rngs=rngs)]
            return PixelScan(Stack([Recurrent(cell) for cell in cells]), **how)
        return PixelScan(Transformer(1 + colours, width, blocks=4, causal=True, rngs=rngs), **how)

    def certify(self, name: str) -> str:
        """Certifies in words that a kind of model does not peek; a narrow one with drawn weights stands for all.

        Raises:
            InputError: if it does.
        """
        found = causality(self.build(name, NARROW, nnx.Rngs(0)), (*CHECKED, self.data.shape[2]))
        if not found.passed:
            raise InputError(f"{TITLES[name]}: {found.in_words()} Its likelihood would mean nothing.")
        return found.in_words()

    def setting(self) -> lab.Setting:
        return lab.Setting(arrays={"given": in_bytes(self.given, self.levels)})

    def examine(self, trial: lab.Trial) -> lab.Examined:
        height, width, _ = shape = self.data.shape
        model = trial.model()
        test = self.images["test"]
        peek = first_peek(model, test[0])
        if peek is not None:
            raise InputError(
                f"{trial.contender.title}: the prediction at {peek[0]} changes with the value at {peek[1]}."
            )
        nats = Nats(tuple((-trial.evaluate(log_likelihood, test).mean(axis=1, dtype=np.float64)).tolist()))
        first, again, others = jax.random.split(jax.random.key(0), 3)
        started = time.perf_counter()
        drawn = jax.block_until_ready(sample(model, first, SAMPLES, (height, width)))
        compiled = time.perf_counter()
        jax.block_until_ready(sample(model, again, SAMPLES, (height, width)))
        seconds = time.perf_counter() - compiled
        how = {"count": ENDINGS, "size": (height, width), "rows": height // 2}
        ends = [
            np.asarray(sample(model, jax.random.fold_in(others, n), given=one[None], **how))
            for n, one in enumerate(self.given)
        ]
        by_pixel = trial.evaluate(surprise, test[evenly(len(test), 1_000)]).mean(axis=(0, 1)).sum(axis=-1)
        scores = {
            "nll": (nats if self.levels == BINARY else nats.per_dimension(shape)).to_json(),
            "samples_per_second": SAMPLES / seconds,
            "seconds_of_first_samples": compiled - started,
        }
        samples = in_bytes(np.asarray(drawn), self.levels)
        # Those that are drawn anew in every step are grey still.
        train = in_bytes(self.images["train"], LEVELS if self.options.binarization == "dynamic" else self.levels)
        arrays = {
            "samples": samples,
            "nearest": nearest(samples, train),
            "endings": in_bytes(np.stack(ends), self.levels),
            "surprise": by_pixel,
            "context": context(model, test[:1]),
        }
        return lab.Examined(scores, arrays, (test[:1].astype(np.int32),))

    def table(self, record: lab.Record) -> list[list[str]]:
        """Returns likelihoods, in the unit of the images, and the cost of each model."""
        binary = self.levels == BINARY
        title, digits = ("nats an\nimage", 2) if binary else ("bits a\ndimension", 4)
        likelihood = lab.score_column(title, "nll", digits, 1.0)
        return lab.model_table(self.heading, record.summary, (likelihood, *self.columns))


if __name__ == "__main__":
    lab.run(Generation, Options, PRESETS)
