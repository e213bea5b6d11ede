"""Memory that compiled code takes for a call is not kept for the life of the process, when it is much."""

import subprocess
import sys

import pytest

from rowrnn.machine import native_library
from tests.helpers import ROOT

# The gradient of an LSTM whose packed weights take 68 MiB, and three times that in all, is computed once.
GROWTH = """
import ctypes, gc, sys
import jax, jax.numpy as jnp, psutil
from flax import nnx
from rowrnn import LSTM, scan

gradient = jax.jit(jax.grad(lambda cell, x: scan(cell, x, backend="native")[0].sum()))

def measured(hidden, batch):
    cell = LSTM(8, hidden, rngs=nnx.Rngs(0)) if hidden < 100 else jax.tree.map(
        lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(lambda: LSTM(8, hidden, rngs=nnx.Rngs(0))))
    jax.block_until_ready(gradient(cell, jnp.ones((batch, 1, 8))))
    del cell
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss / 2**20

measured(16, 8)
print(-measured(16, 8) + measured(2048, 8))
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(native_library.unavailable()), reason=native_library.unavailable() or "it is there")
@pytest.mark.skipif(sys.platform != "linux", reason="malloc_trim is of glibc")
def test_what_a_large_model_took_is_given_back():
    run = subprocess.run([sys.executable, "-c", GROWTH], cwd=ROOT, check=True, capture_output=True, text=True)
    assert float(run.stdout) < 60
