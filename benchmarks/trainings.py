"""Training of a Row LSTM or Row GRU with the same recipe in rowrnn, torch and Flax.

Run as a program with the arguments of `train` as a JSON list, it trains once and prints the results as JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import psutil

HIDDEN, SHIFT, DROPOUT = 128, 2.0, 0.2
RECIPE = {"batch_size": 128, "learning_rate": 4e-3, "warmup": 0.1, "weight_decay": 1e-2, "clip_norm": 1.0}

Trained = tuple[float, list[float], list[float]]
"""Seconds from the start of the process to the first step, seconds from there to the end of each epoch, and the test
accuracy after each epoch."""


def train_in_jax(library: str, cell: str, seed: int, epochs: int, splits: str) -> Trained:
    """Trains with `rowrnn.lab.training.fit`; the layer is that of rowrnn or, for "flax nnx", a `flax.nnx.RNN`."""
    import jax

    from rowrnn.lab.data import Augmentation, Split
    from rowrnn.lab.devices.mesh import one_device_per_core
    from rowrnn.lab.tasks.classification.task import correct, cross_entropy
    from rowrnn.lab.training import Recipe, Task
    from rowrnn.lab.training.fit import fit

    if library != "rowrnn":  # A scan of rowrnn uses all cores on one device.
        one_device_per_core()
    started: list[float] = []
    seconds, accuracies = [], []

    def begin() -> None:
        started.extend((seconds_since_start(), time.perf_counter()))

    def on_epoch(epoch: Any) -> None:
        seconds.append(time.perf_counter() - started[1])
        accuracies.append(float(epoch.score[0]))

    with np.load(splits) as arrays:
        train, test = (Split(arrays[f"{name}_images"], arrays[f"{name}_labels"]) for name in ("train", "test"))
    fit(
        rowrnn_classifier(cell) if library == "rowrnn" else flax_classifier(cell),
        Task(partial(cross_entropy, augmentation=Augmentation(shift=SHIFT)), correct, train, test),
        Recipe(epochs, **RECIPE),
        jax.random.key(seed)[None],
        on_compiled=begin,
        on_epoch=on_epoch,
    )
    return started[0], seconds, accuracies


def rowrnn_classifier(cell: str) -> Callable[[Any], Any]:
    """Returns a function from a key to a Row LSTM or Row GRU classifier."""
    from flax import nnx

    from rowrnn import CELLS
    from rowrnn.models import Classifier

    def make(key: Any) -> Any:
        rngs = nnx.Rngs(key)
        return Classifier(CELLS[cell](28, HIDDEN, rngs=rngs), 10, dropout=DROPOUT, rngs=rngs)

    return make


def flax_classifier(cell: str) -> Callable[[Any], Any]:
    """Returns a function from a key to a `flax.nnx.RNN` classifier that is a pytree of its parameters, for `fit`."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from rowrnn.image.rows import image_rows

    orthogonal = nnx.initializers.orthogonal()

    def layer_of(rngs: Any) -> Any:
        made = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell}[cell](28, HIDDEN, rngs=rngs)
        if cell == "lstm":
            # Gate order i f g o; the forget gate has an initial bias of 1, as in the other libraries.
            made.dense_h.bias[...] = made.dense_h.bias[...].at[HIDDEN : 2 * HIDDEN].set(1.0)
        # One orthogonal matrix for each gate, as in the others; nnx initializes one for all gates together.
        kernel = made.dense_h.kernel
        gates = [orthogonal(rngs.params(), (HIDDEN, HIDDEN)) for _ in range(kernel.shape[1] // HIDDEN)]
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
            zeros = jnp.zeros((len(x), HIDDEN))
            carry = (zeros, zeros) if cell == "lstm" else zeros
            layer = nnx.merge(graph, jax.tree.unflatten(structure, self.parameters), streams)
            last = layer(x, initial_carry=carry)[:, -1]
            return self.head(nnx.Dropout(DROPOUT)(last, deterministic=key is None, rngs=key))

        def tree_flatten(self) -> Any:
            return (self.parameters, self.head), None

        @classmethod
        def tree_unflatten(cls, _: Any, children: Any) -> Any:
            return cls(*children)

    def make(key: Any) -> Any:
        rngs = nnx.Rngs(key)
        _, parameters, _ = nnx.split(layer_of(rngs), nnx.Param, ...)
        return FlaxClassifier(jax.tree.leaves(parameters), nnx.Linear(HIDDEN, 10, rngs=rngs))

    return make


def train_in_torch(cell: str, seed: int, epochs: int, splits: str) -> Trained:
    """Trains with `torch.nn`; the data set is in memory."""
    import math

    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(seed)
    with np.load(splits) as arrays:
        images, test_images = (torch.from_numpy(arrays[f"{n}_images"])[..., 0].float() / 255 for n in ("train", "test"))
        labels, test_labels = (torch.from_numpy(arrays[f"{n}_labels"]).long() for n in ("train", "test"))
    layer = {"lstm": nn.LSTM, "gru": nn.GRU}[cell](28, HIDDEN, batch_first=True)
    head = nn.Linear(HIDDEN, 10)
    with torch.no_grad():
        nn.init.trunc_normal_(layer.weight_ih_l0, std=28**-0.5, a=-2 * 28**-0.5, b=2 * 28**-0.5)
        for block in layer.weight_hh_l0.split(HIDDEN):
            nn.init.orthogonal_(block)
        for bias in (layer.bias_ih_l0, layer.bias_hh_l0, head.bias):
            bias.zero_()
        if cell == "lstm":
            layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = 1
        nn.init.trunc_normal_(head.weight, std=HIDDEN**-0.5, a=-2 * HIDDEN**-0.5, b=2 * HIDDEN**-0.5)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": RECIPE["weight_decay"]},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ],
        lr=RECIPE["learning_rate"],
    )
    batch = int(RECIPE["batch_size"])
    steps = len(images) // batch
    rise = max(1, round(RECIPE["warmup"] * steps * epochs))

    def rate(step: int) -> float:
        if step < rise:
            return step / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps * epochs - rise)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)

    def shifted(x: Any) -> Any:
        theta = torch.zeros(len(x), 2, 3)
        theta[:, 0, 0] = theta[:, 1, 1] = 1
        theta[:, :, 2] = (2 * torch.rand(len(x), 2) - 1) * SHIFT * 2 / 27
        grid = F.affine_grid(theta, [len(x), 1, 28, 28], align_corners=True)
        return F.grid_sample(x[:, None], grid, align_corners=True)[:, 0]

    first, started = seconds_since_start(), time.perf_counter()
    seconds, accuracies = [], []
    for _ in range(epochs):
        for chosen in torch.randperm(len(images))[: steps * batch].split(batch):
            optimizer.zero_grad()
            last = layer(shifted(images[chosen]))[0][:, -1]
            F.cross_entropy(head(F.dropout(last, DROPOUT)), labels[chosen]).backward()
            nn.utils.clip_grad_norm_(parameters, RECIPE["clip_norm"])
            optimizer.step()
            schedule.step()
        with torch.inference_mode():
            answers = torch.cat([head(layer(part)[0][:, -1]).argmax(-1) for part in test_images.split(500)])
        accuracies.append((answers == test_labels).double().mean().item())
        seconds.append(time.perf_counter() - started)
    return first, seconds, accuracies


def train(library: str, cell: str, seed: int, epochs: int, splits: str) -> Trained:
    """Trains once.

    Args:
        library: "rowrnn", "torch" or "flax nnx".
        cell: "lstm" or "gru".
        seed: random seed.
        epochs: number of epochs.
        splits: path of the data, a file written by `time_to_accuracy.save_splits`.
    """
    if library == "torch":
        return train_in_torch(cell, seed, epochs, splits)
    return train_in_jax(library, cell, seed, epochs, splits)


def seconds_since_start() -> float:
    """Returns the seconds since this process started, including the start of the interpreter."""
    return time.time() - psutil.Process().create_time()


if __name__ == "__main__":
    print(json.dumps(train(*json.loads(sys.argv[1]))))
