"""Arrays to the devices of all processes, back from them, and small values between processes."""

import time
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import broadcast_one_to_all, process_allgather
from jax.sharding import Sharding
from jaxtyping import PyTree


def to_devices(tree: PyTree[Any], sharding: Sharding | PyTree[Sharding]) -> PyTree[jax.Array]:
    """Arrays, the same in every process, to the devices of all processes."""
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    shardings = jax.tree.map(lambda _: sharding, tree) if isinstance(sharding, Sharding) else sharding
    return jax.tree.map(_of_parts, jax.device_get(tree), shardings)


def gather(tree: PyTree[jax.Array]) -> PyTree[np.ndarray]:
    """Arrays from the devices of all processes, whole, in every process."""
    return jax.device_get(tree) if jax.process_count() == 1 else process_allgather(tree, tiled=True)


def all_gather_scalar(value: float) -> np.ndarray:
    """What every process says, `[processes]`, in every process."""
    return np.full(1, value) if jax.process_count() == 1 else process_allgather(np.float32(value))


def broadcast_from_first(text: str) -> str:
    """What the first process says, in every process; at most 4,096 bytes."""
    if jax.process_count() == 1:
        return text
    told = broadcast_one_to_all(np.frombuffer(text.encode().ljust(4096), np.uint8))
    return bytes(np.asarray(told)).decode().rstrip()


def _of_parts(array: np.ndarray, sharding: Sharding) -> jax.Array:
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def block_until_ready(array: Any) -> None:
    """Waits for an array in Python, where Ctrl-C is heard; JAX's own wait hears it only when the array is there."""
    while not array.is_ready():
        time.sleep(0.002)
