"""One training on 1, 2, 4 and 8 devices, and its checkpoints on every other number of them; prints what lies apart.

A process of its own: the tests' has two devices.
"""

import json
import tempfile
from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx

from rowrnn.cells import GRU
from rowrnn.lab.training import Checkpoints, Recipe, Task
from rowrnn.lab.training.fit import fit
from rowrnn.lab.training.steps import Steps
from rowrnn.models import Classifier

DEVICES = (1, 2, 4, 8)
BATCH, CHUNK = 16, 3


def build(key):
    rngs = nnx.Rngs(key)
    return Classifier(GRU(3, 4, rngs=rngs), 3, dropout=0.3, rngs=rngs)


def loss(model, batch, key):
    images, labels = batch
    mean = optax.softmax_cross_entropy_with_integer_labels(model(images, key=key), labels).mean()
    return mean, {}


def score(model, batch):
    images, labels = batch
    return (model(images).argmax(-1) == labels).astype(np.float32)


def main():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(80, 4, 3, 1)).astype(np.float32), rng.integers(0, 3, 80).astype(np.int32)
    keys, recipe = jax.random.split(jax.random.key(0), 1), Recipe(epochs=4, batch_size=BATCH)
    arguments = build, Task(loss, score, data, data), recipe, keys
    losses = {n: [e.metrics["loss"].item() for e in fit(*arguments, devices=jax.devices()[:n]).epochs] for n in DEVICES}
    steps = {n: Steps(*arguments, jax.devices()[:n]) for n in DEVICES}
    kept, after = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for n, of in steps.items():
            of.compile()
            state = of.advance(of.begin(), of.open(1, 0), 1, 0, CHUNK)
            Checkpoints(Path(folder) / str(n)).save(0, CHUNK, state, {})
            kept[n] = jax.device_get(state)
        different, apart = 0, 0.0
        for before in DEVICES:
            checkpoint = Checkpoints(Path(folder) / str(before)).newest()
            assert checkpoint
            for n, of in steps.items():
                state = checkpoint.state(of.state())
                pairs = zip(jax.tree.leaves(state), jax.tree.leaves(kept[before]), strict=True)
                different += sum(np.asarray(a).tobytes() != np.asarray(b).tobytes() for a, b in pairs)
                state = of.advance(state, of.open(1, CHUNK), 1, CHUNK, CHUNK + 1)
                after[before, n] = state.metrics["loss"].item() - kept[before].metrics["loss"].item()
            apart = max(apart, max(abs(after[before, n] - after[before, before]) for n in DEVICES))
    spread = {n: float(np.abs(np.subtract(losses[n], losses[1])).max()) for n in DEVICES}
    print(
        json.dumps(
            {
                "meshes": {n: of.mesh.size for n, of in steps.items()},
                "apart": spread,
                "different": different,
                "next_loss_apart": apart,
            }
        )
    )


if __name__ == "__main__":
    main()
