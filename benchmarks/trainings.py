"""Trainings on MNIST that are raced: which model, in which library, by which recipe.

Run as a program with the arguments of `train` as a JSON list, it trains once and prints the results as JSON.
"""

import json
import sys
import time
from dataclasses import dataclass, replace

import psutil

Trained = tuple[float, list[float], list[float]]
"""Seconds from the start of the process to the first step, seconds from there to the end of each epoch, and the
accuracy after each epoch."""


@dataclass(frozen=True)
class Recipe:
    """How to train, in every library.

    Args:
        size: hidden units, or channels of the last convolution.
        epochs: passes over the training images.
        batch: images of a step.
        learning_rate: peak of the schedule, which then falls to zero along a cosine.
        warmup: fraction of all steps over which the learning rate rises.
        weight_decay: decoupled weight decay of kernels.
        clip_norm: largest global norm of a gradient.
        shift: largest random shift of an image, in pixels.
        dropout: probability with which a feature before the last layer is dropped.
        optimizer: "adamw", or in rowrnn "muon".
        averaging: decay of a moving average of the weights, which is scored; 0 for none.
    """

    size: int = 128
    epochs: int = 8
    batch: int = 128
    learning_rate: float = 4e-3
    warmup: float = 0.1
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    shift: float = 2.0
    dropout: float = 0.2
    optimizer: str = "adamw"
    averaging: float = 0.0


SAME = Recipe()
"""The recipe by which libraries are compared."""
CLOCK = {
    ("gru", "rowrnn"): Recipe(112, 3, 128, 7e-3, dropout=0.0, optimizer="muon", averaging=0.99),
    ("cnn", "rowrnn"): Recipe(32, 4, 128, 7e-3, shift=0.0, optimizer="muon", averaging=0.99),
    ("cnn", "torch"): Recipe(64, 2, 128, 1e-2, warmup=0.3, shift=0.0, dropout=0.0),
}
"""By model and library, the recipe with which it is there soonest: chosen on validation images."""


def recipe_of(library: str, model: str, kind: str) -> Recipe:
    """Returns the recipe of this kind, "same" or "clock"."""
    return SAME if kind == "same" else CLOCK[model, library]


def train(library: str, model: str, kind: str, changed: dict[str, float], seed: int, splits: str) -> Trained:
    """Trains once.

    Args:
        library: "rowrnn", "torch" or "flax nnx".
        model: "lstm", "gru" or "cnn".
        kind: kind of the recipe, see `recipe_of`.
        changed: what differs from that recipe.
        seed: random seed.
        splits: path of the data, a file written by `time_to_accuracy.save_splits`.
    """
    recipe = replace(recipe_of(library, model, kind), **changed)
    if library == "torch":
        from torch_trainings import train_in_torch

        return train_in_torch(model, recipe, seed, splits)
    from jax_trainings import train_in_jax

    return train_in_jax(library, model, recipe, seed, splits)


def seconds_since_start() -> float:
    """Returns the seconds since this process started, including the start of the interpreter."""
    return time.time() - psutil.Process().create_time()


if __name__ == "__main__":
    print(json.dumps(train(*json.loads(sys.argv[1]))))
