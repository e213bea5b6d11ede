"""The choice of devices for a model, by the backends of its recurrences."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rowrnn.cells import Cell
from rowrnn.recurrence.backend import ScanCall
from rowrnn.recurrence.backend_choice import Choice, choose


def choices_of(model: Any) -> list[Choice]:
    """Returns the backend of each recurrence of a model, with the reason."""
    cells = [module for _, module in nnx.iter_modules(model) if isinstance(module, Cell)]
    steps = [jnp.zeros((1,) * (1 + cell.num_feature_axes) + (cell.features,), jnp.float32) for cell in cells]
    return [choose(cell, ScanCall(x)) for cell, x in zip(cells, steps, strict=True)]


def computed_by(choices: Sequence[Choice]) -> str:
    """Describes the backends of a model's recurrences with their reasons; "XLA" for a model without recurrences."""
    return "; ".join(dict.fromkeys(map(str, choices))) or "XLA"


def devices_for(choices: Sequence[Choice], seeds: int) -> Sequence[jax.Device]:
    """Returns the devices to train on.

    With a backend that takes all cores from one device, at most one device for each seed: it is slower where devices
    share a batch.
    """
    devices = jax.devices()
    if not any(choice.backend.takes_all_cores for choice in choices):
        return devices
    if jax.process_count() > 1:
        return [next(d for d in devices if d.process_index == process) for process in range(jax.process_count())]
    return devices[: math.gcd(seeds, len(devices))]
