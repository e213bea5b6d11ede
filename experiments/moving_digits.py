"""Can a recurrent cell see where two digits fly?

Ten frames of two handwritten digits that fly over a canvas and bounce off its walls are shown, frame by frame, and the
ten that follow are predicted (Moving MNIST), by a ConvLSTM and by a ConvGRU of one parameter budget, beside the last
frame held and the mean of the frames given. With `--given 1` a single still must move.

    python experiments/moving_digits.py --full     two hours on one core, less on 2: the committed results
    python experiments/moving_digits.py            a quarter of an hour: fewer videos, one seed
    python experiments/moving_digits.py --quick    3 minutes: one digit, a small ConvGRU
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from rowrnn.cells import ConvCell, ConvGRU, ConvLSTM
from rowrnn.errors import InputError
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Dataset, Split, as_float
from rowrnn.lab.data.fixed import fixed_examples
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import started
from rowrnn.lab.experiment.generation_cost import generation_share
from rowrnn.lab.experiment.model_trial import PROTOCOL as OF_EVERY_TASK
from rowrnn.lab.experiment.model_trial import Trial
from rowrnn.lab.experiment.option_checks import check_names
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.columns import MEMORY, PARAMETERS, WIDTH, generation_column, model_table, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.moving_digits.examples import SIZE, moving_digits
from rowrnn.lab.tasks.moving_digits.measures import squared_error, ssim
from rowrnn.models.forecaster import Forecaster

CELLS: dict[str, type[ConvCell]] = {"lstm": ConvLSTM, "gru": ConvGRU}
SIMILAR = 1_000  # videos whose similarity is taken, which takes long
PROTOCOL = {
    **OF_EVERY_TASK,
    "examples": "from fixed keys: for validation of validation digits, for the test, scored once, of test digits, the "
    "first digit of each video the next one, the others any of them; "
    "training videos of training digits, anew in every step",
    "mse_per_frame": "squared error summed over the pixels of a frame, in [0, 1], averaged over predicted frames and "
    "videos",
    "ssim": "scikit-image, windows of 7x7 pixels of equal weight, data range 2: as in published tables; of the first "
    f"{SIMILAR} test videos",
}
ENERGY = 100.0  # about the squared brightness of a digit: what the loss counts in
VIDEOS = 50  # predicted at once, where they are many
SHOWN = 6

Frames = UInt8[Array, "b t h w c"]


@dataclass(frozen=True)
class Options(TrainingOptions):
    """Forecasters of flying digits."""

    models: tuple[str, ...] = tuple(CELLS)
    """Cells over maps: lstm, gru."""
    params: int = 73_000
    """Parameter budget of each model, met within 3 %; the channels of its state follow from it."""
    digits: int = 2
    """Digits in a video."""
    given: int = 10
    """Frames that are shown; 1 for a still that must move."""
    ahead: int = 10
    """Frames that are predicted."""
    patch: int = 8
    """Pixels of a side of what a cell sees as one place."""
    validation_videos: int = 500
    """Videos on which choices are made."""
    test_videos: int = 2_000
    """Videos of the test."""
    epochs: int = 4
    """Passes over the training set: as many videos are made as there are digits."""
    seeds: int = 1
    """Models of each kind, trained together, each from its own seed."""
    batch: int = 8
    """Videos per training step."""
    learning_rate: float = 6e-3
    """Peak learning rate of AdamW."""
    train_images: int | None = 6_000
    """Train on so many digits only; all where not given."""
    quick: bool = False
    """Preset: one digit, a small ConvGRU, few videos."""
    full: bool = False
    """Preset: three seeds, 40,000 videos each."""


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


BASELINES: dict[str, Callable[[Array], Array]] = {
    "last frame held": lambda given: given[:, -1:],
    "mean of the frames given": lambda given: given.mean(axis=1, keepdims=True),
}


def main(options: Options) -> None:
    """Trains, predicts and draws what the options ask for."""
    check(options)
    data = options.load()
    makes = {name: partial(build, name, options, data) for name in options.models}
    widths = {name: solve_width(make, options.params) for name, make in makes.items()}
    validation = made(1, data.validation, options.validation_videos, options)
    test = made(2, data.test, options.test_videos, options)
    baselines, arrays = asked_baselines(test, options)
    with started("moving_digits", options, data, PROTOCOL, table_of, baselines=baselines) as experiment:
        experiment.arrays.update({"video": np.asarray(test[:SHOWN]), **arrays})
        for name, units in widths.items():
            make = partial(makes[name], units)
            task = Task(
                partial(loss, options), partial(negative_mse, options), data.train, validation, "negative_mse", ".1f"
            )
            trial = experiment.train(CELLS[name].__name__, make, task, about={"width": units})
            share = generation_share(partial(filmed, options), task, options, trial)
            scores, shown = examine(trial, test, options)
            copied = {f"copy_last_{of}": interval([value]) for of, value in baselines["last frame held"].items()}
            trial = trial.scored(generation_share=share, **scores, **copied)
            given = as_float(test[:1, : options.given])
            experiment.add(trial, shown, examples=(given,), call=lambda model, x: model(x, options.ahead))


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("models", options.models, CELLS)
    options.check("params", "digits", "given", "ahead", "patch", "validation_videos", "test_videos")
    if options.patch % 2 or SIZE % options.patch:
        raise InputError(f"--patch is {options.patch}; expected an even number that divides the canvas of {SIZE}.")


def build(name: str, options: Options, data: Dataset, units: int, rngs: nnx.Rngs) -> Forecaster:
    """A forecaster whose state has so many channels."""
    return Forecaster(CELLS[name], units, (SIZE, SIZE, data.shape[2]), patch=options.patch, rngs=rngs)


def made(seed: int, digits: Split, videos: int, options: Options) -> Frames:
    """Videos to be asked about, always the same: each starts from the next digit, and again from the first."""

    def make(key: Array, digits: Split, numbers: Array) -> Frames:
        return moving(key, digits.images[numbers % len(digits)], options)

    return fixed_examples(make, jax.random.key(seed), digits, videos)


def moving(key: Array, images: Array, options: Options) -> Frames:
    """A video of each image, as long as the options ask."""
    return moving_digits(key, images, digits=options.digits, frames=options.given + options.ahead)


def filmed(options: Options, batch: Split, key: Array) -> Float[Array, "b t h w c"]:
    """Training videos of the digits of a batch."""
    return as_float(moving(key, batch.images, options))


def loss(options: Options, model: Forecaster, batch: Split, key: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean squared error of every frame after the first, and that of those to predict as a metric."""
    videos = filmed(options, batch, key)
    errors = squared_error(model.predictions(videos[:, : options.given], options.ahead), videos[:, 1:])
    mean = errors.mean() / ENERGY
    return mean, {"loss": mean, "mse": errors[:, options.given - 1 :].mean()}


def forecast(options: Options, model: Any, videos: Frames) -> Float[Array, "b ahead h w c"]:
    """The frames that follow those given."""

    def of_one(video: Array) -> Array:
        return model(as_float(video[None, : options.given]), options.ahead)[0]

    return jax.lax.map(of_one, videos, batch_size=VIDEOS)


def frame_errors(options: Options, model: Any, videos: Frames) -> Float[Array, "b ahead"]:
    """Squared error of each predicted frame."""
    return squared_error(forecast(options, model, videos), as_float(videos[:, options.given :]))


def negative_mse(options: Options, model: Any, videos: Frames) -> Float[Array, "b"]:
    """Minus the mean squared error of the predicted frames."""
    return -frame_errors(options, model, videos).mean(axis=1)


def examine(trial: Trial, test: Frames, options: Options) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a model predicts of the test videos: scores, and arrays to draw."""
    errors = trial.evaluate(partial(frame_errors, options), test)
    predict, some = jax.jit(partial(forecast, options)), test[:SIMILAR]
    each = [predict(jax.tree.map(lambda a, seed=seed: a[seed], trial.models), some) for seed in range(options.seeds)]
    scores = {
        "mse_per_frame": interval(errors.mean(axis=(1, 2))),
        "ssim": interval([similarity(options, predicted, some) for predicted in each]),
    }
    return scores, {"error": errors.mean(axis=1), "predicted": np.asarray(each[0][:SHOWN])}


def similarity(options: Options, predicted: Float[Array, "b ahead h w c"], videos: Frames) -> float:
    """Mean SSIM of predicted frames."""
    return float(ssim(np.asarray(predicted), np.asarray(as_float(videos[:, options.given :]))).mean())


def asked_baselines(test: Frames, options: Options) -> tuple[dict[str, dict[str, float]], dict[str, np.ndarray]]:
    """Scores of the forecasts without memory, and their errors by frame, to draw."""
    scores, arrays = {}, {}
    for name, picture in BASELINES.items():
        predicted = jax.jit(partial(forecast, options, partial(baseline, picture)))(test)
        errors = squared_error(predicted, as_float(test[:, options.given :]))
        similar = similarity(options, predicted[:SIMILAR], test[:SIMILAR])
        scores[name] = {"mse_per_frame": float(errors.mean()), "ssim": similar}
        arrays[f"{name}/error"] = np.asarray(errors.mean(axis=0, keepdims=True))
    return scores, arrays


def baseline(picture: Callable[[Array], Array], frames: Float[Array, "b t h w c"], ahead: int) -> Array:
    """A forecast without memory: one picture of the frames given for all that follow."""
    return jnp.repeat(picture(frames), ahead, axis=1)


COLUMNS = (
    score_column("MSE\nper frame", "mse_per_frame", 1, 1.0),
    score_column("SSIM", "ssim", 3, 1.0),
    PARAMETERS,
    ("channels", WIDTH[1]),
    ("s per 1,000\nvideos", lambda row: f"{1000 / row['train_images_per_second']:.1f}"),
    generation_column("videos"),
    MEMORY,
)


def table_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Errors and cost of each model and baseline, as text."""
    table = model_table("model", results["summary"], COLUMNS)
    for name, scores in results["baselines"].items():
        table.append([name, f"{scores['mse_per_frame']:.1f}", f"{scores['ssim']:.3f}", *["-"] * 5])
    return table


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
