"""The training loop: epochs of compiled steps, several seeds at once, saved in checkpoints and resumed from them.

It depends on a task, with its loss `(model, batch, key) → (loss, metrics)` and score `(model, batch) → [b]`, not on the
model. A model is any pytree of float arrays that no call changes, a batch any pytree of arrays with a common leading
axis.
"""

import dataclasses
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rowrnn.errors import InputError
from rowrnn.lab.devices.exchange import all_gather_scalar, block_until_ready, gather
from rowrnn.lab.errors import Stopped
from rowrnn.lab.leaf_names import leaves_by_name
from rowrnn.lab.training.checkpoint import Checkpoints
from rowrnn.lab.training.interruption import Interruption
from rowrnn.lab.training.recipe import Recipe
from rowrnn.lab.training.steps import SCORE, Steps, TrainState
from rowrnn.lab.training.task import Task

CHUNK_SECONDS = 1.0  # of steps between two checks for a request to stop
FIRST_CHUNK = 8  # steps, before the duration of a step is known
NAMED = 4  # arrays that an error message lists


class Epoch(NamedTuple):
    """The results of an epoch, each array over seeds.

    Args:
        number: number of the epoch, from 1.
        metrics: means over the steps that were not skipped, `loss` among them.
        score: mean score of the validation set.
        seconds: duration.
    """

    number: int
    metrics: dict[str, np.ndarray]
    score: np.ndarray
    seconds: float


class Fit(NamedTuple):
    """A finished training.

    Args:
        models: the weights with the best validation score of each seed, with a leading axis of seeds.
        epochs: results of every epoch; fewer than the recipe's if training ended early.
        skipped: number of steps that each seed skipped because the loss or a gradient was not finite.
        compile_seconds: time to compile the steps, not part of any epoch's `seconds`.
        memory_bytes: memory that XLA plans for the steps on all devices: data, state and temporaries.
        devices: number of devices over which seeds and batches were spread, by axis of the mesh.
    """

    models: Any
    epochs: list[Epoch]
    skipped: np.ndarray
    compile_seconds: float
    memory_bytes: int
    devices: dict[str, int]

    @property
    def best_epochs(self) -> Int[np.ndarray, "seeds"]:
        """Number of the epoch whose weights each seed keeps: that of the best score, the latest of equals."""
        scores = _scores(self.epochs)
        return len(scores) - scores[::-1].argmax(axis=0)

    def seconds_to(self, score: float) -> float | None:
        """Returns the training seconds until the mean validation score over seeds reached `score`, else None."""
        reached = [number for number, epoch in enumerate(self.epochs, 1) if epoch.score.mean() >= score]
        return sum(epoch.seconds for epoch in self.epochs[: reached[0]]) if reached else None


def fit(
    init: Callable[[Any], Any],
    task: Task,
    recipe: Recipe,
    keys: Key[Array, "seeds"],
    *,
    checkpoints: Checkpoints | None = None,
    on_compiled: Callable[[], None] = lambda: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    devices: Sequence[jax.Device] | None = None,
) -> Fit:
    """Trains one model for each key, all of them together.

    With `checkpoints`, training resumes from the newest checkpoint and ends with the same numbers, bit by bit, as an
    uninterrupted one. The state is saved after every epoch, within an epoch when a checkpoint is due, and, on Ctrl-C or
    SIGTERM, after the steps in progress.

    Args:
        init: function of a key to a model.
        task: loss, score and examples.
        recipe: hyperparameters of the training.
        keys: one key for each seed, the source of all its randomness.
        checkpoints: where to save the training and to resume it from; where not given, it is not saved.
        on_compiled: called when the steps are compiled, before the first.
        on_epoch: called after each epoch.
        devices: devices to train on; all devices where not given.

    Returns:
        The finished training.

    Raises:
        InputError: if a batch is larger than the training set, arrays of a split differ in length, the model has leaves
            that are not floats or that a call changes, a process would have no device, the checkpoints are of another
            training, or all of them are damaged.
        FloatingPointError: at the first step whose loss or gradient is not finite after `recipe.max_skipped_steps` were
            skipped, and after an epoch whose weights are not finite.
        StorageError: if a checkpoint cannot be written.
        Stopped: on Ctrl-C or SIGTERM, after the training is saved.
    """
    with Interruption(hears=checkpoints is not None) as interruption:
        steps = Steps(init, task, recipe, keys, devices)
        resumed = None if checkpoints is None else _resumed(checkpoints, steps)
        state, progress = resumed or (steps.begin(), Progress())
        epochs = _epochs(state, progress)
        if not _finished(epochs, recipe):
            progress.compile_seconds, progress.memory_bytes = steps.compile(), steps.memory()
            on_compiled()
        chunk = steps.per_epoch if checkpoints is None else FIRST_CHUNK
        while not _finished(epochs, recipe):
            number = len(epochs) + 1
            examples = steps.open(number, progress.steps)
            while progress.steps < steps.per_epoch:
                first, last = progress.steps, min(progress.steps + chunk, steps.per_epoch)
                skipped, started = gather(state.skipped), time.perf_counter()
                state = steps.advance(state, examples, number, first, last)
                seconds = time.perf_counter() - started
                _check_faults(state, skipped, number, recipe, checkpoints)
                progress.steps, progress.seconds = last, progress.seconds + seconds
                if checkpoints is not None:
                    # Processes save together and take chunks of equal length, by the clock of the first.
                    chunk = max(1, int(CHUNK_SECONDS / all_gather_scalar(seconds)[0] * (last - first)))
                    stop, due = _requested(interruption), all_gather_scalar(float(checkpoints.due()))[0]
                    if last < steps.per_epoch and (due or stop):
                        _save(checkpoints, steps, state, progress, stop)
            started = time.perf_counter()
            state, finite = steps.conclude(state, number)
            block_until_ready(finite)
            _check_weights(gather(finite), number)
            progress.conclude(time.perf_counter() - started)
            epochs = _epochs(state, progress)
            on_epoch(epochs[-1])
            if checkpoints is not None:
                _save(checkpoints, steps, state, progress, _requested(interruption))
        if checkpoints is not None and (stop := _requested(interruption)):
            raise _stopped(stop, progress)  # The signal came while the last checkpoint was written.
    return Fit(
        state.best_model if jax.process_count() == 1 else gather(state.best_model),
        epochs,
        gather(state.skipped),
        progress.compile_seconds,
        progress.memory_bytes,
        dict(steps.mesh.shape),
    )


@dataclasses.dataclass
class Progress:
    """The progress of a training: seconds of each finished epoch, and steps and seconds of the epoch in progress."""

    epoch_seconds: list[float] = dataclasses.field(default_factory=list)
    steps: int = 0
    seconds: float = 0.0
    compile_seconds: float = 0.0
    memory_bytes: int = 0

    def conclude(self, seconds: float) -> None:
        """Ends the epoch, adding `seconds` to its duration."""
        self.epoch_seconds.append(self.seconds + seconds)
        self.steps, self.seconds = 0, 0.0


def _requested(interruption: Interruption) -> int:
    """Returns the signal that asked any process to stop; 0 if none did."""
    return int(all_gather_scalar(float(interruption.requested or 0)).max())


def _save(checkpoints: Checkpoints, steps: Steps, state: TrainState, progress: Progress, stop: int) -> None:
    """Saves a training.

    Raises:
        StorageError: if the checkpoint cannot be written.
        Stopped: if a signal, `stop` other than 0, asked for it.
    """
    epochs = len(progress.epoch_seconds)
    checkpoints.save(epochs, progress.steps, state, {"training": steps.describe(), **dataclasses.asdict(progress)})
    if stop:
        raise _stopped(stop, progress)


def _stopped(stop: int, progress: Progress) -> Stopped:
    name = signal.Signals(stop).name
    return Stopped(f"Stopped by {name} after epoch {len(progress.epoch_seconds)} and {progress.steps} steps.")


def _resumed(checkpoints: Checkpoints, steps: Steps) -> tuple[TrainState, Progress] | None:
    found = checkpoints.newest()
    if found is None:
        return None
    record, now = found.record(), steps.describe()
    before = record.pop("training")
    differ = [f"{name} was {before.get(name)}, is {now[name]}" for name in now if before.get(name) != now[name]]
    if differ:
        raise InputError(
            f"The checkpoints in {checkpoints.directory} are of another training: {'; '.join(differ)}. Resume with the "
            "options that it was started with."
        )
    return found.state(steps.state()), Progress(**record)


def _epochs(state: TrainState, progress: Progress) -> list[Epoch]:
    curves = gather(state.curves)
    scores = curves.pop(SCORE)
    return [
        Epoch(number + 1, {name: curve[:, number] for name, curve in curves.items()}, scores[:, number], seconds)
        for number, seconds in enumerate(progress.epoch_seconds)
    ]


def _finished(epochs: Sequence[Epoch], recipe: Recipe) -> bool:
    """Returns whether all epochs are done, or no seed has reached a better score in the last `patience` epochs."""
    if len(epochs) >= recipe.epochs or recipe.patience is None or not epochs:
        return len(epochs) >= recipe.epochs
    improved = 1 + _scores(epochs).argmax(axis=0).max()  # an equal score is no better one
    return bool(len(epochs) - improved >= recipe.patience)


def _scores(epochs: Sequence[Epoch]) -> Float[np.ndarray, "epochs seeds"]:
    """Returns the validation scores; one that is not a number is worse than all others."""
    scores = np.stack([epoch.score for epoch in epochs])
    return np.where(np.isnan(scores), -np.inf, scores)


def _check_faults(
    state: TrainState, skipped: np.ndarray, epoch: int, recipe: Recipe, checkpoints: Checkpoints | None
) -> None:
    """Warns of each seed that skipped a step in this chunk.

    Raises:
        FloatingPointError: if a seed has skipped more steps than it may.
    """
    now, fault, faulty = gather((state.skipped, state.fault, state.faulty))
    for seed in np.flatnonzero(now > skipped):
        places = ["the loss", *(f"the gradient of {name}" for name in leaves_by_name(state.model))]
        bad = [place for place, is_bad in zip(places, faulty[seed], strict=True) if is_bad]
        listed = ", ".join(bad[:NAMED]) + (f" and {len(bad) - NAMED} more" if len(bad) > NAMED else "")
        what = f"In step {fault[seed] + 1} of epoch {epoch}, seed {seed} of {len(now)}: not finite: {listed}."
        if now[seed] > recipe.max_skipped_steps:
            kept = checkpoints.all() if checkpoints else []
            raise FloatingPointError(
                f"{what} "
                + (f"The last good checkpoint is {kept[-1]}. " if kept else "")
                + "Look at the data, or lower the learning rate or the clipping norm."
            )
        warnings.warn(f"{what} Skipped, the {now[seed]} of {recipe.max_skipped_steps} that may be.", stacklevel=3)


def _check_weights(finite: np.ndarray, epoch: int) -> None:
    if not finite.all():
        raise FloatingPointError(
            f"The weights stopped being finite in the last step of epoch {epoch} (seeds "
            f"{np.flatnonzero(~finite).tolist()}). Lower the learning rate or the clipping norm."
        )
