"""Can a recurrent network read an image one pixel at a time?

Sequential and permuted MNIST (Le et al. 2015) test long memories: an image is a sequence of 784 pixels, row by row or
in a fixed random order, and the last pixel comes 783 steps after the first. Published accuracies of an LSTM are 98.9 %
(sequential) and 95.1 % (permuted).

    python experiments/pixels.py --full     40 minutes on 2 cores: a larger cell, more epochs
    python experiments/pixels.py            a quarter of an hour: a smaller cell, fewer epochs
    python experiments/pixels.py --quick    a minute: does it run?
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal

from flax import nnx

from rowrnn import CELLS, GRU, LSTM, ImageScan, Recurrent, Stack, Transformer, chrono, lab
from rowrnn.errors import InputError
from rowrnn.models import ScanClassifier
from rowrnn.models.scan_classifier import Pooling

ORDER_OF = {"sequential": "pixels", "permuted": "permuted"}
TRANSFORMER = "transformer"
LAYERS = {**{name: cell.__name__ for name, cell in CELLS.items()}, TRANSFORMER: "Transformer"}


@dataclass(frozen=True)
class Options:
    """Trains recurrent networks that read images pixel by pixel to classify them."""

    orders: Annotated[tuple[Literal["sequential", "permuted"], ...], lab.KnownNames(ORDER_OF)] = (
        "sequential",
        "permuted",
    )
    """Orders of the pixels: sequential, permuted."""
    permutation: Annotated[int, lab.AtLeast(0, "a seed of ")] = 0
    """Seed of the permutation."""
    cells: Annotated[tuple[str, ...], lab.KnownNames(LAYERS, repeated=True)] = ("gru",)
    """Cells of the layers, lowest first, of rowrnn.CELLS; or transformer, alone, of two blocks."""
    hidden: lab.Count = 64
    """Size of their states."""
    chrono: bool = True
    """Initialize the lowest layer for 2 to 784 steps; an LRU for 784 to 6,272, its recurrence not learned."""
    head: lab.OptionalCount = None
    """Units of a hidden layer with ReLU before the logits, which a linear cell needs; none where not given."""
    pooling: Pooling = "mean"
    """What the head classifies: the last output, or the mean over all steps."""
    regularization: lab.Group[lab.Regularization] = lab.Regularization(augmentation=lab.Augmentation())
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(epochs=5, seeds=1, learning_rate=4e-3)


PRESETS = {
    "quick": {"hidden": 8, "epochs": 1, "train_images": 2_000},
    "full": {"hidden": 128, "epochs": 20, "batch": 32, "learning_rate": 6e-3},
}


class Pixels(lab.Study[Options]):
    """Classifiers that read pixel by pixel, one for each order."""

    name = "pixels"
    protocol = lab.CLASSIFIER_PROTOCOL
    heading = "order, cell"
    columns = (
        lab.score_column("test\naccuracy %"),
        lab.PARAMETERS,
        lab.WIDTH,
        ("steps", lambda row: str(row["steps"])),
        lab.SECONDS,
        lab.MEMORY,
    )

    @classmethod
    def check(cls, options: Options) -> None:
        alone = options.cells == (TRANSFORMER,)
        if TRANSFORMER in options.cells and not (alone and options.pooling == "mean"):
            raise InputError(
                f"--cells is {' '.join(options.cells)} and --pooling {options.pooling}; expected a transformer alone, "
                "and the mean: each of its outputs has seen the whole image."
            )

    def contenders(self) -> list[lab.Contender]:
        options, data = self.options, self.data
        cells = " + ".join(LAYERS[name] for name in options.cells)
        task = lab.classification_task(data, options.regularization.augmentation)
        steps = data.shape[0] * data.shape[1]
        return [
            lab.Contender(
                order,
                f"{order} {cells}",
                partial(self.build, order),
                task,
                width=options.hidden,
                about={"steps": steps},
            )
            for order in options.orders
        ]

    def build(self, order: str, width: int, rngs: nnx.Rngs) -> ScanClassifier:
        """Builds a model that reads in this order, with layers of `width` units."""
        seed = {"seed": self.options.permutation} if order == "permuted" else {}
        if self.options.cells == (TRANSFORMER,):
            dropout = self.options.regularization.dropout
            layer: Stack | Transformer = Transformer(self.data.shape[2], width, dropout=dropout, rngs=rngs)
        else:
            layer = Stack(self.layers(width, rngs))
        scan = ImageScan(layer, ORDER_OF[order], **seed)
        return ScanClassifier(
            [scan],
            self.data.classes,
            pooling=self.options.pooling,
            dropout=self.options.regularization.dropout,
            head_hidden=self.options.head,
            rngs=rngs,
        )

    def layers(self, width: int, rngs: nnx.Rngs) -> list[Recurrent]:
        """Builds the layers of a model, lowest first."""
        height, columns, features = self.data.shape
        steps, layers = height * columns, []
        for name in self.options.cells:
            # Only the lowest layer needs long memories: its outputs reach the layers above in every step.
            remembers = self.options.chrono and not layers
            slow: dict[str, Any] = {"radius": (1 - 1 / steps, 1 - 1 / (8 * steps)), "learned": False}
            cell = CELLS[name](features, width, **(slow if remembers and name == "lru" else {}), rngs=rngs)
            if remembers and isinstance(cell, LSTM | GRU):
                chrono(cell, steps, rngs=rngs)
            layers.append(Recurrent(cell))
            features = cell.outputs
        return layers

    def card(self, trial: lab.Trial) -> lab.Card:
        return lab.classifier_card(self.data, trial)

    def examine(self, trial: lab.Trial) -> lab.Examined:
        scores, _ = lab.score_classifier(trial, self.data.test)
        return lab.Examined(scores, examples=(lab.as_float(self.data.test.images[:1]),))


if __name__ == "__main__":
    lab.run(Pixels, Options, PRESETS)
