"""The device mesh: seeds first, then the examples of a batch.

Seeds on different devices never talk, so they are spread as far as they divide evenly; what devices remain share each
batch. On CPU every core can be a device of its own, which makes a laptop run the same code as several GPUs or TPUs.
"""

import math
import os
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh

SEED, DATA = "seed", "data"


def one_device_per_core() -> None:
    """Makes each CPU core that this process may use a JAX device. Call it before JAX first touches a device.

    An explicit `JAX_NUM_CPU_DEVICES` in the environment, or a setting made before, stands.
    """
    if jax.config.jax_num_cpu_devices < 1:  # pyrefly: ignore[missing-attribute]
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))


def seed_mesh(seeds: int, batch_size: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Mesh `(seed, data)` over the devices, for so many seeds trained together with so large a batch each.

    The seed axis is the largest that divides both the seeds and the devices, the data axis the largest that divides
    the batch and the devices left; a device that fits neither stays idle.
    """
    devices = jax.devices() if devices is None else devices
    over_seeds = math.gcd(seeds, len(devices))
    over_data = math.gcd(batch_size, len(devices) // over_seeds)
    used = np.asarray(devices[: over_seeds * over_data])
    return Mesh(used.reshape(over_seeds, over_data), (SEED, DATA))
