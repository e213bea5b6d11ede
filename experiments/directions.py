"""Does it matter in which order a recurrent network reads an image?

One cell, one parameter budget, one recipe; what differs is the order: rows from the top or from the bottom, columns,
rows both ways, a snake over patches, diagonals, rows in a fixed random order, and ReNet, two layers that read patches
from all four sides, pooled by the mean where the others end. A table tells accuracy, seconds per epoch and memory,
pictures show every order and how far it came.

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

from rowrnn import CELLS, Bidirectional, ImageScan, Recurrent, ReNet, lab
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
}
ORDERS_READ = {"rows_lstm": ("rows",), "bottom_up": ("rows",), "both_ways": ("rows",), "renet": ("down", "across")}
SIGNS = {"bottom_up": (-1,), "both_ways": (1, -1), "renet": (1, -1)}  # from the front, from the back

Build = Callable[[int, nnx.Rngs], ScanClassifier]


@dataclass(frozen=True)
class Options:
    """The same cell reads the same images in different orders."""

    directions: Annotated[tuple[str, ...], lab.KnownNames(TITLES)] = tuple(TITLES)
    """Orders to compare: rows, rows_lstm, bottom_up, columns, both_ways, pixels (patch by patch), snake, diagonal,
    permuted_rows, renet."""
    cell: Annotated[str, lab.KnownNames(CELLS)] = "gru"
    """Cell that reads: gru, lstm or another of rowrnn.CELLS; rows_lstm is an LSTM whatever it is."""
    params: lab.Count = 30_000
    """Parameter budget of each model, met within 3 %; widths follow from it."""
    patch: lab.Count = 4
    """Side of the patches that `pixels` and `snake` read as a step."""
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
    """One model for each order."""

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
        """The patches that a direction reads, as its order takes them."""
        sides = {"pixels": self.options.patch, "snake": self.options.patch, "renet": self.options.renet_patch}
        return {"patch": (sides[name], sides[name])} if name in sides else {}

    def build(self, name: str) -> Build:
        """A model of this direction, by its width.

        Raises:
            InputError: if patches do not divide the images.
        """
        (height, width, channels), classes = self.data.shape, self.data.classes
        order, how = ORDERS_READ.get(name, (name,))[0], self.patches(name)
        try:
            features = ORDERS[order](height, width, **how).pixels.shape[-1] * channels
            if name == "renet":  # Its second layer reads patches of patches.
                side = self.options.renet_patch**2
                ORDERS[order](height, width, patch=(side, side))
        except ValueError as error:
            raise InputError(f"{error} Take other ones with --patch or --renet-patch.") from None
        cell = CELLS["lstm" if name == "rows_lstm" else self.options.cell]

        def make(units: int, rngs: nnx.Rngs) -> ScanClassifier:
            if name == "renet":
                # The first layer reads four times as many patches, of fewer features.
                first = ReNet(channels, -(-units // 2), how["patch"], cell=cell, rngs=rngs)
                layers = [first, ReNet(first.outputs, units, how["patch"], cell=cell, rngs=rngs)]
            else:
                directions = 2 if name == "both_ways" else 1
                cells = [cell(features, units, rngs=rngs) for _ in range(directions)]
                layer = Bidirectional(*cells) if directions == 2 else Recurrent(*cells, reverse=name == "bottom_up")
                layers = [ImageScan(layer, order, **how)]
            pooling = "mean" if name == "renet" else "last"
            dropout = self.options.regularization.dropout
            return ScanClassifier(layers, classes, pooling=pooling, dropout=dropout, rngs=rngs)

        return make

    def lengths(self, build: Build) -> dict[str, int]:
        """How many sequences of how many steps each direction of the first layer reads."""
        layer: ImageScan | ReNet = jax.eval_shape(lambda: build(2, nnx.Rngs(0))).layers[0]
        scan = layer.vertical if isinstance(layer, ReNet) else layer
        sequences, steps, _ = scan.order(*self.data.shape[:2], **dict(scan.options)).pixels.shape
        return {"sequences": sequences, "steps": steps}

    def examine(self, trial: lab.Trial) -> lab.Examined:
        test = self.data.test
        scores, _ = lab.score_classifier(trial, test)
        return lab.Examined(scores, self.ways(trial.contender.name), (lab.as_float(test.images[:1]),))

    def ways(self, name: str) -> Mapping[str, np.ndarray]:
        """When each pixel is read, `[h, w]`, and of every direction the centres of its steps, `[t, 2]`."""
        height, width, _ = self.data.shape
        read = [ORDERS[order](height, width, **self.patches(name)) for order in ORDERS_READ.get(name, (name,))]
        signs = SIGNS.get(name, (1,))
        ways = [step_centres(order)[::sign] for order in read for sign in signs]
        return {"when": signs[0] * read[0].when(), **{f"way/{number}": way for number, way in enumerate(ways)}}

    def table(self, record: lab.Record) -> list[list[str]]:
        """Accuracy and cost of every order, the best first."""
        best_first = sorted(record.summary, key=lambda row: -row["test_accuracy"]["mean"])
        return lab.model_table(self.heading, best_first, self.columns)


def step_centres(order: Order) -> np.ndarray:
    """Row and column of the centre of every step, `[t, 2]`, of the sequence in the middle."""
    steps = order.pixels[len(order.pixels) // 2]
    return np.array([[np.mean(axis) for axis in np.divmod(step[step != HOLE], order.size[1])] for step in steps])


if __name__ == "__main__":
    lab.run(Directions, Options, PRESETS)
