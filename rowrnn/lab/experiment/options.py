"""Options of experiments, composed of groups; on the command line, the options of a group stand beside the others."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import jax
import jax.numpy as jnp
import tyro
from jaxtyping import Array, Key

from rowrnn.errors import InputError
from rowrnn.lab.data import Augmentation, Dataset, Split
from rowrnn.lab.data.load import is_own
from rowrnn.lab.devices.processes import Machines
from rowrnn.lab.experiment.data_options import DataOptions
from rowrnn.lab.experiment.option_checks import AtLeast, Check, Count, KnownNames, OptionalCount, Positive, Probability
from rowrnn.lab.report.page import Format
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.record import Record, read_record, to_json
from rowrnn.lab.training import Recipe
from rowrnn.lab.training.recipe import OPTIMIZERS

T = TypeVar("T")
Unnamed = Annotated[T, tyro.conf.arg(name="")]
"""A dataclass whose fields are options under their own names; in the record it stays one value."""
GROUP = "group"
Group = Annotated[T, tyro.conf.arg(name=""), GROUP]
"""Options shared by several experiments; in the record they stand beside the others."""


@dataclass(frozen=True)
class TrainingOptions:
    """How models are trained, and on what."""

    epochs: Count = 4
    """Epochs: a pass over the training set each, or several (--passes)."""
    passes: Count = 1
    """Passes over the training set that make an epoch, after which the model is scored."""
    patience: OptionalCount = None
    """End training after so many epochs in which no seed's validation score became better; None trains for all."""
    averaging: Probability = 0.0
    """Decay, such as 0.999, of a moving average of the weights, scored and kept instead of them; 0 for none."""
    seeds: Count = 4
    """Models of each kind, trained together, each from its own seed."""
    seed: int = 0
    """First seed: everything random follows from it."""
    batch: Count = 64
    """Examples of a training step."""
    optimizer: Annotated[str, KnownNames(OPTIMIZERS)] = "adamw"
    """adamw; or muon, which learns many tasks in fewer epochs: Muon for kernels, AdamW for the other weights."""
    learning_rate: Annotated[float, Positive()] = 6e-3
    """Peak learning rate."""
    weight_decay: Annotated[float, AtLeast(0)] = 1e-2
    """Decoupled weight decay of matrices and kernels."""
    source: Group[DataOptions] = DataOptions()
    train_images: OptionalCount = None
    """Train on so many images only; all where not given."""
    choose: bool = False
    """Compare options on the validation set: nothing is scored on the test set, and no model is kept."""
    output: Path | None = None
    """Directory of the results, else runs/EXPERIMENT; one that is taken is kept, and the next free name is used."""
    max_skipped_steps: Annotated[int, AtLeast(0)] = 0
    """Steps whose loss or gradient is not finite that each seed may leave out before its training stops."""
    resume: Path | None = None
    """Directory of an interrupted run to go on with; all options but those of the processes are then the run's."""
    save_every: Annotated[float, Positive()] = 300.0
    """Most seconds of training that a crash may cost; an epoch's end and a request to stop are saved anyway."""
    tensorboard: bool = False
    """Write loss and accuracies for TensorBoard too."""
    format: Format = "png"
    """File format of the pictures."""
    machines: Unnamed[Machines] = Machines()
    """Processes that train together."""

    def join(self) -> None:
        """Joins the other processes.

        Raises:
            InputError: if the seed is out of range, or the processes do not join.
        """
        if not 0 <= self.seed < 2**32 - self.seeds:
            raise InputError(f"--seed {self.seed} is out of range; expected one from 0 to 2^32.")
        self.machines.join()

    def load(self, *, labelled: bool = True) -> Dataset:
        """Loads images with classes, cut to `train_images`; prints what was decided of own data or of its place.

        Args:
            labelled: whether the images of a set of TensorFlow Datasets need classes.

        Raises:
            InputError: if the data is unknown, cannot be read, or has no classes.
        """
        data = self.source.load(labelled=labelled)
        if not isinstance(data.train, Split) or is_own(self.source.data):
            terminal().print(f"{data.source.removesuffix('.')}.", markup=False)
        return dataclasses.replace(data, train=data.train.first(self.train_images))

    def seed_keys(self) -> Key[Array, "seeds"]:
        """Returns a key for each seed."""
        return jax.vmap(jax.random.key)(jnp.arange(self.seed, self.seed + self.seeds, dtype=jnp.uint32))

    def recipe(self) -> Recipe:
        """Returns the recipe of these options."""
        return Recipe(
            self.epochs,
            self.batch,
            self.learning_rate,
            weight_decay=self.weight_decay,
            max_skipped_steps=self.max_skipped_steps,
            averaging=self.averaging,
            patience=self.patience,
            passes=self.passes,
            optimizer=self.optimizer,
        )


@dataclass(frozen=True)
class Regularization:
    """What keeps image classifiers from learning their training images by heart."""

    dropout: Probability = 0.1
    """Probability with which a feature before the head is dropped while training."""
    augmentation: Unnamed[Augmentation] = Augmentation(shift=1.0)
    """Random changes of the training images."""


def option_fields(options: Any) -> Iterator[tuple[str, Sequence[Any], Any]]:
    """Yields name, annotations and value of each option, with those of groups in place of the group."""
    for name, annotations, value in _fields(options):
        if GROUP in annotations:
            yield from option_fields(value)
        else:
            yield name, annotations, value


def _fields(options: Any) -> Iterator[tuple[str, Sequence[Any], Any]]:
    # Resolved, since a module may postpone the evaluation of its annotations.
    types = get_type_hints(type(options), include_extras=True)
    for field in dataclasses.fields(options):
        yield field.name, getattr(types[field.name], "__metadata__", ()), getattr(options, field.name)


def values_by_name(options: Any) -> dict[str, Any]:
    """Returns the value of each option by name, with those of groups beside the others."""
    return {name: value for name, _, value in option_fields(options)}


def with_values(options: Any, **values: Any) -> Any:
    """Returns the options with other values, named as on the command line, whatever group they belong to.

    Raises:
        TypeError: if there is no such option.
    """
    changed = {}
    for name, annotations, value in _fields(options):
        if GROUP in annotations:
            inside = {name: values.pop(name) for name in values_by_name(value) if name in values}
            changed[name] = with_values(value, **inside)
        elif name in values:
            changed[name] = values.pop(name)
    if values:
        raise TypeError(f"{type(options).__name__} has no {', '.join(values)}.")
    return dataclasses.replace(options, **changed)


def record_to_resume(directory: Path, experiment: str) -> Record:
    """Returns the record of an interrupted run.

    Raises:
        InputError: if the run is of another experiment or cannot be read.
    """
    record = read_record(directory)
    if record.experiment != experiment:
        raise InputError(f"{directory} is a run of {record.experiment}, not of {experiment}: resume it with that.")
    return record


def check_as_started(directory: Path, experiment: str, options: Any) -> None:
    """Checks that an interrupted run has these options, but for those of the processes.

    Raises:
        InputError: naming the first option that differs, or if the run is of another experiment or cannot be read.
    """
    record = record_to_resume(directory, experiment)
    for name, value in json.loads(json.dumps(values_by_name(options), default=to_json)).items():
        if name not in ("output", "resume", "machines") and record.protocol.get(name) != value:
            raise InputError(
                f"{directory} was started with --{name.replace('_', '-')} {record.protocol.get(name)}, which is "
                f"{value} now: resume it with the options and the version that it was started with."
            )


def check_same_data(directory: Path, data: Any) -> None:
    """Checks that an interrupted run was started with data of this description, but for the words of its source.

    Raises:
        InputError: naming what differs.
    """
    before = read_record(directory).data
    for name, value in json.loads(json.dumps(data.describe(), default=to_json)).items():
        if name in before and name != "source" and before[name] != value:
            raise InputError(
                f"The data of {directory} was of {name} {before[name]}, and is of {value} now: resume it with the data "
                "that it was started with, or train anew."
            )


def check_options(options: Any) -> None:
    """Checks each option against the range in its type.

    Raises:
        InputError: naming the first option that is out of range, and the range.
    """
    for name, annotations, value in option_fields(options):
        for check in annotations:
            if isinstance(check, Check):
                check(name, value)
