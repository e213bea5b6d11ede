"""The training of a contender: several seeds together, selected by the same rule in every task."""

from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float

from rowrnn.lab.budget import parameters
from rowrnn.lab.experiment.contender import Contender, Trial
from rowrnn.lab.experiment.live_table import LiveTable
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.placement import choices_of, computed_by, devices_for
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.process_usage import OthersLoad, seconds_since_start
from rowrnn.lab.runs.record import ModelRow
from rowrnn.lab.training import Checkpoints, Epoch
from rowrnn.lab.training.fit import fit

PROTOCOL = {
    "selection": "of each seed the weights of the epoch with the best validation score, the later of equals",
    "seconds": "of training with its validation, all seeds together, compilation apart",
    "others_load": "share of all cores that other processes used while the model trained, since the last start",
    "memory_mib": "what XLA plans for an epoch of all seeds: data, state and temporaries",
}


def train_contender(contender: Contender, width: int, options: TrainingOptions, run: Run, live: LiveTable) -> Trial:
    """Trains all seeds of a contender.

    Args:
        contender: the model to train.
        width: the width to build it with.
        options: the training options.
        run: the run that it is a part of; training resumes from its checkpoints.
        live: the table that shows its progress.

    Returns:
        The results of the training.

    Raises:
        InputError: if a batch is larger than the training set, arrays of a split differ in length, gradients cannot
            train the model, a process would have no device, or the checkpoints of the run are of another training or
            damaged.
        FloatingPointError: if a loss, a gradient or a weight is not finite.
        StorageError: if a checkpoint or the record cannot be written.
        Stopped: on Ctrl-C or SIGTERM, after the training is saved.
    """
    task, title = contender.task, contender.title

    def build(rngs: nnx.Rngs) -> object:
        return contender.build(width, rngs)

    steps = options.recipe().steps(task.examples)
    per_epoch = steps * options.batch * options.seeds * task.together
    shapes = jax.eval_shape(lambda: build(nnx.Rngs(0)))
    size, choices = parameters(shapes), choices_of(shapes)
    devices = devices_for(choices, options.seeds)
    ready = []

    def on_epoch(epoch: Epoch) -> None:
        show(epoch)
        means = {name: float(values.mean()) for name, values in curve_of([epoch], task.measure).items()}
        run.epoch(title, epoch.number, options.epochs, means)

    def show(epoch: Epoch) -> None:
        reached = f"{task.measure.replace('_', ' ')} {epoch.score.mean():{task.shown}}"
        live.epoch(title, size, epoch.number, float(epoch.metrics["loss"].mean()), reached, per_epoch, epoch.seconds)

    live.compiling(title, size)
    others = OthersLoad()
    fitted = fit(
        lambda key: build(nnx.Rngs(key)),
        task,
        options.recipe(),
        options.seed_keys(),
        checkpoints=Checkpoints(run.checkpoints(title), every=options.save_every),
        on_compiled=lambda: ready.append(seconds_since_start()),
        on_epoch=on_epoch,
        devices=devices,
    )
    if not ready:
        show(fitted.epochs[-1])
    if len(fitted.epochs) < options.epochs:
        live.ended(title, len(fitted.epochs))
    seconds = np.array([epoch.seconds for epoch in fitted.epochs])
    best = np.stack([epoch.score for epoch in fitted.epochs]).max(axis=0)
    row = ModelRow(
        model=title,
        parameters=size,
        width=width,
        seeds=options.seeds,
        epochs=len(fitted.epochs),
        skipped_steps=fitted.skipped,
        train_seconds=float(seconds.sum()),
        compile_seconds=fitted.compile_seconds,
        train_images_per_second=float(per_epoch * len(seconds) / seconds.sum()),
        memory_mib=fitted.memory_bytes / 2**20,
        devices=fitted.devices,
        computed_by=computed_by(choices),
        entries={
            **contender.about,
            f"validation_{task.measure}": interval(best),
            "best_epoch": fitted.best_epochs,
            "steps_per_epoch": steps,
            "examples_per_step": options.batch * task.together,
            "others_load": others.share(),
        },
    )
    # A training that was finished before an interruption is not compiled again.
    first_step = ready[0] + seconds[0] / steps if ready else None
    curve = curve_of(fitted.epochs, task.measure) | {"seconds": seconds}
    return Trial(contender, row, curve, fitted, devices, first_step)


def curve_of(epochs: Sequence[Epoch], measure: str) -> dict[str, Float[np.ndarray, "epochs seeds"]]:
    """Returns the metrics after every epoch: the loss, `training_NAME` for the others, and `validation_MEASURE`."""
    training = {
        name if name == "loss" else f"training_{name}": np.stack([epoch.metrics[name] for epoch in epochs])
        for name in epochs[0].metrics
    }
    return {**training, f"validation_{measure}": np.stack([epoch.score for epoch in epochs])}
