"""Training a linear model whose every step can be written down, stopped by signals and taken up again."""

import os
import re
import signal

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.lab.errors import Stopped
from rowrnn.lab.training import Recipe, Task
from rowrnn.lab.training.fit import fit


def line(key):
    return {"w": jax.random.normal(key, (3, 1)), "b": jnp.full((1,), 0.5)}


def squared(model, batch, key):
    del key
    x, y = batch
    loss = jnp.mean((x @ model["w"] + model["b"][None] - y) ** 2)
    return loss, {}


def closeness(model, batch):
    x, y = batch
    return -jnp.squeeze((x @ model["w"] + model["b"][None] - y) ** 2, -1)


def examples(n, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    return x, (x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 0.3).astype(np.float32)


def noisy(model, batch, key):
    x, y = batch
    return squared(model, (x + 0.1 * jax.random.normal(key, x.shape), y), key)


def fit_line(checkpoints, loss=noisy, seeds=2, epochs=3, train=None, score=closeness, recipe=None, **options):
    """80 examples in batches of 4: 20 steps an epoch, of which the first 8 are the first chunk.

    `recipe` are further fields of the recipe.
    """
    keys = jax.vmap(jax.random.key)(jnp.arange(seeds, dtype=jnp.uint32))
    train = examples(80) if train is None else train
    task = Task(loss, score, train, examples(9, 1))
    return fit(line, task, Recipe(epochs, batch_size=4, **recipe or {}), keys, checkpoints=checkpoints, **options)


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


def interrupted(checkpoints, **options):
    """Trains until a request to stop that comes after the compilation; after which epoch and steps it ended."""
    with pytest.raises(Stopped, match="Stopped by SIGTERM after epoch") as caught:
        fit_line(checkpoints, on_compiled=stop, **options)
    epochs, steps = re.findall(r"epoch (\d+) and (\d+) steps", str(caught.value))[0]
    return int(epochs), int(steps)


def assert_equal_fits(a, b):
    chex.assert_trees_all_equal(jax.device_get(a.models), jax.device_get(b.models))
    for one, other in zip(a.epochs, b.epochs, strict=True):
        chex.assert_trees_all_equal((one.number, one.metrics, one.score), (other.number, other.metrics, other.score))


def recorded(loss):
    """The loss, and a list to which the examples of each step are added."""
    steps = []

    def recording(model, batch, key):
        jax.debug.callback(lambda *batch: steps.append([np.array(array) for array in batch]), *batch)
        return loss(model, batch, key)

    return recording, steps
