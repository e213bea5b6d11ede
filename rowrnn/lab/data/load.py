"""Loading of a data set by its name."""

from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset
from rowrnn.lab.data.mnist import load_bundled


def load(name: str, data_dir: str | Path | None = None, budget: int | None = None) -> Dataset:
    """Loads an image classification data set.

    Args:
        name: "mnist", bundled with the package, or any image classification set of TensorFlow Datasets (TFDS).
        data_dir: TFDS directory to read from, or to prepare the set in; the default of TFDS where not given. With a
            `data_dir`, "mnist" too is read from there.
        budget: bytes of memory for the training images of a TFDS set (see
            `rowrnn.lab.data.on_disk.tfds.load_tfds`); larger sets stay on disk and are read during training.

    Raises:
        InputError: if the name is a path or unknown (similar names are suggested), or if the set cannot be prepared
            here, is not an image classification set, or has arrays that a `Dataset` cannot hold.
    """
    if _is_path(name):
        raise InputError(
            f"A data set is found by its name, and {name!r} is a path. Expected 'mnist', or name[/config][:version] of "
            "a set of TensorFlow Datasets, as 'fashion_mnist'; the folder where it is prepared is data_dir."
        )
    if name == "mnist" and data_dir is None:
        return load_bundled()
    from rowrnn.lab.data.on_disk.tfds import load_tfds  # Imported only where used: TFDS takes seconds to import.

    return load_tfds(name, None if data_dir is None else Path(data_dir), budget)


def _is_path(name: str) -> bool:
    """Returns whether a name is meant as a path; `emnist/letters` is none where TFDS has prepared that set."""
    if name.startswith((".", "/", "~")):
        return True
    path = Path(name)
    return ("/" in name or "\\" in name) and path.exists() and not any(path.glob("*/features.json"))
