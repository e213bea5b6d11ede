"""The same jitted step of a training again and again, on so many cores (the argument).

Prints how many cores those are, and how often the bits were others than the first time's.
"""

import hashlib
import json
import os
import sys

import jax
import numpy as np
from flax import nnx

from rowrnn.cells import LSTM
from rowrnn.models import Classifier
from tests.slow.devices import loss

TIMES = 1000


def main():
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])  # before JAX makes its threads
    rng, rngs = np.random.default_rng(0), nnx.Rngs(0)
    model = Classifier(LSTM(3, 64, rngs=rngs), 3, dropout=0.3, rngs=rngs)
    batch = rng.normal(size=(64, 8, 3, 1)).astype(np.float32), rng.integers(0, 3, 64).astype(np.int32)
    step = jax.jit(jax.value_and_grad(loss, has_aux=True))

    def digest():
        leaves = jax.tree.leaves(step(model, batch, jax.random.key(0)))
        return hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in leaves)).hexdigest()

    first = digest()
    others = sum(digest() != first for _ in range(TIMES - 1))
    print(json.dumps({"cores": len(os.sched_getaffinity(0)), "others": others}))


if __name__ == "__main__":
    main()
