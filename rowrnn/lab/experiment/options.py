"""Options that every experiment has: how its models are trained, and on what."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro
from jaxtyping import Array, Key

from rowrnn.errors import InputError
from rowrnn.lab.data import Dataset, Split
from rowrnn.lab.data.load import load
from rowrnn.lab.devices.processes import Machines
from rowrnn.lab.experiment.live_table import terminal
from rowrnn.lab.training import Recipe


@dataclass(frozen=True)
class TrainingOptions:
    """How models are trained, and on what."""

    epochs: int = 4
    """Passes over the training set."""
    seeds: int = 4
    """Models of each kind, trained together, each from its own seed."""
    seed: int = 0
    """First seed: everything random follows from it."""
    batch: int = 64
    """Images per training step."""
    learning_rate: float = 6e-3
    """Peak learning rate of AdamW."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of kernels."""
    dataset: str = "mnist"
    """Data set: mnist is bundled; any other image classification set comes from TensorFlow Datasets."""
    data_dir: Path | None = None
    """Directory of TensorFlow Datasets; its own default where not given."""
    data_memory: float | None = None
    """Most MiB that training images of a TFDS set may take; those of a larger set are read from disk meanwhile. Half
    of a device's memory where not given, on a CPU an eighth of what is free."""
    train_images: int | None = None
    """Train on so many images only; all where not given."""
    output: Path | None = None
    """Directory for results and pictures, runs/EXPERIMENT where not given; one that is taken is kept, and the next free
    name used."""
    max_skipped_steps: int = 0
    """Steps whose loss or gradient is not finite that each seed may leave out before its training stops."""
    resume: Path | None = None
    """Directory of an interrupted run to go on with; all options but those of the processes are then the run's."""
    save_every: float = 300.0
    """Most seconds of training that a crash may cost; an epoch's end and a request to stop are saved anyway."""
    tensorboard: bool = False
    """Write loss and accuracies for TensorBoard too."""
    machines: Annotated[Machines, tyro.conf.arg(name="")] = Machines()
    """Processes that train together."""

    def check(self, *counts: str) -> None:
        """Refuses options that cannot be meant; `counts` names further ones that are at least 1 where given.

        Raises:
            InputError: naming the option.
        """
        for name in (*counts, "seeds", "batch", "epochs", "train_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"--{name.replace('_', '-')} is {value}; expected at least 1.")
        if self.max_skipped_steps < 0 or not self.save_every > 0:
            raise InputError(
                f"--max-skipped-steps is {self.max_skipped_steps} and --save-every {self.save_every}; "
                "expected at least 0 and above 0 seconds."
            )
        if self.data_memory is not None and not 0 <= self.data_memory < math.inf:
            raise InputError(f"--data-memory is {self.data_memory}; expected MiB of at least 0.")
        if not 0 <= self.seed < 2**32 - self.seeds:
            raise InputError(f"--seed {self.seed} is out of range; expected one from 0 to 2^32.")

    def load(self) -> Dataset:
        """Joins the other processes and loads the data set, with as many training images; says where they stay on disk.

        Raises:
            InputError: as `rowrnn.lab.devices.processes.Machines.join` and `rowrnn.lab.data.load.load`.
        """
        self.machines.join()
        data = load(self.dataset, self.data_dir, None if self.data_memory is None else int(self.data_memory * 2**20))
        if not isinstance(data.train, Split):
            terminal().print(f"{data.source}.")
        return dataclasses.replace(data, train=data.train.first(self.train_images))

    def seed_keys(self) -> Key[Array, "seeds"]:
        """A key for each seed."""
        return jax.vmap(jax.random.key)(jnp.arange(self.seed, self.seed + self.seeds, dtype=jnp.uint32))

    def recipe(self) -> Recipe:
        """The recipe that the options ask for."""
        return Recipe(
            self.epochs,
            self.batch,
            self.learning_rate,
            weight_decay=self.weight_decay,
            max_skipped_steps=self.max_skipped_steps,
        )
