"""Can a recurrent cell see where two digits fly?

Videos show two handwritten digits that move over a canvas and bounce off its walls (Moving MNIST). A ConvLSTM and a
ConvGRU of the same number of parameters read ten frames and predict the ten that follow. The baselines repeat the last
given frame, or the mean of the given frames. With `--given 1` the motion must be predicted from a single frame.

    python experiments/moving_digits.py --full     two hours on one core, less on 2: the committed results
    python experiments/moving_digits.py            a quarter of an hour: fewer videos, one seed
    python experiments/moving_digits.py --quick    3 minutes: one digit, a small ConvGRU
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated

import jax
import numpy as np
from flax import nnx

from rowrnn import lab
from rowrnn.cells import ConvCell, ConvGRU, ConvLSTM
from rowrnn.errors import InputError
from rowrnn.lab.tasks.frames.moving_digits import (
    SIMILAR,
    SIZE,
    fixed_videos,
    loss,
    score_baselines,
    training_videos,
)
from rowrnn.lab.tasks.frames.task import HELD, forecast, frame_errors, negative_mse, similarity
from rowrnn.models.forecaster import Forecaster

CELLS: dict[str, type[ConvCell]] = {"lstm": ConvLSTM, "gru": ConvGRU}
SHOWN = 6
PROTOCOL = {
    "examples": "from fixed keys: for validation of validation digits, for the test, scored once, of test digits, "
    "the first digit of each video the next one, the others any of them; "
    "training videos of training digits, anew in every step",
    "mse_per_frame": "squared error summed over the pixels of a frame, in [0, 1], averaged over predicted frames "
    "and videos",
    "ssim": "scikit-image, windows of 7x7 pixels of equal weight, data range 2: as in published tables; of the "
    f"first {SIMILAR} test videos",
}


@dataclass(frozen=True)
class Options:
    """Trains models to predict the next frames of videos of moving digits."""

    models: Annotated[tuple[str, ...], lab.KnownNames(CELLS)] = tuple(CELLS)
    """Convolutional cells: lstm, gru."""
    params: lab.Count = 73_000
    """Parameter budget of each model, met within 3 %; the channels of its state follow from it."""
    digits: lab.Count = 2
    """Digits in a video."""
    given: lab.Count = 10
    """Frames that are given."""
    ahead: lab.Count = 10
    """Frames that are predicted."""
    patch: lab.Count = 8
    """Side of a patch, in pixels; a patch is one position of a cell's input."""
    validation_videos: lab.Count = 500
    """Videos of the validation set."""
    test_videos: lab.Count = 2_000
    """Videos of the test set."""
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(
        epochs=4, seeds=1, batch=8, learning_rate=6e-3, train_images=6_000
    )


PRESETS = {
    "quick": {
        "models": ("gru",),
        "params": 30_000,
        "digits": 1,
        "epochs": 2,
        "train_images": 2_500,
        "validation_videos": 100,
        "test_videos": 200,
    },
    "full": {"seeds": 3, "train_images": 10_000},
}


class MovingDigits(lab.Study[Options]):
    """Forecasters with a ConvLSTM and a ConvGRU, and baselines."""

    name = "moving_digits"
    protocol = PROTOCOL
    columns = (
        lab.score_column("MSE\nper frame", "mse_per_frame", 1, 1.0),
        lab.score_column("SSIM", "ssim", 3, 1.0),
        lab.PARAMETERS,
        ("channels", lab.WIDTH[1]),
        ("s per 1,000\nvideos", lambda row: f"{1000 / row['train_images_per_second']:.1f}"),
        lab.generation_column("videos"),
        lab.MEMORY,
    )

    def __init__(self, options: Options, data: lab.Dataset) -> None:
        super().__init__(options, data)
        self.reach = {"given": options.given, "ahead": options.ahead}
        frames = {"digits": options.digits, "frames": options.given + options.ahead}
        self.validation = fixed_videos(1, data.validation, options.validation_videos, **frames)
        self.test = fixed_videos(2, data.test, options.test_videos, **frames)
        self.training_videos = partial(training_videos, **frames)

    @classmethod
    def check(cls, options: Options) -> None:
        if options.patch % 2 or SIZE % options.patch:
            raise InputError(f"--patch is {options.patch}; expected an even number that divides the canvas of {SIZE}.")

    def contenders(self) -> list[lab.Contender]:
        task = lab.Task(
            partial(loss, digits=self.options.digits, **self.reach),
            partial(negative_mse, **self.reach),
            self.data.train,
            self.validation,
            "negative_mse",
            ".1f",
        )
        return [
            lab.Contender(
                name,
                CELLS[name].__name__,
                partial(self.build, name),
                task,
                budget=self.options.params,
                generate=self.training_videos,
            )
            for name in self.options.models
        ]

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> Forecaster:
        """Builds a forecaster whose state has `width` channels."""
        return Forecaster(CELLS[name], width, (SIZE, SIZE, self.data.shape[2]), patch=self.options.patch, rngs=rngs)

    def setting(self) -> lab.Setting:
        self.baselines, arrays = score_baselines(self.test, **self.reach)
        return lab.Setting({"baselines": self.baselines}, {"video": self.test[:SHOWN], **arrays})

    def examine(self, trial: lab.Trial) -> lab.Examined:
        options, some = self.options, self.test[:SIMILAR]
        errors = trial.evaluate(partial(frame_errors, **self.reach), self.test)
        predict = jax.jit(partial(forecast, **self.reach))
        each = [predict(jax.tree.map(lambda a, n=n: a[n], trial.models), some) for n in range(trial.row.seeds)]
        scores = {
            "mse_per_frame": lab.interval(errors.mean(axis=(1, 2))),
            "ssim": lab.interval([similarity(predicted, some, given=options.given) for predicted in each]),
            **{f"copy_last_{of}": lab.interval([value]) for of, value in self.baselines[HELD].items()},
        }
        arrays = {"error": errors.mean(axis=1), "predicted": np.asarray(each[0][:SHOWN])}
        given = lab.as_float(self.test[:1, : options.given])
        return lab.Examined(scores, arrays, (given,), call=lambda model, x: model(x, options.ahead))

    def table(self, record: lab.Record) -> list[list[str]]:
        """Returns errors and cost of each model, and the errors of each baseline."""
        table = lab.model_table(self.heading, record.summary, self.columns)
        for name, scores in self.baselines.items():
            table.append([name, f"{scores['mse_per_frame']:.1f}", f"{scores['ssim']:.3f}", *["-"] * 5])
        return table


if __name__ == "__main__":
    lab.run(MovingDigits, Options, PRESETS)
