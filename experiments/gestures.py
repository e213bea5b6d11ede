"""Can a recurrent network tell how something moves?

A digit waves, nods, shakes, circles, zigzags, approaches, retreats or is still, over twelve frames of 32x32 pixels. The
ten gestures are made so that a single frame tells nothing (`rowrnn.lab.tasks.gestures.examples`): chance is 10 %. Six
of them are three pairs, each the other in reversed time, which frames without their order cannot tell apart: the most
that an average over frames can expect is 50 % on those and 70 % on all.

A small CNN looks at each frame; a cell reads what it saw. Beside them stand the same CNN on single frames, asked at the
frame that it is best at, and its features averaged over the frames, all within one budget of parameters.

    python experiments/gestures.py            20 minutes on 2 cores
    python experiments/gestures.py --full     an hour and a half on one core: three seeds, all images
    python experiments/gestures.py --quick    2 minutes: a GRU and both baselines, 1,000 steps
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from rowrnn import CELLS
from rowrnn.errors import InputError
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Dataset, Split, as_float
from rowrnn.lab.data.fixed import fixed_examples
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import Experiment, started
from rowrnn.lab.experiment.generation_cost import generation_share
from rowrnn.lab.experiment.model_trial import PROTOCOL as OF_EVERY_TASK
from rowrnn.lab.experiment.option_checks import check_names
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.columns import PARAMETERS, SECONDS, WIDTH, generation_column, model_table, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.classification.confusion import confusion_counts
from rowrnn.lab.tasks.gestures.examples import CANVAS, GESTURES, REVERSED, Videos, gestures
from rowrnn.models import FrameAverage, FrameCNN, VideoClassifier

Model = VideoClassifier | FrameAverage
Answers = Float[Array, "b t classes"]

BASELINES = {"frame": "single frame", "average": "average of frames"}
PROTOCOL = {
    **OF_EVERY_TASK,
    "validation": "videos of images not trained on, the same in every epoch",
    "test": "scored once, at the end: videos of test images",
    "loss": "cross-entropy of the answer after every frame, or to every single frame, mean over frames",
    "test_accuracy": "of the answer after the last frame; of a single frame of the answer to that at the place of the "
    "video where it is best in validation",
    "place": "of that frame in the video, from 0, for each seed",
    "reversed_pairs_accuracy": "the same, of gestures that are another one in reversed time",
    "partner_share": "of those, the share that was taken for just that other one",
    "generation_share": "share of the training time in which videos are made",
}


@dataclass(frozen=True)
class Options(TrainingOptions):
    """Recurrent networks watch a digit move, and say how."""

    models: tuple[str, ...] = ("lstm", "gru", "average", "frame")
    """Models: cells of rowrnn.CELLS, frame: single frames, average: features averaged over the frames."""
    params: int = 60_000
    """Parameter budget of each model, met within 3 %."""
    channels: int = 16
    """Output channels of the CNN."""
    features: int = 32
    """Features that the CNN sees in a frame."""
    frames: int = 12
    """Frames of a video."""
    batch: int = 32
    """Videos per training step."""
    epochs: int = 14
    """Passes over the training set."""
    learning_rate: float = 8e-3
    """Peak learning rate of AdamW."""
    seeds: int = 2
    """Models of each kind, trained together, each from its own seed."""
    train_images: int | None = 16_000
    """Train on so many images only; all where not given."""
    test_images: int | None = 2_000
    """Validate and test on videos of so many images only; all where not given."""
    quick: bool = False
    """Preset: a GRU and both baselines, one seed, 1,000 steps."""
    full: bool = False
    """Preset: three seeds, all images."""


PRESETS = {
    "quick": {"models": ("gru", "average", "frame"), "seeds": 1, "epochs": 8, "train_images": 4_000},
    "full": {"seeds": 3, "epochs": 6, "train_images": None, "test_images": None},
}


def main(options: Options) -> None:
    """Trains, tests and draws what the options ask for."""
    check(options)
    data = options.load()
    widths = {name: solve_width(partial(build, name, options, data), options.params) for name in options.models}
    validation, test = made(1, data.validation, options), made(2, data.test, options)
    if not np.isin(test.labels, list(REVERSED)).any():
        raise InputError(f"{len(test.labels)} test videos show no pair of gestures: take more --test-images.")
    # Of each gesture the first video of the test set.
    _, first = np.unique(np.asarray(test.labels), return_index=True)
    film = Videos(*(np.asarray(array)[first] for array in test))
    named = {"gestures": list(GESTURES), "paired": len(REVERSED)}
    with started("gestures", options, data, PROTOCOL, table_of, **named) as experiment:
        experiment.arrays.update({"film/frames": film.frames, "film/labels": film.labels})
        for name, width in widths.items():
            examine(name, width, options, data, validation, test, first, experiment)


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("models", options.models, (*CELLS, *BASELINES))
    options.check("params", "channels", "features", "frames", "test_images")


def build(name: str, options: Options, data: Dataset, width: int, rngs: nnx.Rngs) -> Model:
    """A model by the width of its cell, or of its layer before the answer."""
    cnn = FrameCNN((CANVAS, CANVAS, data.shape[2]), options.channels, options.features, rngs=rngs)
    if name in BASELINES:
        return FrameAverage(cnn, width, len(GESTURES), rngs=rngs)
    return VideoClassifier(cnn, CELLS[name](options.features, width, rngs=rngs), len(GESTURES), rngs=rngs)


def made(seed: int, digits: Split, options: Options) -> Videos:
    """Videos to be asked about, always the same: one of each image."""

    def make(key: Array, digits: Split, numbers: Array) -> Videos:
        return gestures(key, digits.images[numbers % len(digits)], options.frames)

    digits = digits.first(options.test_images)
    return fixed_examples(make, jax.random.key(seed), digits, len(digits))


def answers(name: str) -> Callable[[Any, Array], Answers]:
    """Logits of a model after every frame; of single frames, to each one."""
    return FrameAverage.logits_of_frames if name == "frame" else lambda model, videos: model.logits_by_frame(videos)


def loss(name: str, frames: int, model: Model, batch: Split, key: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean cross-entropy in nats of the answers to new videos of a batch of images.

    Answers after the first frames are guesses, but from there the way back to what the gradient must change is short.
    """
    videos = gestures(key, batch.images, frames)
    logits = answers(name)(model, videos.frames)
    labels = jnp.broadcast_to(videos.labels[:, None], logits.shape[:2])
    mean = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    return mean, {"loss": mean}


def logits_of(name: str, model: Model, batch: Videos) -> Answers:
    """The answers to videos that are kept."""
    return answers(name)(model, as_float(batch.frames))


def correct(name: str, model: Model, batch: Videos) -> Float[Array, "b"]:
    """1 where the answer after the last frame is right, else 0; of single frames the share that is right."""
    right = logits_of(name, model, batch).argmax(axis=-1) == batch.labels[:, None]
    right = right.astype(jnp.float32)
    return right.mean(axis=1) if name == "frame" else right[:, -1]


def examine(
    name: str,
    width: int,
    options: Options,
    data: Dataset,
    validation: Videos,
    test: Videos,
    film: np.ndarray,
    experiment: Experiment,
) -> None:
    """Trains all seeds of a model and tests them, `film` for pictures too."""
    make = partial(build, name, options, data, width)
    title = BASELINES[name] if name in BASELINES else CELLS[name].__name__
    task = Task(partial(loss, name, options.frames), partial(correct, name), data.train, validation)
    trial = experiment.train(title, make, task, about={"width": width})
    share = generation_share(lambda batch, key: gestures(key, batch.images, options.frames), task, options, trial)
    answered = partial(trial.evaluate, partial(logits_of, name))
    place = np.full(options.seeds, options.frames - 1)
    if name == "frame":
        place = by_frame(answered(validation), validation).argmax(axis=1)
    logits = answered(test)
    answer, labels = at_place(logits, place), np.asarray(test.labels)
    partner = np.array([REVERSED.get(label, -1) for label in labels])
    paired = partner >= 0
    trial = trial.scored(
        test_accuracy=interval((answer == labels).mean(axis=1)),
        reversed_pairs_accuracy=interval((answer == labels)[:, paired].mean(axis=1)),
        partner_share=interval((answer == partner)[:, paired].mean(axis=1)),
        place=place,
        generation_share=share,
    )
    shown = as_float(test.frames[:1, : 1 if name == "frame" else None])
    experiment.add(trial, pictured(logits, answer, test, film), examples=(shown,))


def by_frame(logits: Float[np.ndarray, "seeds n t classes"], videos: Videos) -> Float[np.ndarray, "seeds t"]:
    """Accuracy of the answer after, or to, each frame."""
    return (logits.argmax(axis=-1) == np.asarray(videos.labels)[None, :, None]).mean(axis=1)


def at_place(
    logits: Float[np.ndarray, "seeds n t classes"], place: Int[np.ndarray, "seeds"]
) -> Int[np.ndarray, "seeds n"]:
    """The answer at a place of the videos, for each seed another."""
    return np.take_along_axis(logits.argmax(axis=-1), place[:, None, None], axis=-1)[..., 0]


def pictured(
    logits: Float[np.ndarray, "seeds n t classes"], answer: Int[np.ndarray, "seeds n"], test: Videos, film: np.ndarray
) -> dict[str, np.ndarray]:
    """What pictures need: `confusion`, `accuracy_by_frame`, and of the first seed `probability` of the film."""
    return {
        "confusion": confusion_counts(np.asarray(test.labels), answer, logits.shape[-1]),
        "accuracy_by_frame": by_frame(logits, test),
        "probability": np.asarray(jax.nn.softmax(logits[0, film])),
    }


COLUMNS = (
    score_column("test\naccuracy %"),
    score_column("reversed\npairs %", "reversed_pairs_accuracy"),
    score_column("taken for\npartner %", "partner_share"),
    PARAMETERS,
    WIDTH,
    SECONDS,
    generation_column("videos"),
)


def table_of(results: Mapping[str, Any]) -> list[list[str]]:
    """Accuracy and cost of every model, as text."""
    return model_table("model", results["summary"], COLUMNS)


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
