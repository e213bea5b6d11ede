"""Data sets: `load("mnist")` is bundled, every other name goes through TensorFlow Datasets."""

from rowrnn.lab.data.augmentation import Augmentation
from rowrnn.lab.data.dataset import Dataset, Split, as_float

__all__ = ["Augmentation", "Dataset", "Split", "as_float"]
