"""Likelihoods with their units: a type each, so that they are not mixed."""

from dataclasses import dataclass
from math import log, prod
from typing import Any, ClassVar

import numpy as np

from rowrnn.lab.report.statistics import interval


@dataclass(frozen=True)
class Likelihood:
    """Negative log-likelihood in a unit, that of a subclass; those of different units are never equal.

    Args:
        values: mean over images, one for each seed.
    """

    unit: ClassVar[str]
    values: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Returns mean and interval, with the unit."""
        return {**interval(np.array(self.values)), "unit": self.unit}


class BitsPerDimension(Likelihood):
    """Negative log-likelihood of a value of an image, in bits: the unit for grey and colour."""

    unit = "bits a dimension"


class Nats(Likelihood):
    """Negative log-likelihood of an image, in nats: the unit for binary images."""

    unit = "nats an image"

    def per_dimension(self, shape: tuple[int, int, int]) -> BitsPerDimension:
        """Returns the same in bits for each of the values of an image of a shape: nats / (ln 2 · values)."""
        return BitsPerDimension(tuple(value / (log(2) * prod(shape)) for value in self.values))
