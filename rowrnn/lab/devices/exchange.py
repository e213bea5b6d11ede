"""Transfers of arrays to and from devices, and collectives of small values between processes."""

import time
from typing import Any

import jax
import numpy as np
from jax.experimental.multihost_utils import broadcast_one_to_all, process_allgather
from jax.sharding import Sharding
from jaxtyping import PyTree


def to_devices(tree: PyTree[Any], sharding: Sharding | PyTree[Sharding]) -> PyTree[jax.Array]:
    """Places arrays on the devices of all processes.

    Args:
        tree: arrays, equal in every process.
        sharding: one sharding for all arrays, or a pytree of shardings like `tree`.

    Returns:
        The arrays as global `jax.Array`s.
    """
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    shardings = jax.tree.map(lambda _: sharding, tree) if isinstance(sharding, Sharding) else sharding
    return jax.tree.map(_of_parts, jax.device_get(tree), shardings)


def gather(tree: PyTree[jax.Array]) -> PyTree[np.ndarray]:
    """Returns global arrays as whole NumPy arrays, in every process."""
    return jax.device_get(tree) if jax.process_count() == 1 else process_allgather(tree, tiled=True)


def all_gather_scalar(value: float) -> np.ndarray:
    """Returns the values of all processes as `[processes]`, float32 where there are several, in every process."""
    return np.full(1, value) if jax.process_count() == 1 else process_allgather(np.float32(value))


def broadcast_from_first(text: str) -> str:
    """Returns the text of the first process in every process; at most 4,096 bytes."""
    if jax.process_count() == 1:
        return text
    told = broadcast_one_to_all(np.frombuffer(text.encode().ljust(4096), np.uint8))
    return bytes(np.asarray(told)).decode().rstrip()


def _of_parts(array: np.ndarray, sharding: Sharding) -> jax.Array:
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def block_until_ready(array: Any) -> None:
    """Waits until an array is computed, polling in Python.

    Python handles Ctrl-C between two polls; `jax.block_until_ready` would delay it until the array is there.
    """
    while not array.is_ready():
        time.sleep(0.002)
