"""Image classification data sets: MNIST is bundled, every other one is loaded through TensorFlow Datasets."""

from rowrnn.lab.data.augmentation import Augmentation
from rowrnn.lab.data.dataset import Dataset, Split, as_float

__all__ = ["Augmentation", "Dataset", "Split", "as_float"]
