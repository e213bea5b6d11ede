"""Layers whose examples lie on two devices."""

import jax
import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU, LRU, LSTM, Bidirectional, Recurrent, Stack
from tests.helpers.meshes import assert_same, in_shard_map, on_mesh, with_gradients
from tests.helpers.problem import random_like

pytestmark = pytest.mark.slow

BATCH, STEPS, FEATURES, HIDDEN = 4, 5, 3, 2
LENGTHS = np.asarray([4, 0, 5, 2], np.int32)


def cell(kind, features=FEATURES):
    return kind(features, HIDDEN, rngs=nnx.Rngs(0))


LAYERS = {
    "learned state": lambda: Recurrent(cell(GRU), learn_initial_state=True),
    "learned states": lambda: Bidirectional(cell(LSTM), cell(GRU), learn_initial_state=True),
    "expected zoneout": lambda: Recurrent(cell(LSTM), zoneout=0.3),
    "skip": lambda: Stack([Bidirectional(cell(LRU), cell(GRU)), cell(LSTM, 9)], connection="skip"),
}
# Layers with noise, in training: in a `shard_map` every device would draw the same.
NOISY = {
    "zoneout and recurrent dropout": lambda: Recurrent(cell(GRU), zoneout=0.3, recurrent_dropout=0.5),
    "dropout": lambda: Stack([cell(GRU), cell(GRU, HIDDEN)], dropout=0.5, connection="residual"),
}
CASES = [
    *((make, None, where) for make in LAYERS.values() for where in (on_mesh, in_shard_map)),
    *((make, 0, on_mesh) for make in NOISY.values()),
]
IDS = [*(f"{name}-{where}" for name in LAYERS for where in ("mesh", "shard_map")), *NOISY]


@pytest.mark.parametrize(("make", "seed", "where"), CASES, ids=IDS)
def test_a_layer_on_a_mesh_is_the_layer_on_one_device(make, seed, where):
    key = None if seed is None else jax.random.key(seed)

    def run(layer, x, lengths):
        return layer(x, lengths=lengths, key=key)

    x = np.random.default_rng(0).normal(size=(BATCH, STEPS, FEATURES)).astype(np.float32)
    arguments = run, random_like(make()), x, {"lengths": LENGTHS}
    assert_same(where(*arguments), with_gradients(*arguments))
