"""Can a recurrent cell that reads an image row by row keep up with a convolutional network that sees it whole?

A Row LSTM, a Row GRU and a small CNN of the same number of parameters are trained on the same images, with several
seeds each; with `--models lstm gru transformer cnn` a Transformer over the rows too. A table reports accuracy and
speed; figures show the accuracy after each row, the gates of the cells and the mistakes.

    python experiments/mnist_rows.py            3 to 4 minutes on 2 cores: LSTM and GRU above 98.5 %, CNN above 99 %
    python experiments/mnist_rows.py --full     about an hour: the committed results
    python experiments/mnist_rows.py --quick    half a minute: does it run?
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from flax import nnx
from jaxtyping import ArrayLike

from rowrnn import CELLS, ImageScan, Transformer, lab
from rowrnn.errors import InputError
from rowrnn.lab.tasks.classification.read_along import read_along
from rowrnn.lab.tasks.classification.task import correct_by_row, examine
from rowrnn.models import CNN, Classifier, ScanClassifier
from rowrnn.models.row_classifier import Pooling

TITLES = {
    **{name: f"Row {cell.__name__}" for name, cell in CELLS.items()},
    "transformer": "Row Transformer",
    "cnn": "CNN",
}
BY_ROW = 500  # test images of which each upper part is classified anew, for models that see images whole


@dataclass(frozen=True)
class Options:
    """Trains recurrent cells that read images row by row, and a small CNN, to classify them."""

    models: Annotated[tuple[str, ...], lab.KnownNames(TITLES)] = ("lstm", "gru", "cnn")
    """Models: cnn, transformer, or a cell: lstm, gru, elman, mgu, min_gru and the others of rowrnn.CELLS."""
    params: lab.Count = 30_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    hidden: lab.OptionalCount = None
    """Hidden size of the recurrent cells, instead of the budget."""
    channels: lab.OptionalCount = None
    """Channels of the CNN's last convolution, instead of the budget."""
    pooling: Pooling = "last"
    """What the recurrent models classify: the output after the last row, or the mean over rows."""
    example: int = 0
    """Index of the test image for which gate activations are drawn."""
    regularization: lab.Group[lab.Regularization] = lab.Regularization()
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions()


PRESETS = {
    "quick": {"params": 10_000, "epochs": 1, "seeds": 2, "train_images": 4_000},
    "full": {
        "params": 80_000,
        "epochs": 20,
        "seeds": 6,
        "batch": 128,
        "dropout": 0.2,
        "learning_rate": 4e-3,
        "augmentation": lab.Augmentation(shift=2.0, rotation=10.0, zoom=0.1, shear=0.15),
    },
}


class MnistRows(lab.Study[Options]):
    """Classifiers that read images row by row, and a CNN."""

    name = "mnist_rows"
    protocol = lab.CLASSIFIER_PROTOCOL | {
        "correct_by_row": f"all test images for a cell; the first {BY_ROW} for a CNN, its rows below left blank, and "
        "for a Transformer, which does not attend to them"
    }
    columns = (
        lab.score_column("test\naccuracy %"),
        lab.PARAMETERS,
        ("seconds\nto 98 %", lambda row: seconds(row["seconds_to_98"])),
        ("seconds\nto 99 %", lambda row: seconds(row["seconds_to_99"])),
        ("training\nimages/s", lambda row: f"{row['train_images_per_second']:,.0f}"),
        lab.ANSWERS,
        ("memory\nMiB", lab.MEMORY[1]),
    )

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        if not 0 <= options.example < len(data.test):
            raise InputError(f"Test image {options.example} does not exist: take one from 0 to {len(data.test) - 1}.")

    def contenders(self) -> list[lab.Contender]:
        options = self.options
        task = lab.classification_task(self.data, options.regularization.augmentation)
        return [
            lab.Contender(
                name,
                TITLES[name],
                partial(self.build, name),
                task,
                width=options.channels if name == "cnn" else options.hidden,
                budget=options.params,
            )
            for name in options.models
        ]

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> Classifier | ScanClassifier | CNN:
        """Builds a model with `width` hidden units, or for a CNN, channels."""
        dropout, (_, columns, channels) = self.options.regularization.dropout, self.data.shape
        if name == "cnn":
            return CNN(self.data.shape, width, self.data.classes, dropout=dropout, rngs=rngs)
        if name == "transformer":
            layer = Transformer(columns * channels, width, dropout=dropout, rngs=rngs)
            layers, classes = [ImageScan(layer, "rows")], self.data.classes
            return ScanClassifier(layers, classes, pooling="mean", dropout=dropout, rngs=rngs)
        cell = CELLS[name](columns * channels, width, rngs=rngs)
        return Classifier(cell, self.data.classes, pooling=self.options.pooling, dropout=dropout, rngs=rngs)

    def table(self, record: lab.Record) -> list[list[str]]:
        return lab.classifier_table(record, self.columns)

    def setting(self) -> lab.Setting:
        test, example = self.data.test, self.options.example
        return lab.Setting(arrays={"example": test.images[example], "example_label": test.labels[example]})

    def card(self, trial: lab.Trial) -> lab.Card:
        return lab.classifier_card(self.data, trial)

    def examine(self, trial: lab.Trial) -> lab.Examined:
        test = self.data.test
        scores, logits = lab.score_classifier(trial, test, validation=self.data.validation)
        arrays = {**examine(logits, test), **self.read_along(trial)}
        return lab.Examined(scores, arrays, examples=(lab.as_float(test.images[:1]),))

    def read_along(self, trial: lab.Trial) -> Mapping[str, ArrayLike]:
        """Evaluates a model after each row.

        Returns:
            `correct_by_row` `[seeds, h]`, and for a recurrent model, of the first seed and the example image, gate
            activations `gate/NAME` `[h, hidden]`, the state `state/NAME` `[h, hidden]` and class probabilities
            `probability` `[h, classes]`.
        """
        model = trial.model()
        by_row = self.data.test.first(None if isinstance(model, Classifier) else BY_ROW)
        seen: dict[str, ArrayLike] = {"correct_by_row": trial.evaluate(correct_by_row, by_row).mean(axis=1)}
        if isinstance(model, Classifier):
            seen |= read_along(model, lab.as_float(self.data.test.images[self.options.example][None]))
        return seen


def seconds(needed: float | None) -> str:
    """Whole seconds; a dash where the accuracy was not reached."""
    return "-" if needed is None else f"{needed:.0f}"


if __name__ == "__main__":
    lab.run(MnistRows, Options, PRESETS)
