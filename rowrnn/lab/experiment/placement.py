"""The devices that a model trains on, by the backends of its recurrences."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rowrnn.cells import Cell
from rowrnn.recurrence.backend_choice import explain


def computed_by(model: Any) -> str:
    """The backends of a model's recurrences, and why; XLA of a model without any."""
    cells = [module for _, module in nnx.iter_modules(model) if isinstance(module, Cell)]
    reasons = [explain(cell, jnp.zeros((1,) * (1 + cell.num_feature_axes) + (cell.features,))) for cell in cells]
    return "; ".join(dict.fromkeys(reasons)) or "XLA"


def devices_for(computed_by: str, seeds: int) -> Sequence[jax.Device]:
    """What to train on: compiled code has all cores on one device, and loses where devices share a batch."""
    devices = jax.devices()
    if not computed_by.startswith("native"):
        return devices
    if jax.process_count() > 1:
        return [next(d for d in devices if d.process_index == process) for process in range(jax.process_count())]
    return devices[: math.gcd(seeds, len(devices))]
