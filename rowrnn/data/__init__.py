"""Data sets: `load("mnist")` is bundled, every other name goes through TensorFlow Datasets."""

from rowrnn.data.augment import Augmentation
from rowrnn.data.dataset import Dataset, Split, as_float
from rowrnn.data.load import load

__all__ = ["Augmentation", "Dataset", "Split", "as_float", "load"]
