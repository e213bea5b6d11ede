"""Image classification sets of TensorFlow Datasets (TFDS), read from array_record files without TensorFlow."""

import contextlib
import difflib
import fcntl
import importlib.util
import os
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset, check_examples, check_sizes, held_out, of_arrays, on_device
from rowrnn.lab.data.memory_budget import memory_budget
from rowrnn.lab.data.on_disk.decoded import Decoded
from rowrnn.lab.data.on_disk.silence import reason, silence
from rowrnn.lab.data.on_disk.stream import Keys, Stream
from rowrnn.lab.devices.exchange import all_gather_scalar

ANY_VERSION = "*.*.*"
VALIDATION_SPLITS = ("validation", "val", "valid", "dev")
HELD_OUT_PARTS = 6
HELD_OUT_SEED = 0
ONLY_CLASS = "image"


def load_tfds(name: str, data_dir: Path | None, budget: int | None = None, *, labelled: bool = True) -> Dataset:
    """Loads a set of TensorFlow Datasets, and prepares it first if it is not in the directory yet.

    The test set is the split 'test', else 'validation' (or 'val', 'valid', 'dev'), else a sixth of 'train' drawn by a
    fixed seed. The validation set is the split of that name beside a split 'test', else it is taken from the
    training set. Training images larger than the budget stay on disk; the examples and their order are the same.
    `Dataset.source` says which applies.

    Args:
        name: TFDS name, `name[/config][:version]`. Without a version, the newest prepared one.
        data_dir: TFDS directory; where not given, `TFDS_DATA_DIR` or TFDS's own default.
        budget: bytes that the training images may take in memory; where not given, half of a device's memory, on a CPU
            an eighth of the free memory.
        labelled: whether images need classes; otherwise those of a set without classes are all of one, "image".

    Raises:
        InputError: if the name is unknown, or the set cannot be prepared or read, is not an image classification set,
            has images of different sizes or examples that a `Dataset` cannot hold. A failed preparation leaves nothing
            behind.
    """
    folder = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    builder = _open(name, folder)
    keys = _keys(name, builder.info, labelled)
    with silence():
        prepared = builder.is_prepared()
    if not prepared:
        _prepare(name, builder, folder)
        builder = _open(name, folder)  # Another process may have prepared it meanwhile.
    _check_format(name, builder, folder)
    train, validation, test, chosen = _streams(name, builder, keys)
    config = f" config {builder.info.config_name}" if builder.info.config_name else ""
    class_names = (ONLY_CLASS,) if keys[1] is None else tuple(builder.info.features[keys[1]].names)
    source = f"TFDS {builder.info.name}:{builder.info.version}{config}, {chosen}"
    # All processes must decide alike.
    allowed = all_gather_scalar(float(memory_budget() if budget is None else budget)).min()
    if train.nbytes <= allowed:
        official = None if validation is None else validation.arrays()
        return Dataset.from_arrays(name, train.arrays(), test.arrays(), class_names, source, official)
    source += f"; training images streamed, {train.nbytes / 2**20:,.1f} MiB where {allowed / 2**20:,.1f} are allowed"
    return _streamed(name, train, validation, test, class_names, source, folder)


def _streamed(
    name: str,
    train: Stream,
    official: Stream | None,
    test: Stream,
    class_names: tuple[str, ...],
    source: str,
    folder: Path,
) -> Dataset:
    """Makes the data set of `Dataset.from_arrays` from the same examples, with the training images left on disk."""
    rest = train
    if official is None:
        validation_part, train_part = held_out(name, len(train))
        official, rest = train.at(validation_part), train.at(train_part)
    validation, tested = official.arrays(), test.arrays()
    for split, examples in {"validation": validation, "test": tested}.items():
        check_examples(name, split, *examples, len(class_names))
        check_sizes(name, train.images.shape[1:], examples[0].shape[1:], split)
    try:
        examples = Decoded(rest, folder)
    except OSError as error:
        examples = rest
        source += f", and decoded at every reading, since {folder} has no room for them decoded ({error.strerror})"
    return Dataset(
        name, class_names, examples, on_device(*validation), on_device(*tested), source, None, of_arrays(tested[0])
    )


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _needs_tensorflow(name: str, folder: Path) -> InputError:
    return InputError(
        f"The data set {name!r} is not prepared in {folder}, and preparing it needs TensorFlow (reading it afterwards "
        "does not): pip install 'rowrnn[prepare]', or choose a directory where it is prepared as array_record."
    )


def _open(name: str, folder: Path) -> tfds.core.DatasetBuilder:
    """Returns the builder of the prepared set in the folder, else the one that TFDS has code for."""
    try:
        dataset, options = tfds.core.naming.parse_builder_name_kwargs(name)
    except ValueError as error:
        raise _unknown(name, name, folder) from error
    if dataset.namespace or not options.keys() <= {"config", "version"}:  # a namespace is looked up on the network
        raise _unknown(name, dataset.name, folder)
    try:
        with silence():
            # With a version, even "any", TFDS looks first at the files, then at its code, which may be newer or gone.
            config, version = options.get("config"), options.get("version", ANY_VERSION)
            return tfds.builder(dataset.name, data_dir=folder, config=config, version=version)
    except Exception as error:  # TFDS and its builders raise anything, AssertionError and ImportError too
        if name not in _names(dataset.name, folder):
            raise _unknown(name, dataset.name, folder) from error
        if isinstance(error, ImportError) and not _has_tensorflow():
            raise _needs_tensorflow(name, folder) from error
        raise InputError(f"The data set {name!r} cannot be opened in {folder} ({reason(error)}).") from error


def _names(base: str, folder: Path) -> set[str]:
    """Returns all known names; configs and versions only of prepared sets and of the TFDS set `base`."""
    with silence():
        names = {"mnist", *tfds.list_builders(with_community_datasets=False)}  # others are looked up on the network
        with contextlib.suppress(Exception):  # not registered, or its code imports what is not installed
            cls = tfds.builder_cls(base)
            names |= {f"{base}:{version}" for version in (cls.VERSION, *cls.SUPPORTED_VERSIONS) if version}
            names |= {f"{base}/{config}" for config in cls.builder_configs}
    for features in (*folder.glob("*/*/features.json"), *folder.glob("*/*/*/features.json")):
        *parts, version = features.parent.relative_to(folder).parts
        names |= {"/".join(parts), f"{'/'.join(parts)}:{version}"}
    return names


def _unknown(name: str, base: str, folder: Path) -> InputError:
    names = sorted(known for known in _names(base, folder) if ":" in name or ":" not in known)
    near = difflib.get_close_matches(name, names) or difflib.get_close_matches(base, names)
    advice = (
        f"Did you mean {' or '.join(map(repr, near))}?"
        if near
        else f"Expected name[/config][:version] of a set that TensorFlow Datasets has or that is prepared in {folder}."
    )
    return InputError(f"{name!r} is no file, no folder and no data set of TensorFlow Datasets. {advice}")


def _keys(name: str, info: tfds.core.DatasetInfo, labelled: bool) -> Keys:
    """Returns the keys of the image and of its label among the features; None for the latter where there may be none.

    Raises:
        InputError: if the set has no pair of an image and a class label.
    """
    features = dict(sorted(info.features.items())) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    for keys in (info.supervised_keys, ("image", "label")):
        match keys:
            case (str(image), str(label)) if _is_image(features.get(image)) and _is_class(features.get(label)):
                return image, label
    if not labelled and _is_image(features.get("image")):
        return "image", None
    found = ", ".join(f"{key!r} {type(feature).__name__} of shape {feature.shape}" for key, feature in features.items())
    raise InputError(
        f"{name!r} is not an image classification set. It has {found or 'no features'}; expected one Image or Tensor "
        "of shape (h, w, c) or (h, w), and one ClassLabel, named by its supervised_keys or 'image' and 'label'."
    )


def _is_image(feature: object) -> bool:
    return isinstance(feature, tfds.features.Image) or (
        isinstance(feature, tfds.features.Tensor) and len(feature.shape) in (2, 3)
    )


def _is_class(feature: object) -> bool:
    return isinstance(feature, tfds.features.ClassLabel) and bool(feature.num_classes)


def _prepare(name: str, builder: tfds.core.DatasetBuilder, folder: Path) -> None:
    """Downloads and prepares the set as array_record, all or nothing.

    Raises:
        InputError: if the folder holds something else, TensorFlow is missing, or the download or the preparation fails.
    """
    if builder.data_path.exists():  # TFDS would take it for the prepared set
        raise InputError(
            f"{builder.data_path} is there, but is not a prepared data set: it has no dataset_info.json. Remove it, "
            "and it is prepared anew."
        )
    if not _has_tensorflow():
        raise _needs_tensorflow(name, folder)
    downloads = folder / "downloads"
    own = downloads / builder.name  # TFDS downloads there; extracted archives, mixed by default, go there too
    config = tfds.download.DownloadConfig(extract_dir=own / "extracted", try_download_gcs=False)
    try:
        with _undone_on_failure(folder, own, folder / builder.name), contextlib.redirect_stdout(sys.stderr):
            if not builder.is_prepared():
                builder.download_and_prepare(download_dir=downloads, download_config=config, file_format="array_record")
    except Exception as error:  # of the network, the disk, checksums, a builder's own code
        raise InputError(
            f"The data set {name!r} could not be downloaded and prepared in {folder} ({reason(error)}). Nothing is "
            "left of the attempt. Try again with network access and enough disk space, or copy a directory where the "
            "set is prepared as array_record."
        ) from error


@contextlib.contextmanager
def _undone_on_failure(folder: Path, *inside: Path) -> Generator[None, None, None]:
    """Locks the folder for one process at a time; if the block raises, removes every file and folder that it added."""
    missing = {path for place in inside for path in (place, *place.parents) if not path.exists()}
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    before = {path for place in inside for path in place.rglob("*")}
    try:
        yield
    except BaseException:  # an interrupt too
        after = {path for place in inside for path in place.rglob("*")}
        for path in sorted(missing | after - before, reverse=True):  # contents before their folder
            with contextlib.suppress(OSError):  # a folder that others wrote to meanwhile stays
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()
        raise
    finally:
        os.close(lock)


def _check_format(name: str, builder: tfds.core.DatasetBuilder, folder: Path) -> None:
    formats = builder.info.available_file_formats()
    if not formats & tfds.core.FileFormat.with_random_access():
        found = ", ".join(sorted(file_format.value for file_format in formats))
        raise InputError(
            f"The data set {name!r} is prepared in {builder.data_path} as {found}; reading it "
            "without TensorFlow needs array_record. Remove that directory and, where TensorFlow is installed (pip "
            "install 'rowrnn[prepare]'), prepare the set again: python -c \"import tensorflow_datasets as tfds; "
            f"tfds.builder({name!r}, data_dir={str(folder)!r}).download_and_prepare(file_format='array_record')\""
        )


def _streams(name: str, builder: tfds.core.DatasetBuilder, keys: Keys) -> tuple[Stream, Stream | None, Stream, str]:
    """Returns the training examples, those of a validation split beside a test split, the test examples, and a
    description of where they came from.

    Raises:
        InputError: if there is no split 'train', or a split cannot be read.
    """
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    present = [split for split, examples in sizes.items() if examples]
    if "train" not in present:
        raise InputError(
            f"The data set {name!r} has no split 'train', only {sorted(present)}; choose a set or config that has one."
        )
    train = Stream(name, builder, "train", keys)
    validation = next((split for split in VALIDATION_SPLITS if split in present), None)
    if "test" in present:
        test = Stream(name, builder, "test", keys)
        if validation is None:
            return train, None, test, "test from split 'test'"
        words = f"validation from split {validation!r}, test from split 'test'"
        return train, Stream(name, builder, validation, keys), test, words
    if validation is not None:
        return train, None, Stream(name, builder, validation, keys), f"test from split {validation!r}"
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(train))
    test, rest = np.split(order, [len(train) // HELD_OUT_PARTS])
    words = f"test from split 'train': {len(test)} of {len(train)} examples, drawn by seed {HELD_OUT_SEED}"
    return train.at(rest), None, train.at(test), words
