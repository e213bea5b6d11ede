"""Likelihoods with their units, which cannot be mixed."""

from dataclasses import dataclass
from math import log, prod
from typing import Any, ClassVar

import numpy as np

from rowrnn.lab.report.statistics import interval


@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihood in a unit, that of a subclass; those of different units are not compared.

    Args:
        values: mean over images, one for each seed.
    """

    unit: ClassVar[str]
    values: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns mean and interval, with the unit."""
        return {**interval(np.array(self.values)), "unit": self.unit}

    def __lt__(self, other: "Likelihood") -> bool:
        if type(other) is not type(self):
            raise TypeError(f"{self.unit} are not compared with {getattr(other, 'unit', 'numbers without a unit')}.")
        return float(np.mean(self.values)) < float(np.mean(other.values))


class BitsPerDimension(Likelihood):
    """Negative log-likelihood of a value of an image, in bits: the unit for grey and colour."""

    unit = "bits a dimension"


class Nats(Likelihood):
    """Negative log-likelihood of an image, in nats: the unit for binary images."""

    unit = "nats an image"

    def per_dimension(self, shape: tuple[int, int, int]) -> BitsPerDimension:
        """Returns the same in bits for each of the values of an image of a shape: nats / (ln 2 · values)."""
        return BitsPerDimension(tuple(value / (log(2) * prod(shape)) for value in self.values))
