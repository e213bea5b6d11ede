"""A made-up TFDS set "shapes7": colour images [12, 20, 3] of seven classes, each a bar by its place or colour."""

from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

NAMES = ("top", "upper", "lower", "bottom", "red", "green", "blue")
SIZES = {"train": 350, "test": 70}
SEEDS = {"train": 0, "test": 1}


def examples(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in the order of the set."""
    random = np.random.default_rng(SEEDS[split])
    labels = random.integers(0, len(NAMES), SIZES[split])
    images = random.integers(0, 60, (SIZES[split], 12, 20, 3), dtype=np.uint8)
    for image, label, column in zip(images, labels, random.integers(0, 18, SIZES[split]), strict=True):
        if label < 4:  # a white bar across, its rows by the class
            image[3 * label : 3 * label + 2] += 180
        else:  # a bar down in any place, its colour by the class
            image[:, column : column + 3, label - 4] += 180
    return images, labels


class Shapes7(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Not registered: TFDS finds the set by its files alone, as it does where this code was never imported."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        image = tfds.features.Tensor(shape=(12, 20, 3), dtype=np.uint8)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({"image": image, "label": tfds.features.ClassLabel(names=NAMES)}),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in SIZES}

    def _generate_examples(self, split):
        for index, (image, label) in enumerate(zip(*examples(split), strict=True)):
            yield index, {"image": image, "label": label}


def prepare(directory: Path) -> None:
    """Writes the set into a TFDS directory as array_record, without TensorFlow or network."""
    Shapes7(data_dir=directory).download_and_prepare(file_format="array_record")
