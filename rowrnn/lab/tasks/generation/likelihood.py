"""Likelihoods with their units, which cannot be mixed."""

from dataclasses import dataclass
from math import log, prod
from typing import Any

import numpy as np

from rowrnn.lab.report.statistics import interval


@dataclass(frozen=True)
class Nats:
    """Negative log-likelihood of an image, in nats: the unit for binary images.

    Args:
        values: mean over images, one for each seed.
    """

    values: tuple[float, ...]
    unit = "nats an image"

    def to_json(self) -> dict[str, Any]:
        """Returns mean and interval, with the unit."""
        return {**interval(np.array(self.values)), "unit": self.unit}

    def per_dimension(self, shape: tuple[int, int, int]) -> "BitsPerDimension":
        """Returns the same in bits for each of the values of an image of a shape: nats / (ln 2 · values)."""
        return BitsPerDimension(tuple(value / (log(2) * prod(shape)) for value in self.values))

    def __lt__(self, other: "Nats") -> bool:
        if not isinstance(other, Nats):
            raise TypeError(f"{self.unit} are not compared with {getattr(other, 'unit', 'numbers without a unit')}.")
        return float(np.mean(self.values)) < float(np.mean(other.values))


@dataclass(frozen=True)
class BitsPerDimension:
    """Negative log-likelihood of a value of an image, in bits: the unit for grey and colour.

    Args:
        values: mean over images and values, one for each seed.
    """

    values: tuple[float, ...]
    unit = "bits a dimension"

    def to_json(self) -> dict[str, Any]:
        """Returns mean and interval, with the unit."""
        return {**interval(np.array(self.values)), "unit": self.unit}

    def __lt__(self, other: "BitsPerDimension") -> bool:
        if not isinstance(other, BitsPerDimension):
            raise TypeError(f"{self.unit} are not compared with {getattr(other, 'unit', 'numbers without a unit')}.")
        return float(np.mean(self.values)) < float(np.mean(other.values))
