"""Data sets: bundled MNIST, sets of TensorFlow Datasets and of the Hugging Face hub, arrays, and own files."""

from rowrnn.lab.data.augmentation import Augmentation
from rowrnn.lab.data.dataset import Dataset, Split, as_float

__all__ = ["Augmentation", "Dataset", "Split", "as_float"]
