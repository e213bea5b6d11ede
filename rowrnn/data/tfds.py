"""Image classification sets of TensorFlow Datasets (TFDS), read from array_record files without TensorFlow."""

import contextlib
import difflib
import importlib.util
import io
import logging
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.core.data_sources.base import BaseDataSource

from rowrnn.data.dataset import Dataset
from rowrnn.errors import InputError

ANY_VERSION = "*.*.*"
BATCH = 1024
HELD_OUT_PARTS = 6
HELD_OUT_SEED = 0


def load_tfds(name: str, data_dir: Path | None) -> Dataset:
    """Loads a set of TensorFlow Datasets, preparing it first where it is not in the directory yet.

    The test set is the split 'test', else 'validation', else a sixth of 'train' drawn by a fixed seed;
    `Dataset.source` says which.

    Args:
        name: TFDS name, `name[/config][:version]`. Without a version, the newest prepared one.
        data_dir: TFDS directory; where not given, `TFDS_DATA_DIR` or TFDS's own default.

    Raises:
        InputError: if the name is unknown, the set cannot be prepared or read, is not an image classification set,
            or its images are not all of one size. A failed preparation leaves nothing behind.
    """
    folder = Path(data_dir or tfds.core.constants.DATA_DIR).expanduser()
    builder = _open(name, folder)
    image, label = _keys(name, builder.info)
    with _quiet():
        prepared = builder.is_prepared()
    if not prepared:
        _prepare(name, builder, folder)
    _check_format(name, builder, folder)
    train, test, chosen = _arrays(name, builder, image, label)
    config = f" config {builder.info.config_name}" if builder.info.config_name else ""
    return Dataset.from_arrays(
        name,
        train,
        test,
        class_names=tuple(builder.info.features[label].names),
        source=f"TFDS {builder.info.name}:{builder.info.version}{config}, {chosen}",
    )


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """Silences TFDS: what matters is raised."""
    # At every import of TensorFlow that fails TFDS prints a banner to stdout, and it warns through absl's logger of
    # folders it looked into: an `InputError` says it once.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    first_line, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first_line}".removesuffix(": ")


def _has_tensorflow() -> bool:
    return importlib.util.find_spec("tensorflow") is not None


def _needs_tensorflow(name: str, folder: Path) -> InputError:
    return InputError(
        f"The data set {name!r} is not prepared in {folder}, and preparing it needs TensorFlow (reading it afterwards "
        "does not): pip install 'rowrnn[prepare]', or choose a directory where it is prepared as array_record."
    )


def _open(name: str, folder: Path) -> tfds.core.DatasetBuilder:
    """The builder of what is prepared in the folder, else the one TFDS has code for."""
    try:
        dataset, options = tfds.core.naming.parse_builder_name_kwargs(name)
    except ValueError as error:
        raise _unknown(name, name, folder) from error
    if dataset.namespace or not options.keys() <= {"config", "version"}:  # a namespace is looked up on the network
        raise _unknown(name, dataset.name, folder)
    try:
        with _quiet():
            # Asked for a version, any, TFDS looks at the files first, then at the code, which may be newer or missing.
            config, version = options.get("config"), options.get("version", ANY_VERSION)
            return tfds.builder(dataset.name, data_dir=folder, config=config, version=version)
    except Exception as error:  # TFDS and its builders raise anything, AssertionError and ImportError too
        if name not in _names(dataset.name, folder):
            raise _unknown(name, dataset.name, folder) from error
        if isinstance(error, ImportError) and not _has_tensorflow():
            raise _needs_tensorflow(name, folder) from error
        raise InputError(f"The data set {name!r} cannot be opened in {folder} ({_reason(error)}).") from error


def _names(base: str, folder: Path) -> set[str]:
    """All names that can be asked for; configs and versions only of what is prepared, and of the TFDS set `base`."""
    with _quiet():
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
    return InputError(f"Unknown data set {name!r}. {advice}")


def _keys(name: str, info: tfds.core.DatasetInfo) -> tuple[str, str]:
    """Keys of the image and of its class among the features."""
    features = dict(sorted(info.features.items())) if isinstance(info.features, tfds.features.FeaturesDict) else {}
    for keys in (info.supervised_keys, ("image", "label")):
        match keys:
            case (str(image), str(label)) if _is_image(features.get(image)) and _is_class(features.get(label)):
                return image, label
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
    """Downloads and prepares the set as array_record, all or nothing."""
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
        with _undone_on_failure(own, folder / builder.name), contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare(download_dir=downloads, download_config=config, file_format="array_record")
    except Exception as error:  # of the network, the disk, checksums, a builder's own code
        raise InputError(
            f"The data set {name!r} could not be downloaded and prepared in {folder} ({_reason(error)}). Nothing is "
            "left of the attempt. Try again with network access and enough disk space, or copy a directory where the "
            "set is prepared as array_record."
        ) from error


@contextlib.contextmanager
def _undone_on_failure(*folders: Path) -> Generator[None, None, None]:
    """Removes what appeared in the folders, and parents of theirs that were not there, if the block raises."""
    missing = {path for folder in folders for path in (folder, *folder.parents) if not path.exists()}
    before = {path for folder in folders for path in folder.rglob("*")}
    try:
        yield
    except BaseException:  # an interrupt too
        after = {path for folder in folders for path in folder.rglob("*")}
        for path in sorted(missing | after - before, reverse=True):  # what a folder holds, then the folder
            with contextlib.suppress(OSError):  # a parent where something else was put meanwhile stays
                if path.is_dir() and not path.is_symlink():
                    path.rmdir()
                else:
                    path.unlink()
        raise


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


Arrays = tuple[np.ndarray, np.ndarray]


def _arrays(name: str, builder: tfds.core.DatasetBuilder, image: str, label: str) -> tuple[Arrays, Arrays, str]:
    """Training and test arrays, and in words where the test set came from."""
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}
    present = [split for split, examples in sizes.items() if examples]
    if "train" not in present:
        raise InputError(
            f"The data set {name!r} has no split 'train', only {sorted(present)}; choose a set or config that has one."
        )
    train = _read(name, builder, "train", image, label)
    for split in ("test", "validation"):
        if split in present:
            return train, _read(name, builder, split, image, label), f"test from split {split!r}"
    images, labels = train
    order = np.random.default_rng(HELD_OUT_SEED).permutation(len(images))
    test, rest = np.split(order, [len(images) // HELD_OUT_PARTS])
    words = f"test from split 'train': {len(test)} of {len(images)} examples, drawn by seed {HELD_OUT_SEED}"
    return (images[rest], labels[rest]), (images[test], labels[test]), words


def _read(name: str, builder: tfds.core.DatasetBuilder, split: str, image: str, label: str) -> Arrays:
    try:
        with _quiet():
            return _stack(name, builder.as_data_source(split), split, image, label)
    except InputError:
        raise
    except Exception as error:  # files missing or damaged, images that do not decode
        raise InputError(
            f"The split {split!r} of {name!r} cannot be read from {builder.data_path} ({_reason(error)}). Remove that "
            "directory and prepare the set again."
        ) from error


def _stack(name: str, source: BaseDataSource, split: str, image: str, label: str) -> Arrays:
    """Images `[n, h, w, c]`, floating point as float32, and labels `[n]`."""
    first = np.asarray(source[0][image])
    images = np.empty(
        (len(source), *first.shape), np.float32 if np.issubdtype(first.dtype, np.floating) else first.dtype
    )
    labels = np.empty(len(source), np.int64)
    for start in range(0, len(source), BATCH):
        indices = range(start, min(start + BATCH, len(source)))
        for index, example in zip(indices, source.__getitems__(indices), strict=True):
            if example[image].shape != first.shape:
                raise InputError(
                    f"The images of {name!r} differ in size: in the split {split!r} the first is {list(first.shape)}, "
                    f"number {index} is {list(example[image].shape)}; expected one size. Prepare a copy of the set "
                    "with its images resized."
                )
            images[index] = example[image]
            labels[index] = example[label]
    return (images if images.ndim == 4 else images[..., None]), labels
