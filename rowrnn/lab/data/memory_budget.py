"""The memory that training images may take."""

import jax
import psutil


def memory_budget() -> int:
    """Returns the bytes that training images may take: half of a device's memory, an eighth of a CPU's free memory."""
    # On a CPU loading makes copies: of the arrays read, and of the validation examples split off.
    stats = jax.local_devices()[0].memory_stats()
    return stats["bytes_limit"] // 2 if stats else psutil.virtual_memory().available // 8
