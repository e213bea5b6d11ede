"""The device mesh: seeds first, then the examples of a batch.

Seeds on different devices never talk, so they are spread as far as they divide evenly; what devices remain share each
batch. On CPU every core can be a device of its own, which makes a laptop run the same code as several GPUs or TPUs.
The devices may be those of several processes on several machines: `put` and `gather` are the ways there and back.
"""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Int, PyTree

from rowrnn.errors import InputError

SEED, DATA = "seed", "data"


def one_device_per_core() -> None:
    """Makes each CPU core that this process may use a JAX device. Call it before JAX first touches a device.

    An explicit `JAX_NUM_CPU_DEVICES` in the environment, or a setting made before, stands.

    Raises:
        RuntimeError: if JAX has started already.
    """
    if jax.config.jax_num_cpu_devices < 1:  # pyrefly: ignore[missing-attribute]
        jax.config.update("jax_num_cpu_devices", cores())


def cores() -> int:
    """Number of CPU cores that this process may use, which can be fewer than the machine has."""
    # Not every system has affinities.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seed_mesh(seeds: int, batch_size: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Mesh `(seed, data)` over the devices, for so many seeds trained together with so large a batch each.

    The seed axis is the largest that divides both the seeds and the devices, the data axis the largest that divides
    the batch and the devices left; a device that fits neither stays idle.

    Raises:
        InputError: if a process would have no device.
    """
    devices = jax.devices() if devices is None else devices
    over_seeds = math.gcd(seeds, len(devices))
    over_data = math.gcd(batch_size, len(devices) // over_seeds)
    used = devices[: over_seeds * over_data]
    if len({device.process_index for device in used}) < jax.process_count():
        raise InputError(
            f"{jax.process_count()} processes cannot share {seeds} seeds and batches of {batch_size} evenly: make one "
            "of the numbers a multiple of the number of devices."
        )
    return Mesh(np.asarray(used).reshape(over_seeds, over_data), (SEED, DATA))


def map_over_seeds(f: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
    """`f(of_seed, *shared)` over the leading axis of its first argument: side by side on the devices, then in turn.

    In turn and not by vmap: a batched product of small matrices is slower on CPU than one after the other, and a
    seed's result does not depend on how many others train beside it.
    """

    def of_device(of_seeds: Any, *shared: Any) -> Any:
        return jax.lax.map(lambda of_seed: f(of_seed, *shared), of_seeds)

    def of_all(of_seeds: Any, *shared: Any) -> Any:
        in_specs = (P(SEED), *(P() for _ in shared))
        # Only the seed axis is manual; along the data axis XLA partitions what `take_examples` has cut.
        return jax.shard_map(
            of_device, mesh=mesh, in_specs=in_specs, out_specs=P(SEED), axis_names={SEED}, check_vma=False
        )(of_seeds, *shared)

    return of_all


def take_examples(batch: PyTree, indices: Int[Array, "b"]) -> PyTree:
    """The examples of these indices, `[b, ...]`, cut along the data axis of the mesh."""
    indices = shard_batch(indices)
    return jax.tree.map(lambda a: a[indices], batch)


def shard_batch(batch: PyTree[Array]) -> PyTree[Array]:
    """A batch `[b, ...]`, cut along the data axis of the mesh."""
    return jax.lax.with_sharding_constraint(batch, P(DATA))
