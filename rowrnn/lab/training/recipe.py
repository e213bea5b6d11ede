"""Hyperparameters of a training, and its optimizer."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree
from optax import contrib

from rowrnn.errors import InputError

ELEMENTWISE = ("bias", "scale", "peephole")
"""Suffixes of the names of weights that act element by element; they are not decayed, however many axes they have."""
OPTIMIZERS = ("adamw", "muon")
"""AdamW; or Muon for kernels, and AdamW with Nesterov's momentum for other weights."""
MUON_RMS = 0.2
"""Root mean square of Muon's steps of rate 1, about that of AdamW's (Liu et al. 2025, "Muon is scalable for LLM
training", section 2.2), so that learning rates and weight decays of one suit the other."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train: AdamW or Muon with clipping, a linear warm-up and a cosine decay to zero.

    Muon (Jordan et al. 2024) takes the momentum of a kernel, as a matrix of inputs by outputs, for the nearest
    orthogonal matrix: every direction is learnt at one pace, also those with small gradients.

    Args:
        epochs: number of epochs, after each of which the model is scored.
        batch_size: examples per step. Each epoch shuffles anew and drops the incomplete last batch.
        learning_rate: peak of the schedule.
        warmup: fraction of all steps over which the learning rate rises, from zero at the first step.
        weight_decay: decoupled weight decay of arrays of two axes or more, `ELEMENTWISE` ones excepted, and with Muon
            what it leaves to AdamW.
        clip_norm: largest global norm of a gradient.
        max_skipped_steps: steps whose loss or gradient is not finite that each seed may leave out before its training
            stops; one that is left out changes neither weights nor optimizer.
        averaging: decay of an exponential moving average of the weights over the steps, from equal weights in the first
            steps (bias-corrected as Adam's means, Kingma & Ba 2015); the averaged weights are then those that are
            scored, selected and returned. 0 for no averaging.
        patience: number of epochs without a better validation score of any seed after which training ends early. The
            learning rate still follows the schedule of all `epochs`. None for no early end.
        passes: passes over the training set that make an epoch, each in an order of its own; more than one for a set so
            small that a score after each would say little.
        optimizer: one of `OPTIMIZERS`.

    Raises:
        InputError: if a number is out of its range, or the optimizer is unknown.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup: float = 0.1
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    max_skipped_steps: int = 0
    averaging: float = 0.0
    patience: int | None = None
    passes: int = 1
    optimizer: str = "adamw"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(
                    f"A training needs a finite {name.replace('_', ' ')} above 0, not {getattr(self, name)}."
                )
        if not 0 <= self.warmup < 1 or not 0 <= self.weight_decay < float("inf"):
            raise InputError(
                f"A training needs a warm-up in [0, 1) and a weight decay of at least 0, not {self.warmup} and "
                f"{self.weight_decay}."
            )
        if self.max_skipped_steps < 0:
            raise InputError(f"A training needs a number of steps to skip of at least 0, not {self.max_skipped_steps}.")
        if not 0 <= self.averaging < 1:
            raise InputError(f"A training needs a decay of averaged weights in [0, 1), not {self.averaging}.")
        if self.passes < 1:
            raise InputError(f"A training needs at least 1 pass over its examples in an epoch, not {self.passes}.")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"A training needs a patience of at least 1 epoch, not {self.patience}.")
        if self.optimizer not in OPTIMIZERS:
            raise InputError(f"A training has one of the optimizers {', '.join(OPTIMIZERS)}, not {self.optimizer!r}.")

    def steps(self, examples: int) -> int:
        """Returns the number of steps of an epoch over so many examples."""
        return self.passes * examples // self.batch_size

    def order(self, key: Key[Array, ""], examples: int) -> Int[Array, "steps b"]:
        """Returns the indices of the examples of each step of an epoch; every pass has a random order of its own."""
        keys = jax.random.split(key, self.passes) if self.passes > 1 else key[None]
        passes = jax.vmap(lambda key: jax.random.permutation(key, examples))(keys)
        steps = self.steps(examples)
        # `permutation` gives 64 bits where `jax_enable_x64` is set; a block of examples has 32.
        return passes.ravel()[: steps * self.batch_size].astype(jnp.int32).reshape(steps, self.batch_size)

    def transformation(self, steps: int) -> optax.GradientTransformation:
        """Returns the optimizer with clipping and the learning rate schedule for a number of steps."""
        rise = min(max(1, round(self.warmup * steps)), steps)
        schedule = optax.warmup_cosine_decay_schedule(0.0, self.learning_rate, rise, max(steps, rise + 1))
        if self.optimizer == "muon":
            optimizer = contrib.muon(
                schedule,
                weight_decay=self.weight_decay,
                weight_decay_mask=_decay_mask,
                muon_weight_dimension_numbers=_as_matrices,
                consistent_rms=MUON_RMS,
            )
        else:
            optimizer = optax.adamw(schedule, weight_decay=self.weight_decay, mask=_decay_mask)
        return optax.chain(optax.clip_by_global_norm(self.clip_norm), optimizer)


def _decay_mask(params: PyTree[Array]) -> PyTree[bool]:
    """Returns which arrays decay: those of two axes or more whose names do not end in one of `ELEMENTWISE`."""
    return jax.tree_util.tree_map_with_path(_is_kernel, params)


def _as_matrices(params: PyTree[Array]) -> PyTree[contrib.MuonDimensionNumbers | None]:
    """Returns how Muon sees each array: a kernel as inputs by outputs, the last axis; others not.

    Rows of embeddings and of places are looked up and not multiplied: they are AdamW's, as in Jordan et al. 2024.
    """

    def as_matrix(path: tuple[Any, ...], array: Array) -> contrib.MuonDimensionNumbers | None:
        if not _is_kernel(path, array) or _name(path).endswith(("embedding", "places")):
            return None
        return contrib.MuonDimensionNumbers(tuple(range(array.ndim - 1)), array.ndim - 1)

    return jax.tree_util.tree_map_with_path(as_matrix, params)


def _is_kernel(path: tuple[Any, ...], array: Array) -> bool:
    return array.ndim > 1 and not _name(path).endswith(ELEMENTWISE)


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".").removesuffix(".value")  # of an nnx.Param
