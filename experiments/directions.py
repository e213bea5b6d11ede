"""Does it matter in which order a recurrent network reads an image?

Models with the same cell (and one LSTM by rows), parameter budget and training recipe read images in different orders:
rows from the top or from the bottom, columns, rows both ways, patches row by row or in a snake, diagonals, and rows in
a fixed random order. ReNet, two layers that read patches from all four sides, classifies the mean of its outputs; the
others classify the last output of each direction. With `--directions vision_lstm transformer` a Vision-LSTM, whose
blocks read patches forward and backward by turns, and a Transformer over patches do so as ReNet does. A table reports
accuracy, seconds per epoch and memory; figures show every order and its accuracy.

    python experiments/directions.py            about half an hour on 2 cores
    python experiments/directions.py --full     some hours: the committed results
    python experiments/directions.py --quick    a minute: does it run?
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np
from flax import nnx

from rowrnn import CELLS, Bidirectional, ImageScan, Recurrent, ReNet, Transformer, VisionLSTM, lab
from rowrnn.errors import InputError
from rowrnn.image.orders import HOLE, ORDERS, Order
from rowrnn.models import ScanClassifier

TITLES = {
    "rows": "rows, from the top",
    "rows_lstm": "rows, from the top, LSTM",
    "bottom_up": "rows, from the bottom",
    "columns": "columns, from the left",
    "both_ways": "rows, both ways",
    "pixels": "patches, row by row",
    "snake": "patches, as a snake",
    "diagonal": "diagonals",
    "permuted_rows": "rows in random order",
    "renet": "ReNet",
    "vision_lstm": "patches, Vision-LSTM",
    "transformer": "patches, Transformer",
}
ORDERS_READ = {
    **{"rows_lstm": ("rows",), "bottom_up": ("rows",), "both_ways": ("rows",), "renet": ("down", "across")},
    **{"vision_lstm": ("pixels",), "transformer": ("pixels",)},
}
SIGNS = {  # 1 reads forward, -1 backward
    **{"bottom_up": (-1,), "both_ways": (1, -1), "renet": (1, -1), "vision_lstm": (1, -1)},
}
OF_PATCHES = {"vision_lstm": VisionLSTM, "transformer": Transformer}  # each output has seen all patches

Build = Callable[[int, nnx.Rngs], ScanClassifier]


@dataclass(frozen=True)
class Options:
    """Compares models that read images in different orders."""

    directions: Annotated[tuple[str, ...], lab.KnownNames(TITLES)] = tuple(TITLES)[:-2]
    """Orders to compare: rows, rows_lstm, bottom_up, columns, both_ways, pixels (patch by patch), snake, diagonal,
    permuted_rows, renet, vision_lstm and transformer (patches too)."""
    cell: Annotated[str, lab.KnownNames(CELLS)] = "gru"
    """Cell of all models but rows_lstm, vision_lstm and transformer: gru, lstm or another of rowrnn.CELLS."""
    params: lab.Count = 30_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    patch: lab.Count = 4
    """Side of the patches of pixels, snake, vision_lstm and transformer, in pixels; each patch is a step."""
    renet_patch: lab.Count = 2
    """Side of the patches of both layers of ReNet."""
    regularization: lab.Group[lab.Regularization] = lab.Regularization()
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions()


PRESETS = {
    "quick": {"params": 10_000, "epochs": 1, "seeds": 2, "train_images": 2_000},
    "full": {
        "params": 80_000,
        "epochs": 20,
        "seeds": 5,
        "dropout": 0.2,
        "learning_rate": 4e-3,
        "augmentation": lab.Augmentation(shift=2.0, rotation=10.0, zoom=0.1, shear=0.15),
    },
}


class Directions(lab.Study[Options]):
    """Classifiers, one for each order."""

    name = "directions"
    protocol = lab.CLASSIFIER_PROTOCOL
    heading = "order"
    columns = (
        lab.score_column("test\naccuracy %"),
        lab.PARAMETERS,
        lab.WIDTH,
        ("steps", lambda row: f"{row['sequences']}x{row['steps']}" if row["sequences"] > 1 else str(row["steps"])),
        lab.SECONDS,
        lab.ANSWERS,
        lab.MEMORY,
    )

    def contenders(self) -> list[lab.Contender]:
        options = self.options
        task = lab.classification_task(self.data, options.regularization.augmentation)
        builds = {name: self.build(name) for name in options.directions}
        return [
            lab.Contender(name, TITLES[name], build, task, budget=options.params, about=self.lengths(build))
            for name, build in builds.items()
        ]

    def patches(self, name: str) -> dict[str, tuple[int, int]]:
        """Returns the option `patch` of a direction's order, in pixels; empty for an order without patches."""
        sides = dict.fromkeys(("pixels", "snake", *OF_PATCHES), self.options.patch)
        sides |= {"renet": self.options.renet_patch}
        return {"patch": (sides[name], sides[name])} if name in sides else {}

    def build(self, name: str) -> Build:
        """Returns a function that builds a model of this direction from its width and random streams.

        Raises:
            InputError: if patches do not divide the images.
        """
        (height, width, channels), classes = self.data.shape, self.data.classes
        order, how = ORDERS_READ.get(name, (name,))[0], self.patches(name)
        try:
            features = ORDERS[order](height, width, **how).pixels.shape[-1] * channels
            if name == "renet":  # The second layer reads patches of the first one's grid.
                side = self.options.renet_patch**2
                ORDERS[order](height, width, patch=(side, side))
        except ValueError as error:
            raise InputError(f"{error} Take other ones with --patch or --renet-patch.") from None
        cell = CELLS["lstm" if name == "rows_lstm" else self.options.cell]

        dropout, steps = self.options.regularization.dropout, height * width // self.options.patch**2

        def make(units: int, rngs: nnx.Rngs) -> ScanClassifier:
            if name in OF_PATCHES:
                layer = OF_PATCHES[name](features, units, longest=steps, dropout=dropout, rngs=rngs)
                layers = [ImageScan(layer, order, **how)]
            elif name == "renet":
                # The first layer reads four times as many patches, with fewer features: it has half the width.
                first = ReNet(channels, -(-units // 2), how["patch"], cell=cell, rngs=rngs)
                layers = [first, ReNet(first.outputs, units, how["patch"], cell=cell, rngs=rngs)]
            else:
                directions = 2 if name == "both_ways" else 1
                cells = [cell(features, units, rngs=rngs) for _ in range(directions)]
                layer = Bidirectional(*cells) if directions == 2 else Recurrent(*cells, reverse=name == "bottom_up")
                layers = [ImageScan(layer, order, **how)]
            pooling = "mean" if name in ("renet", *OF_PATCHES) else "last"
            return ScanClassifier(layers, classes, pooling=pooling, dropout=dropout, rngs=rngs)

        return make

    def lengths(self, build: Build) -> dict[str, int]:
        """Returns the number of sequences of an image, and of their steps, in each direction of the first layer."""
        layer: ImageScan | ReNet = jax.eval_shape(lambda: build(2, nnx.Rngs(0))).layers[0]
        scan = layer.vertical if isinstance(layer, ReNet) else layer
        sequences, steps, _ = scan.order(*self.data.shape[:2], **dict(scan.options)).pixels.shape
        return {"sequences": sequences, "steps": steps}

    def card(self, trial: lab.Trial) -> lab.Card:
        return lab.classifier_card(self.data, trial)

    def examine(self, trial: lab.Trial) -> lab.Examined:
        test = self.data.test
        scores, _ = lab.score_classifier(trial, test)
        return lab.Examined(scores, self.ways(trial.contender.name), (lab.as_float(test.images[:1]),))

    def ways(self, name: str) -> Mapping[str, np.ndarray]:
        """Returns arrays for the figures.

        Returns:
            For each direction `when/N` `[h, w]`, the step that reads each pixel, negative where the model reads
            backward, and `way/N` `[t, 2]`, row and column of the centres of its steps.
        """
        height, width, _ = self.data.shape
        read = [ORDERS[order](height, width, **self.patches(name)) for order in ORDERS_READ.get(name, (name,))]
        arrays = {}
        for number, (order, sign) in enumerate((order, sign) for order in read for sign in SIGNS.get(name, (1,))):
            centres = step_centres(order)[::sign]
            arrays |= {f"when/{number}": sign * order.when(), f"way/{number}": centres}
        return arrays

    def table(self, record: lab.Record) -> list[list[str]]:
        """Returns accuracy and cost of every order, sorted by decreasing accuracy."""
        best_first = sorted(record.summary, key=lambda row: -row["test_accuracy"]["mean"])
        return lab.model_table(self.heading, best_first, self.columns)


def step_centres(order: Order) -> np.ndarray:
    """Returns row and column of the centre of every step, `[t, 2]`; for an order of several sequences, of the middle
    one."""
    steps = order.pixels[len(order.pixels) // 2]
    return np.array([[np.mean(axis) for axis in np.divmod(step[step != HOLE], order.size[1])] for step in steps])


if __name__ == "__main__":
    lab.run(Directions, Options, PRESETS)
