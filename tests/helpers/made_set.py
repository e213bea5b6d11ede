"""TFDS sets of given images and labels, written without TensorFlow or network."""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

Arrays = tuple[list | np.ndarray, list | np.ndarray]


class Made(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A set "made" of given images and labels, kept in order."""

    VERSION = tfds.core.Version("1.2.3")

    def __init__(self, splits: dict[str, Arrays], features: dict, keys: tuple = ("image", "label"), **arguments):
        self.splits, self.features, self.keys = splits, features, keys
        super().__init__(**arguments)

    def _info(self):
        features = tfds.features.FeaturesDict(self.features)
        keys = self.keys
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=keys, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(*arrays) for split, arrays in self.splits.items()}

    def _generate_examples(self, images, labels):
        image_key, label_key = self.features
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {image_key: image, label_key: label}


def features(shape=(4, 5, 1), dtype=np.uint8, classes: int = 3) -> dict:
    return {
        "image": tfds.features.Tensor(shape=shape, dtype=dtype),
        "label": tfds.features.ClassLabel(num_classes=classes),
    }


def make(directory: Path, splits: dict[str, Arrays], described: dict | None = None, builder=Made, **arguments) -> Path:
    made = builder(splits=splits, features=described or features(), data_dir=directory, **arguments)
    made.download_and_prepare(file_format="array_record")
    return Path(made.data_dir)
