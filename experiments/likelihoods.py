"""What is the probability of an image good for?

One small Row LSTM for each class learns to write its images. A new image is of the class in which it is most probable.
Is an image that is improbable in all classes of another kind? A known trap: plain images are probable to every model,
whatever they show (Nalisnick et al. 2019). So the bits that an image takes are compared with those of its PNG file too,
which say how plain it is (Serrà et al. 2020).

    python experiments/likelihoods.py                          digits, and the same ones mirrored
    python experiments/likelihoods.py --others fashion_mnist   are clothes strange to a model of digits?
    python experiments/likelihoods.py --data fashion_mnist --others mnist --full    and digits to one of clothes?
    python experiments/likelihoods.py --quick                  minutes: smaller models, fewer images
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx

from rowrnn import lab
from rowrnn.errors import InputError
from rowrnn.generation import ClassModels, PixelRNN, sample
from rowrnn.lab.data.load import is_own, load
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.generation.examples import LEVELS, check_bytes
from rowrnn.lab.tasks.generation.likelihood import Nats
from rowrnn.lab.tasks.likelihoods.task import (
    compressed_bits,
    in_each,
    log_likelihood,
    loss,
    of_all,
    one_of_each,
    strangeness,
)

MIRRORED = "mirrored"
WRITTEN = 4  # images of each class in the record
PROTOCOL = {
    "test_accuracy": "of the test images, in which class each is most probable; classes count alike",
    "nll": "negative log-likelihood of the test images in the mean of all classes, in bits for each value; nll_others: "
    "of the test images of the other set",
    "stranger": "area under the receiver operating characteristic: of all pairs of another image and an own one, the "
    "share in which the former is less probable; stranger_for_its_size: in which it takes more bits beyond those of "
    "its PNG file",
    "validation": "log-likelihood of validation images in their own class, in nats; it chooses the epoch",
    "test": "scored once, at the end, on every test image of both sets",
}


@dataclass(frozen=True)
class Options:
    """Trains a model of images for each class, and asks it about images of its own kind and of another."""

    others: str = MIRRORED
    """Images of another kind: mirrored, the own ones with left and right exchanged; or a data set, as --data."""
    params: lab.Count = 120_000
    """Parameter budget of the models of all classes together, met as nearly as whole widths allow."""
    blocks: lab.Count = 3
    """Blocks of each model."""
    mixture: lab.Count = 5
    """Logistic distributions that predict a value."""
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(
        epochs=10, seeds=1, batch=8, learning_rate=3e-3, averaging=0.99
    )


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"params": 30_000, "blocks": 1, "epochs": 1, "train_images": 10_000},
    "full": {"seeds": 3},
}
TOLERANCE = 0.2
"""Widths are whole numbers, and a feature more is one for each class."""


class Likelihoods(lab.Study[Options]):
    """Models of images of one class each."""

    name = "likelihoods"
    protocol = PROTOCOL
    columns = (
        lab.score_column("told apart\n%", "test_accuracy"),
        lab.score_column("own images,\nbits a value", "nll", 3, 1.0),
        lab.score_column("others,\nbits a value", "nll_others", 3, 1.0),
        lab.score_column("others less\nprobable %", "stranger", 1),
        lab.score_column("and for\ntheir size %", "stranger_for_its_size", 1),
        lab.PARAMETERS,
        lab.SECONDS,
    )

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        check_bytes(data)
        self.test = np.asarray(data.test.images)
        self.others = self.test[:, :, ::-1]
        if options.others != MIRRORED:
            source = options.training.source
            how: dict[str, Any] = {"shaping": source.shaping()} if is_own(options.others) else {}
            others = load(options.others, source.data_dir, source.budget(), labelled=False, **how)
            self.others = np.asarray(others.test.images)
        if self.others.shape[1:] != self.test.shape[1:] or self.others.dtype != np.uint8:
            raise InputError(
                f"The images of {options.others} are {self.others.dtype} {list(self.others.shape[1:])}, those of "
                f"{data.name} uint8 {list(self.test.shape[1:])}; expected two sets of one size."
            )

    def contenders(self) -> Sequence[lab.Contender]:
        splits = self.data.train, self.data.validation
        arrays = [(np.asarray(split.images), np.asarray(split.labels)) for split in splits]
        train, validation = (one_of_each(*of_split, self.data.classes) for of_split in arrays)
        task = lab.Task(loss, log_likelihood, train, validation, "log_likelihood", ".1f", together=self.data.classes)
        budget = self.options.params
        return [lab.Contender("row", "Row LSTM", self.build, task, budget=budget, tolerance=TOLERANCE)]

    def build(self, width: int, rngs: nnx.Rngs) -> ClassModels:
        """Builds models of `width` features for each colour."""
        colours, how = self.data.shape[2], {"blocks": self.options.blocks, "mixture": self.options.mixture}

        def one(rngs: nnx.Rngs) -> PixelRNN:
            return PixelRNN("row", colours * width, colours=colours, levels=LEVELS, **how, rngs=rngs)

        return ClassModels(one, self.data.classes, rngs=rngs)

    def examine(self, trial: lab.Trial) -> lab.Examined:
        own, others = (trial.evaluate(in_each, images) for images in (self.test, self.others))
        labels, shape = np.asarray(self.data.test.labels), self.data.shape
        of_own, of_others = of_all(own).astype(np.float64), of_all(others).astype(np.float64)
        sizes = np.concatenate([compressed_bits(self.test), compressed_bits(self.others)])
        strange = np.repeat([0, 1], [len(self.test), len(self.others)])
        bits = np.concatenate([of_own, of_others], axis=1) / -np.log(2)
        stranger = [strangeness(strange, of_seed, sizes) for of_seed in bits]
        scores = {
            "test_accuracy": interval((own.argmax(axis=-1) == labels).mean(axis=1)),
            "nll": Nats(tuple(-of_own.mean(axis=1))).per_dimension(shape).to_json(),
            "nll_others": Nats(tuple(-of_others.mean(axis=1))).per_dimension(shape).to_json(),
            "stranger": interval([by_bits for by_bits, _ in stranger]),
            "stranger_for_its_size": interval([for_its_size for _, for_its_size in stranger]),
        }
        models: Any = trial.model()
        written = [
            np.asarray(sample(models.model(number), jax.random.key(number), WRITTEN, shape[:2]))
            for number in range(self.data.classes)
        ]
        arrays = {
            "bits": bits[0].astype(np.float32),
            "compressed": sizes,
            "strange": strange,
            "written": np.stack(written).astype(np.uint8),
        }
        return lab.Examined(scores, arrays, (self.test[:1].astype(np.int32),))


if __name__ == "__main__":
    lab.run(Likelihoods, Options, PRESETS)
