"""The device mesh, with an axis for the seeds and an axis for the examples of a batch.

Seeds do not communicate, so the seed axis is made as large as it divides evenly; the devices left over share each
batch. On CPU each core can be a device, so that a laptop runs the same code as several GPUs or TPUs. The devices may
belong to several processes on several machines: `rowrnn.lab.devices.exchange` moves arrays there and back.
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

    Does nothing where `JAX_NUM_CPU_DEVICES` or `jax_num_cpu_devices` is set already.

    Raises:
        RuntimeError: if JAX has started already.
    """
    if jax.config.jax_num_cpu_devices < 1:  # pyrefly: ignore[missing-attribute]
        jax.config.update("jax_num_cpu_devices", cores())


def cores() -> int:
    """Returns the number of CPU cores that this process may use, which can be fewer than the machine has."""
    # `sched_getaffinity` exists on Linux, not on macOS.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def seed_mesh(seeds: int, batch_size: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Returns the mesh `(seed, data)` for a number of seeds trained together, each with batches of `batch_size`.

    The seed axis is the largest that divides both the seeds and the devices, the data axis the largest that divides
    the batch and the devices left; a device that fits neither stays idle.

    Args:
        seeds: number of seeds.
        batch_size: examples in a batch of each seed.
        devices: devices to use; all devices where not given.

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
    """Maps `f(of_seed, *shared)` over the leading axis of its first argument, a part of it on each device.

    The seeds of one device run one after the other, not in vmap: on CPU a batched product of small matrices is slower
    than one after the other, and so a seed's result does not depend on how many others train beside it.

    Args:
        f: function of the part of one seed and of the arguments that all seeds share.
        mesh: mesh with an axis `SEED`.

    Returns:
        The mapped function.
    """

    def of_device(of_seeds: Any, *shared: Any) -> Any:
        return jax.lax.map(lambda of_seed: f(of_seed, *shared), of_seeds)

    def of_all(of_seeds: Any, *shared: Any) -> Any:
        in_specs = (P(SEED), *(P() for _ in shared))
        # Only the seed axis is manual; along the data axis XLA partitions what `take_examples` has sharded.
        return jax.shard_map(
            of_device, mesh=mesh, in_specs=in_specs, out_specs=P(SEED), axis_names={SEED}, check_vma=False
        )(of_seeds, *shared)

    return of_all


def take_examples(batch: PyTree, indices: Int[Array, "b"]) -> PyTree:
    """Returns the examples at these indices, `[b, ...]`, sharded along the data axis of the mesh."""
    indices = shard_batch(indices)
    return jax.tree.map(lambda a: a[indices], batch)


def shard_batch(batch: PyTree[Array]) -> PyTree[Array]:
    """Shards a batch `[b, ...]` along the data axis of the mesh."""
    return jax.lax.with_sharding_constraint(batch, P(DATA))
