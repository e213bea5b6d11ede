"""Learns to tell own images apart: one model of a folder of images with classes.

rowrnn train images FOLDER
"""

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from flax import nnx

from rowrnn.cells import CELLS
from rowrnn.errors import InputError
from rowrnn.image.renet import ReNet
from rowrnn.lab.data import Augmentation, Dataset
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.data.shaping import standardized
from rowrnn.lab.experiment.classification import (
    CLASSIFIER_PROTOCOL,
    INFLUENCE,
    classification_task,
    classifier_card,
    classifier_table,
    influenced,
    influences,
    score_classifier,
)
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.option_checks import Count, KnownNames
from rowrnn.lab.experiment.options import Group, Regularization, TrainingOptions
from rowrnn.lab.experiment.study import Setting, Study
from rowrnn.lab.own.data_options import ImageData
from rowrnn.lab.own.small_sets import fitted
from rowrnn.lab.report.columns import PARAMETERS, score_column
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.classification.task import examine
from rowrnn.models import CNN, CRNN, Classifier, ScanClassifier
from rowrnn.saving.card import Card

MODELS = {
    "crnn": "CRNN",
    "gru": "Row GRU",
    "lstm": "Row LSTM",
    "renet": "ReNet",
    "cnn": "CNN",
}
PROTOCOL = {**CLASSIFIER_PROTOCOL, **INFLUENCE}
RENET_PATCH = (2, 2)
MEASURED = 20_000  # training images whose mean and deviation are measured, at most


@dataclass(frozen=True)
class Options:
    """Trains a model that tells the classes of own images apart."""

    model: Annotated[str, KnownNames(MODELS)] = "crnn"
    """Model: crnn, rows of a map of convolutions; gru, lstm, rows of pixels; renet, patches from four sides; cnn."""
    params: Count = 100_000
    """Number of parameters, about; the width follows from it."""
    regularization: Group[Regularization] = Regularization(
        dropout=0.2, augmentation=Augmentation(shift=2.0, rotation=8.0, zoom=0.1, shear=0.1)
    )
    training: Group[TrainingOptions] = TrainingOptions(
        epochs=60, seeds=1, batch=32, learning_rate=4e-3, averaging=0.99, patience=12, source=ImageData()
    )


PRESETS: dict[str, dict[str, Any]] = {"quick": {"params": 20_000, "epochs": 2}}


class OwnImages(Study[Options]):
    """One classifier of own images."""

    name = "train_images"
    protocol = PROTOCOL
    columns = (
        score_column("test\naccuracy %"),
        score_column("balanced\naccuracy %", "balanced_accuracy"),
        PARAMETERS,
    )

    def __init__(self, options: Options, data: Dataset) -> None:
        if data.preprocessing is None:
            dtype = np.asarray(data.test.images[:1]).dtype
            raise InputError(
                f"The images of {data.name} are {dtype} of shape {list(data.shape)}; expected pictures, or uint8 "
                "arrays from 0 to 255 with 1, 3 or 4 channels. Numbers from 0 to 1 become such by "
                "(255 * images).astype('uint8')."
            )
        some = data.train.read(evenly(len(data.train), MEASURED).tolist())  # of every class: they may be sorted
        preprocessing = standardized(data.preprocessing, np.asarray(some.images))
        multiple = RENET_PATCH[0] ** 2
        if options.model == "renet" and any(side % multiple for side in data.shape[:2]):
            height, width = (max(multiple, multiple * round(side / multiple)) for side in data.shape[:2])
            raise InputError(
                f"A ReNet reads patches of patches, so that both sides are multiples of {multiple}; these images have "
                f"{data.shape[0]}x{data.shape[1]} pixels. Bring them to another size, as by --size {height} {width}."
            )
        super().__init__(options, dataclasses.replace(data, preprocessing=preprocessing))
        self.floats = preprocessing.to_floats

    def training(self) -> TrainingOptions:
        return fitted(self.options.training, len(self.data.train))

    def table(self, record: Record) -> list[list[str]]:
        return classifier_table(record, self.columns)

    def contenders(self) -> list[Contender]:
        options = self.options
        task = classification_task(self.data, options.regularization.augmentation, self.floats)
        return [Contender(options.model, MODELS[options.model], self.build, task, budget=options.params, tolerance=1.0)]

    def build(self, width: int, rngs: nnx.Rngs) -> nnx.Module:
        """Builds the model with `width` hidden units, or for a CNN, channels."""
        name, dropout = self.options.model, self.options.regularization.dropout
        (height, columns, channels), classes = self.data.shape, self.data.classes
        if name == "cnn":
            return CNN((height, columns, channels), width, classes, dropout=dropout, rngs=rngs)
        if name == "crnn":
            shape = (height, columns, channels)
            return CRNN(shape, -(-width // 2), width, classes, dropout=dropout, rngs=rngs)
        if name == "renet":
            first = ReNet(channels, -(-width // 2), RENET_PATCH, rngs=rngs)
            layers = [first, ReNet(first.outputs, width, RENET_PATCH, rngs=rngs)]
            return ScanClassifier(layers, classes, pooling="mean", dropout=dropout, rngs=rngs)
        return Classifier(CELLS[name](columns * channels, width, rngs=rngs), classes, dropout=dropout, rngs=rngs)

    def card(self, trial: Trial) -> Card | None:
        return classifier_card(self.data, trial)

    def examine(self, trial: Trial) -> Examined:
        test = self.data.test
        scores, logits = score_classifier(trial, test, self.floats, self.data.validation)
        influence = influences(trial, self.some, self.mean, self.floats)
        arrays = {**examine(logits, test), "row_influence": influence}
        return Examined(scores, arrays, (self.floats(test.images[:1]),))

    def setting(self) -> Setting:
        self.some, self.mean = influenced(self.data.test)
        return Setting(arrays={"mean_image": self.mean})
