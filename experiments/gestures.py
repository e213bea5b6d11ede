"""Can a recurrent network tell how something moves?

A digit waves, nods, shakes, circles, zigzags, approaches, retreats or is still, over twelve frames of 32x32 pixels. The
ten gestures are made so that a single frame tells nothing (`rowrnn.data.gestures`): chance is 10 %. Six of them are
three pairs, each the other in reversed time, which frames without their order cannot tell apart: the most that an
average over frames can expect is 50 % on those and 70 % on all.

A small CNN looks at each frame; a cell reads what it saw. Beside them stand the same CNN on single frames, asked at the
frame that it is best at, and its features averaged over the frames, all within one budget of parameters.

    python experiments/gestures.py            a quarter of an hour on 2 cores
    python experiments/gestures.py --full     40 minutes: three seeds, all images
    python experiments/gestures.py --quick    2 minutes: a GRU and both baselines, 1,000 steps
"""

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float
from rich.console import Console

from rowrnn import CELLS, explain
from rowrnn.command import run_experiment
from rowrnn.data import Dataset, Split, as_float
from rowrnn.data.gestures import CANVAS, GESTURES, REVERSED, Videos, gestures, stored
from rowrnn.errors import InputError
from rowrnn.evaluate import evaluate
from rowrnn.models import FrameAverage, FrameCNN, VideoClassifier, solve_width
from rowrnn.options import TrainingOptions
from rowrnn.program import keep
from rowrnn.progress import LiveTable
from rowrnn.report import accuracy, interval, plain_table
from rowrnn.run import Run, peak_memory
from rowrnn.trial import PROTOCOL as OF_EVERY_TASK
from rowrnn.trial import Task, Trial, devices_for, generation_share, run_trial

Model = VideoClassifier | FrameAverage
Answers = Float[Array, "b t classes"]

BASELINES = {"frame": "single frame", "average": "average of frames"}
PROTOCOL = {
    **OF_EVERY_TASK,
    "validation": "videos of images not trained on, the same in every epoch",
    "loss": "cross-entropy of the answer after every frame, or to every single frame, mean over frames",
    "test_accuracy": "of the answer after the last frame; of the single frame at the place of the video where it is "
    "best in the test",
    "reversed_pairs_accuracy": "the same, of gestures that are another one in reversed time",
    "partner_share": "of those, the share that was taken for just that other one",
    "generation_share": "share of the training time in which videos are made",
}
VALIDATION_KEY, TEST_KEY = 1, 2


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
    seeds: int = 2
    """Models of each kind, trained together, each from its own seed."""
    train_images: int | None = 16_000
    """Train on so many images only; all where not given."""
    test_images: int | None = 2_000
    """Validate and test on videos of so many images only; all where not given."""
    output: Path = Path("runs/gestures")
    """Directory for results and pictures; one that is taken is kept, and the next free name used."""
    quick: bool = False
    """Preset: a GRU and both baselines, one seed, 1,000 steps."""
    full: bool = False
    """Preset: three seeds, all images."""


PRESETS = {
    "quick": {"models": ("gru", "average", "frame"), "seeds": 1, "epochs": 8, "train_images": 4_000},
    "full": {"seeds": 3, "epochs": 8, "train_images": None, "test_images": None},
}


def main(options: Options) -> None:
    """Trains, tests and draws what the options ask for."""
    check(options)
    options.machines.join()
    console = Console(width=None if sys.stdout.isatty() else 130)
    data = options.load(console)
    widths = {name: solve_width(partial(build, name, options, data), options.params) for name in options.models}
    validation, test = (
        jax.jit(stored, static_argnums=2)(jax.random.key(key), split.first(options.test_images).images, options.frames)
        for key, split in ((VALIDATION_KEY, data.validation), (TEST_KEY, data.test))
    )
    with Run(options.output, resume=options.resume is not None, tensorboard=options.tensorboard) as run:
        results: dict[str, Any] = {
            "experiment": "gestures",
            "finished": False,
            **run.environment(),
            "data": data.describe(),
            "protocol": {**PROTOCOL, **dataclasses.asdict(options)},
            "gestures": list(GESTURES),
            "paired": len(REVERSED),
            "summary": [],
            "curves": {},
        }
        # Of each gesture the first video of the test set.
        _, first = np.unique(np.asarray(test.labels), return_index=True)
        film = Videos(*(np.asarray(array)[first] for array in test))
        arrays: dict[str, np.ndarray] = {"film/frames": film.frames, "film/labels": film.labels}
        run.begin(results)
        with LiveTable(console, options.epochs) as table:
            for name, width in widths.items():
                trial, logits = examine(name, width, options, data, validation, test, run, table)
                title = trial.row["model"]
                results["summary"].append(trial.row)
                results["curves"][title] = trial.curve
                results["table"] = table_of(results["summary"])
                results["peak_memory_mib"] = peak_memory() / 2**20
                arrays |= {f"{title}/{of}": array for of, array in pictured(name, logits, test, first).items()}
                keep(run.directory, title, trial.models, as_float(test.frames[:1, : 1 if name == "frame" else None]))
                run.save(results, arrays)
        run.finish(results, arrays)
        console.print(plain_table(results["table"]))
        from rowrnn.plots import draw  # Matplotlib takes long to import: not before training.

        pictures = ", ".join(picture.name for picture in draw(run.directory))
        console.print(f"In {run.directory}: results.json, arrays.npz, models, {pictures}.")


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    known = (*CELLS, *BASELINES)
    for name in options.models:
        if name not in known:
            raise InputError(f"There is no model {name!r}; there are {', '.join(known)}.")
    if not options.models:
        raise InputError(f"Name at least one model of {', '.join(known)}.")
    options.check("params", "channels", "features", "frames", "test_images")


def build(name: str, options: Options, data: Dataset, width: int, rngs: nnx.Rngs) -> Model:
    """A model by the width of its cell, or of its layer before the answer."""
    cnn = FrameCNN((CANVAS, CANVAS, data.shape[2]), options.channels, options.features, rngs=rngs)
    if name in BASELINES:
        return FrameAverage(cnn, width, len(GESTURES), rngs=rngs)
    return VideoClassifier(cnn, CELLS[name](options.features, width, rngs=rngs), len(GESTURES), rngs=rngs)


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


def correct(name: str, model: Model, batch: Videos) -> Float[Array, "b"]:
    """1 where the answer after the last frame is right, else 0; of single frames the share that is right."""
    right = answers(name)(model, as_float(batch.frames)).argmax(axis=-1) == batch.labels[:, None]
    right = right.astype(jnp.float32)
    return right.mean(axis=1) if name == "frame" else right[:, -1]


def examine(
    name: str,
    width: int,
    options: Options,
    data: Dataset,
    validation: Videos,
    test: Videos,
    run: Run,
    table: LiveTable,
) -> tuple[Trial, Float[np.ndarray, "seeds n t classes"]]:
    """Trains all seeds of a model: the trial with what the test showed in its row, and all answers in the test."""
    make = partial(build, name, options, data, width)
    title, backend = BASELINES.get(name), "XLA"
    if title is None:
        cell = jax.eval_shape(lambda: make(nnx.Rngs(0))).recurrent.cell
        title, backend = type(cell).__name__, explain(cell, jnp.zeros((1, 1, cell.features)))
    task = Task(partial(loss, name, options.frames), partial(correct, name), data.train, validation)
    trial = run_trial(title, make, task, options, run, table, computed_by=backend, about={"width": width})
    share = generation_share(lambda batch, key: gestures(key, batch.images, options.frames), task, options, trial)
    logits = evaluate(
        lambda model, batch: answers(name)(model, as_float(batch.frames)),
        trial.models,
        test,
        devices=devices_for(backend, options.seeds),
    )
    answer, labels = final(name, logits, np.asarray(test.labels)), np.asarray(test.labels)
    partner = np.array([REVERSED.get(label, -1) for label in labels])
    paired = partner >= 0
    row = {
        **trial.row,
        "test_accuracy": interval((answer == labels).mean(axis=1)),
        "reversed_pairs_accuracy": interval((answer == labels)[:, paired].mean(axis=1)),
        "partner_share": interval((answer == partner)[:, paired].mean(axis=1)),
        "generation_share": share,
    }
    return trial._replace(row=row), logits


def final(
    name: str, logits: Float[np.ndarray, "seeds n t classes"], labels: np.ndarray
) -> Float[np.ndarray, "seeds n"]:
    """The answer after the last frame; of single frames that to the frame at the place with the best accuracy."""
    by_frame = logits.argmax(axis=-1)
    if name != "frame":
        return by_frame[..., -1]
    best = (by_frame == labels[None, :, None]).mean(axis=1).argmax(axis=-1)
    return np.take_along_axis(by_frame, best[:, None, None], axis=-1)[..., 0]


def pictured(
    name: str, logits: Float[np.ndarray, "seeds n t classes"], test: Videos, film: np.ndarray
) -> dict[str, np.ndarray]:
    """What pictures need: `confusion`, `accuracy_by_frame`, and of the first seed `probability` of the film."""
    labels, classes = np.asarray(test.labels), logits.shape[-1]
    confusion = np.zeros((len(logits), classes, classes), np.int32)
    for counts, answer in zip(confusion, final(name, logits, labels), strict=True):
        np.add.at(counts, (labels, answer), 1)
    return {
        "confusion": confusion,
        "accuracy_by_frame": (logits.argmax(axis=-1) == labels[None, :, None]).mean(axis=1),
        "probability": np.asarray(jax.nn.softmax(logits[0, film])),
    }


def table_of(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Accuracy and cost of every model, as text."""
    header = ["model", "test\naccuracy %", "reversed\npairs %", "taken for\npartner %", "para-\nmeters", "width"]
    table = [[*header, "s an epoch\nof a seed", "making\nvideos %"]]
    for row in rows:
        table.append(
            [
                row["model"],
                *(accuracy(row[of]) for of in ("test_accuracy", "reversed_pairs_accuracy", "partner_share")),
                f"{row['parameters']:,}",
                str(row["width"]),
                f"{row['train_seconds'] / row['epochs'] / row['seeds']:.1f}",
                f"{100 * row['generation_share']:.0f}",
            ]
        )
    return table


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
