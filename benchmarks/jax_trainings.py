"""Training of a classifier of MNIST in rowrnn, or of a layer of Flax in its place."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from trainings import Recipe, Trained, seconds_since_start

from rowrnn import CELLS
from rowrnn.image.rows import image_rows
from rowrnn.lab import training
from rowrnn.lab.data import Augmentation, Split
from rowrnn.lab.devices.mesh import one_device_per_core
from rowrnn.lab.tasks.classification.task import correct, cross_entropy
from rowrnn.lab.training import Task
from rowrnn.lab.training.fit import fit
from rowrnn.models import CNN, Classifier


def train_in_jax(library: str, model: str, recipe: Recipe, seed: int, splits: str) -> Trained:
    """Trains with `rowrnn.lab.training.fit`; the layer is that of rowrnn or, for "flax nnx", a `flax.nnx.RNN`."""
    if library != "rowrnn":  # A scan of rowrnn uses all cores on one device.
        one_device_per_core()
    started: list[float] = []
    seconds, accuracies = [], []

    def begin() -> None:
        started.extend((seconds_since_start(), time.perf_counter()))

    def on_epoch(epoch: Any) -> None:
        seconds.append(time.perf_counter() - started[1])
        accuracies.append(float(epoch.score[0]))

    lab_recipe = training.Recipe(
        recipe.epochs,
        recipe.batch,
        recipe.learning_rate,
        recipe.warmup,
        recipe.weight_decay,
        recipe.clip_norm,
        averaging=recipe.averaging,
        optimizer=recipe.optimizer,
    )
    with np.load(splits) as arrays:
        train, test = (Split(arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in ("train", "test"))
    fit(
        rowrnn_classifier(model, recipe) if library == "rowrnn" else flax_classifier(model, recipe),
        Task(partial(cross_entropy, augmentation=Augmentation(shift=recipe.shift)), correct, train, test),
        lab_recipe,
        jax.random.key(seed)[None],
        on_compiled=begin,
        on_epoch=on_epoch,
    )
    return started[0], seconds, accuracies


def rowrnn_classifier(model: str, recipe: Recipe) -> Callable[[Any], Any]:
    """Returns a function from a key to a Row LSTM, a Row GRU or a CNN."""

    def make(key: Any) -> Any:
        rngs = nnx.Rngs(key)
        if model == "cnn":
            return CNN((28, 28, 1), recipe.size, 10, dropout=recipe.dropout, rngs=rngs)
        return Classifier(CELLS[model](28, recipe.size, rngs=rngs), 10, dropout=recipe.dropout, rngs=rngs)

    return make


def flax_classifier(cell: str, recipe: Recipe) -> Callable[[Any], Any]:
    """Returns a function from a key to a `flax.nnx.RNN` classifier that is a pytree of its parameters, for `fit`."""
    hidden = recipe.size
    orthogonal = nnx.initializers.orthogonal()

    def layer_of(rngs: Any) -> Any:
        made = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[cell](28, hidden, rngs=rngs)
        if cell == "lstm":
            # Gate order i f g o; the forget gate has an initial bias of 1, as in the other libraries.
            made.dense_h.bias[...] = made.dense_h.bias[...].at[hidden : 2 * hidden].set(1.0)
        # One orthogonal matrix for each gate, as in the others; nnx initializes one for all gates together.
        kernel = made.dense_h.kernel
        gates = [orthogonal(rngs.params(), (hidden, hidden)) for _ in range(kernel.shape[1] // hidden)]
        kernel[...] = jnp.concatenate(gates, axis=1)
        return nnx.RNN(made, rngs=nnx.Rngs(0))

    graph, template, streams = nnx.split(layer_of(nnx.Rngs(0)), nnx.Param, ...)
    structure = jax.tree.structure(template)

    @jax.tree_util.register_pytree_node_class
    class FlaxClassifier:
        def __init__(self, parameters: list[Any], head: Any) -> None:
            self.parameters, self.head = parameters, head

        def __call__(self, images: Any, *, key: Any = None) -> Any:
            x = image_rows(images)
            zeros = jnp.zeros((len(x), hidden))
            carry = (zeros, zeros) if cell == "lstm" else zeros
            layer = nnx.merge(graph, jax.tree.unflatten(structure, self.parameters), streams)
            last = layer(x, initial_carry=carry)[:, -1]
            return self.head(nnx.Dropout(recipe.dropout)(last, deterministic=key is None, rngs=key))

        def tree_flatten(self) -> Any:
            return (self.parameters, self.head), None

        @classmethod
        def tree_unflatten(cls, _: Any, children: Any) -> Any:
            return cls(*children)

    def make(key: Any) -> Any:
        rngs = nnx.Rngs(key)
        _, parameters, _ = nnx.split(layer_of(rngs), nnx.Param, ...)
        return FlaxClassifier(jax.tree.leaves(parameters), nnx.Linear(hidden, 10, rngs=rngs))

    return make
