"""Sets of TensorFlow Datasets: every expected value is what the set was made of, not what the loader returned."""

import fcntl
import importlib.util
import io
import json
import logging
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import Dataset
from rowrnn.lab.data.load import load
from rowrnn.lab.data.on_disk import stream
from rowrnn.lab.data.on_disk import tfds as loader
from tests.helpers import shapes7
from tests.helpers.made_set import Arrays, Made, features, make


class Sized(Made, skip_registration=True):
    """A set "sized" with two configs."""

    BUILDER_CONFIGS = tfds.core.BuilderConfig(name="small", version="1.0.0"), tfds.core.BuilderConfig(name="large")


class Unlabelled(Made, skip_registration=True):
    """A set "unlabelled" of images alone."""

    def _generate_examples(self, images, labels):
        del labels
        yield from ((index, {"image": image}) for index, image in enumerate(images))


def numbered(n: int, start: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images `[n, 4, 5, 1]` each filled with its number, and labels."""
    numbers = np.arange(start, start + n)
    return np.tile(numbers[:, None, None, None], (1, 4, 5, 1)).astype(np.uint8), numbers % 3


def joined(*splits: Any) -> list[tuple[int, int]]:
    """Pairs of an image's number and its label, sorted."""
    pairs = [(split.images[:, 0, 0, 0].tolist(), split.labels.tolist()) for split in splits]
    return sorted(pair for numbers, labels in pairs for pair in zip(numbers, labels, strict=True))


def expected(n: int, start: int = 0) -> list[tuple[int, int]]:
    return [(number, number % 3) for number in range(start, start + n)]


def message(name: str, directory: Path) -> str:
    with pytest.raises(InputError) as raised:
        load(name, directory)
    return str(raised.value)


@pytest.fixture(scope="session")
def shapes7_dir(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("shapes7")
    shapes7.prepare(directory)
    return directory


@pytest.fixture
def dataset(shapes7_dir) -> Dataset:
    assert "shapes7" not in tfds.list_builders(with_community_datasets=False)
    return load("shapes7", shapes7_dir)


def test_test_set_is_read_as_made(dataset):
    images, labels = shapes7.examples("test")
    assert images.shape == (70, 12, 20, 3)
    assert dataset.test.images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.test.images, images)
    np.testing.assert_array_equal(dataset.test.labels, labels)


def test_training_set_is_read_as_made(dataset):
    images, labels = shapes7.examples("train")
    order = np.random.default_rng(0).permutation(350)
    np.testing.assert_array_equal(dataset.validation.images, images[order[:35]])
    np.testing.assert_array_equal(dataset.validation.labels, labels[order[:35]])
    np.testing.assert_array_equal(dataset.train.images, images[order[35:]])
    np.testing.assert_array_equal(dataset.train.labels, labels[order[35:]])


def test_description_is_read_as_made(dataset):
    assert dataset.name == "shapes7"
    assert dataset.shape == (12, 20, 3)
    assert dataset.classes == 7
    assert dataset.class_names == ("top", "upper", "lower", "bottom", "red", "green", "blue")
    assert dataset.source == "TFDS shapes7:1.0.0, test from split 'test'"


@pytest.mark.slow
def test_fresh_process_reads_without_the_builders_code_or_tensorflow(shapes7_dir):
    script = (
        "import sys; from rowrnn.lab.data.load import load; test = load('shapes7', sys.argv[1]).test; "
        "print(int(test.images.sum()), test.labels.tolist(), 'tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-W", "error", "-c", script, shapes7_dir]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    images, labels = shapes7.examples("test")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{images.sum()} {labels.tolist()} False\n"


def test_default_directory_is_that_of_tfds(shapes7_dir, monkeypatch):
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(shapes7_dir))
    assert len(load("shapes7").test) == 70


def test_more_examples_than_a_batch(tmp_path):
    images, labels = numbered(2 * stream.BATCH + 7)
    make(tmp_path, {"train": numbered(20), "test": (images, labels)})
    test = load("made", tmp_path).test
    np.testing.assert_array_equal(test.images, images)
    np.testing.assert_array_equal(test.labels, labels)


def test_official_splits_are_taken_as_they_are(tmp_path):
    make(tmp_path, {"train": numbered(20), "validation": numbered(4, 100), "test": numbered(5, 200)})
    dataset = load("made", tmp_path)
    assert joined(dataset.train) == expected(20)
    assert joined(dataset.validation) == expected(4, 100)
    assert joined(dataset.test) == expected(5, 200)
    assert dataset.source == "TFDS made:1.2.3, validation from split 'validation', test from split 'test'"


def test_validation_split_stands_in_for_test(tmp_path):
    make(tmp_path, {"train": numbered(20), "validation": numbered(4, 100)})
    dataset = load("made", tmp_path)
    assert joined(dataset.train, dataset.validation) == expected(20)
    assert joined(dataset.test) == expected(4, 100)
    assert dataset.source == "TFDS made:1.2.3, test from split 'validation'"


def test_sixth_of_training_set_stands_in_for_test(tmp_path):
    make(tmp_path, {"train": numbered(61)})
    dataset = load("made", tmp_path)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [46, 5, 10]
    assert joined(dataset.train, dataset.validation, dataset.test) == expected(61)
    assert dataset.source == "TFDS made:1.2.3, test from split 'train': 10 of 61 examples, drawn by seed 0"
    np.testing.assert_array_equal(load("made", tmp_path).test.images, dataset.test.images)
    held_out = np.random.default_rng(0).permutation(61)[:10]
    np.testing.assert_array_equal(dataset.test.images[:, 0, 0, 0], held_out)


def test_no_training_split(tmp_path):
    make(tmp_path, {"test": numbered(4), "extra": numbered(4)})
    assert "has no split 'train', only ['extra', 'test']" in message("made", tmp_path)


def test_class_names_are_numbers_where_missing(tmp_path):
    make(tmp_path, {"train": numbered(12)}, features(classes=5))
    assert load("made", tmp_path).class_names == ("0", "1", "2", "3", "4")


def test_png_images(tmp_path):
    """Encoded images: PNG is lossless, so the pixels are those of the arrays."""
    images = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
    described = features() | {"image": tfds.features.Image(shape=(None, None, 3), encoding_format="png")}
    make(tmp_path, {"train": numbered_png(images), "test": numbered_png(images[::-1])}, described)
    test = load("made", tmp_path).test
    assert test.images.dtype == np.uint8
    np.testing.assert_array_equal(test.images, images[::-1])


def numbered_png(images) -> Arrays:
    files = [io.BytesIO() for _ in images]
    for image, file in zip(images, files, strict=True):
        Image.fromarray(image).save(file, "png")
        file.seek(0)
    return files, np.arange(len(files)) % 3


def test_sizes_that_differ(tmp_path):
    images = [np.zeros((6, 5, 3), np.uint8)] * 3 + [np.zeros((7, 5, 3), np.uint8)]
    described = features() | {"image": tfds.features.Image(shape=(None, None, 3), encoding_format="png")}
    make(tmp_path, {"train": numbered_png(images)}, described)
    assert message("made", tmp_path) == (
        "The images of 'made' differ in size: in the split 'train' the first is [6, 5, 3], number 3 is [7, 5, 3]; "
        "expected one size. Prepare a copy of the set with its images resized."
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_stays_as_it_is_in_float32(dtype, tmp_path):
    images = np.random.default_rng(0).normal(size=(12, 4, 5, 1)).astype(dtype)
    make(tmp_path, {"train": (images, [0] * 12), "test": (images, [1] * 12)}, features(dtype=dtype))
    test = load("made", tmp_path).test
    assert test.images.dtype == np.float32
    np.testing.assert_array_equal(test.images, images.astype(np.float32))


def test_nan_pixels(tmp_path):
    images = np.zeros((12, 4, 5, 1), np.float32)
    images[7, 1, 2, 0] = np.nan
    make(tmp_path, {"train": (images, [0] * 12), "test": (images[:2], [0] * 2)}, features(dtype=np.float32))
    expected = "1 of 12 training images of 'made' hold NaN or infinite values, the first at index 7"
    assert expected in message("made", tmp_path)


def test_matrices_get_a_channel_axis(tmp_path):
    images, labels = numbered(12)
    make(tmp_path, {"train": (images[..., 0], labels), "test": (images[..., 0], labels)}, features(shape=(4, 5)))
    test = load("made", tmp_path).test
    np.testing.assert_array_equal(test.images, images)


@pytest.mark.parametrize("shape", [(7,), (2, 4, 5, 1)])
def test_other_ranks(shape, tmp_path):
    make(tmp_path, {"train": (np.zeros((12, *shape), np.uint8), [0] * 12)}, features(shape=shape))
    found = message("made", tmp_path)
    assert found.startswith("'made' is not an image classification set. It has ")
    assert f"'image' Tensor of shape {shape}" in found


def test_labels_that_are_not_classes(tmp_path):
    described = features() | {"label": tfds.features.Scalar(np.int64)}
    make(tmp_path, {"train": numbered(12)}, described)
    assert "It has 'image' Tensor of shape (4, 5, 1), 'label' Scalar of shape (); expected" in message("made", tmp_path)


def test_keys_are_the_supervised_ones(tmp_path):
    """Not 'image' and 'label': the set says what its input and its target are called."""
    described = {"picture": features()["image"], "kind": features()["label"]}
    make(tmp_path, {"train": numbered(12), "test": numbered(4, 100)}, described, keys=("picture", "kind"))
    assert joined(load("made", tmp_path).test) == expected(4, 100)


@pytest.mark.parametrize("keys", [None, ("image", "image"), ("image", "label", "label")])
def test_keys_are_image_and_label_where_supervised_ones_do_not_do(keys, tmp_path):
    make(tmp_path, {"train": numbered(12), "test": numbered(4, 100)}, keys=keys)
    assert joined(load("made", tmp_path).test) == expected(4, 100)


def test_configs(tmp_path):
    make(tmp_path, {"train": numbered(12), "test": numbered(4, 100)}, builder=Sized, config="small")
    make(tmp_path, {"train": numbered(12), "test": numbered(5, 200)}, builder=Sized, config="large")
    small, large, default = (load(name, tmp_path) for name in ("sized/small:1.0.0", "sized/large", "sized"))
    assert joined(small.test) == joined(default.test) == expected(4, 100)
    assert joined(large.test) == expected(5, 200)
    assert small.source == default.source == "TFDS sized:1.0.0 config small, test from split 'test'"
    assert large.source == "TFDS sized:1.2.3 config large, test from split 'test'"
    assert "TensorFlow Datasets. Did you mean 'sized/large'" in message("sized/lrge", tmp_path)


def test_prepared_version_is_read_where_the_code_is_newer(tmp_path, monkeypatch):
    class Newer(shapes7.Shapes7, skip_registration=True):
        name = "shapes7"
        VERSION = tfds.core.Version("2.0.0")

    monkeypatch.setitem(tfds.core.registered._DATASET_REGISTRY, "shapes7", Newer)
    shapes7.prepare(tmp_path)
    assert load("shapes7", tmp_path).source == "TFDS shapes7:1.0.0, test from split 'test'"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("fashion_mnst", "Did you mean 'fashion_mnist'?"),
        ("fashion-mnist", "Did you mean 'fashion_mnist'?"),
        ("mnis", "Did you mean 'mnist'"),
        ("shape7", "Did you mean 'shapes7'"),
        ("shapes7:2.0.0", "Did you mean 'shapes7:1.0.0'"),
        ("mnist:9.9.9", "Did you mean 'mnist:3.0.1'"),
        ("cifar10_corrupted/brightnes_1", "Did you mean 'cifar10_corrupted/brightness_1'"),
        ("mnist/option=1", "Did you mean 'mnist'"),
        ("huggingface:mnist", "Did you mean 'mnist'"),
        ("huggingface:qwertz", "Expected name[/config][:version] of a set that TensorFlow Datasets has"),
        ("qwertz", "Expected name[/config][:version] of a set that TensorFlow Datasets has"),
    ],
)
def test_unknown_names(name, advice, shapes7_dir, capfd):
    expected = f"{name!r} is no file, no folder and no data set of TensorFlow Datasets. {advice}"
    assert message(name, shapes7_dir).startswith(expected)
    assert capfd.readouterr() == ("", "")


def test_versions_are_advised_only_where_one_was_asked_for(shapes7_dir):
    assert "shapes7:" not in message("shape7", shapes7_dir)


@pytest.fixture
def without_tensorflow(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorflow" else find_spec(name))


@pytest.mark.usefixtures("without_tensorflow")
@pytest.mark.parametrize("name", ["mnist", "cifar10_corrupted/brightness_1", "cifar10:3.0.2"])
def test_preparing_needs_tensorflow_and_leaves_nothing(name, tmp_path, capfd, caplog):
    caplog.set_level(logging.INFO, logger="absl")
    directory = tmp_path / "new" / "sets"
    found = message(name, directory)
    assert found.startswith(f"The data set {name!r} is not prepared in {directory}, and preparing it needs TensorFlow")
    assert "pip install 'rowrnn[prepare]'" in found
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert logging.getLogger("absl").level == logging.INFO


@pytest.mark.usefixtures("without_tensorflow")
def test_describing_needs_tensorflow(tmp_path, monkeypatch, capfd):
    """The code of some sets uses TensorFlow before anything is prepared, and TFDS prints a banner."""

    def describe(builder):
        print("Failed to import TensorFlow.")
        raise ModuleNotFoundError("No module named 'tensorflow'")

    monkeypatch.setitem(tfds.core.registered._DATASET_REGISTRY, "shapes7", shapes7.Shapes7)
    monkeypatch.setattr(shapes7.Shapes7, "_info", describe)
    assert "'shapes7' is not prepared in" in message("shapes7", tmp_path)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("budget", [None, 0])
def test_images_without_classes_where_none_are_needed(budget, tmp_path):
    described = {"image": tfds.features.Tensor(shape=(4, 5, 1), dtype=np.uint8)}
    splits: dict[str, Arrays] = {"train": numbered(12), "validation": numbered(3, 20), "test": numbered(4, 30)}
    make(tmp_path, splits, described, Unlabelled, keys=None)
    assert "not an image classification set. It has 'image' Tensor of shape (4, 5, 1)" in message(
        "unlabelled", tmp_path
    )
    data = load("unlabelled", tmp_path, budget, labelled=False)
    assert data.class_names == ("image",)
    train: Any = data.train
    train = train.read(range(12)) if budget == 0 else train
    for split, numbers in ((train, range(12)), (data.validation, range(20, 23)), (data.test, range(30, 34))):
        assert joined(split) == [(number, 0) for number in numbers]


def test_text_sets_are_refused_before_they_are_prepared(tmp_path):
    found = message("imdb_reviews", tmp_path)
    assert "not an image classification set. It has 'label' ClassLabel of shape (), 'text' Text of shape ()" in found


@pytest.fixture
def registered(monkeypatch):
    """TFDS has code for shapes7, and TensorFlow seems installed."""
    monkeypatch.setitem(tfds.core.registered._DATASET_REGISTRY, "shapes7", shapes7.Shapes7)
    monkeypatch.setattr(loader, "_has_tensorflow", lambda: True)


@pytest.mark.usefixtures("registered")
def test_set_is_prepared_as_array_record(tmp_path, capsys):
    directory = tmp_path / "new" / "sets"
    np.testing.assert_array_equal(load("shapes7", directory).test.images, shapes7.examples("test")[0])
    info = json.loads((directory / "shapes7" / "1.0.0" / "dataset_info.json").read_text())
    assert info["fileFormat"] == "array_record"
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(load("shapes7", directory).test.labels, shapes7.examples("test")[1])


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("error", [ConnectionError("no route to host\nmore"), KeyboardInterrupt()])
@pytest.mark.parametrize("existing", [(), ("sets/other/file", "sets/downloads/shapes7/file", "sets/shapes7/file")])
def test_failed_preparation_leaves_what_was_there(error, existing, tmp_path, monkeypatch):
    def fail(builder, split):
        own = Path(builder.data_dir).parents[1] / "downloads" / "shapes7"
        (own / "part.tmp").mkdir(parents=True)
        (own / "part.tmp" / "half").write_text("half")
        (own / "extracted" / "link").symlink_to(tmp_path)
        images, labels = shapes7.examples(split)
        yield 0, {"image": images[0], "label": labels[0]}
        raise error

    monkeypatch.setattr(shapes7.Shapes7, "_generate_examples", fail)
    for file in existing:
        (tmp_path / file).parent.mkdir(parents=True)
        (tmp_path / file).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises((InputError, KeyboardInterrupt)) as raised:
        load("shapes7", tmp_path / "sets")
    assert sorted(tmp_path.rglob("*")) == before
    assert all((tmp_path / file).read_text() == "mine" for file in existing)
    if isinstance(error, ConnectionError):
        assert str(raised.value).startswith(
            f"The data set 'shapes7' could not be downloaded and prepared in {tmp_path / 'sets'} "
            "(ConnectionError: no route to host). Nothing is left of the attempt."
        )
    else:
        assert raised.type is KeyboardInterrupt


@pytest.mark.usefixtures("registered")
def test_a_preparation_that_fails_leaves_that_of_another_process(tmp_path, monkeypatch):
    begun, waiting, fails = threading.Event(), threading.Event(), threading.Lock()
    generate = shapes7.Shapes7._generate_examples

    def fail_once(builder, split):
        if fails.acquire(blocking=False):
            begun.set()
            assert waiting.wait(20)
            raise ConnectionError("no route to host")
        yield from generate(builder, split)

    monkeypatch.setattr(shapes7.Shapes7, "_generate_examples", fail_once)
    flock = fcntl.flock

    def told(lock, operation):
        if begun.is_set():
            waiting.set()
        flock(lock, operation)

    monkeypatch.setattr(loader.fcntl, "flock", told)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(load, "shapes7", tmp_path / "sets")
        assert begun.wait(20)
        second = pool.submit(load, "shapes7", tmp_path / "sets")
        with pytest.raises(InputError, match="no route to host"):
            first.result()
        np.testing.assert_array_equal(second.result().test.images, shapes7.examples("test")[0])
    np.testing.assert_array_equal(load("shapes7", tmp_path / "sets").test.images, shapes7.examples("test")[0])


@pytest.mark.usefixtures("registered")
def test_half_copied_set(tmp_path):
    (tmp_path / "shapes7" / "1.0.0").mkdir(parents=True)
    found = message("shapes7", tmp_path)
    assert found.startswith(f"{tmp_path / 'shapes7' / '1.0.0'} is there, but is not a prepared data set")


def test_other_file_format(shapes7_dir, tmp_path):
    """TFRecord files cannot be written without TensorFlow; what the description says is what counts."""
    shutil.copytree(shapes7_dir, tmp_path, dirs_exist_ok=True)
    description = tmp_path / "shapes7" / "1.0.0" / "dataset_info.json"
    description.write_text(description.read_text().replace("array_record", "tfrecord"))
    found = message("shapes7", tmp_path)
    assert found.startswith(f"The data set 'shapes7' is prepared in {description.parent} as tfrecord; reading it")
    assert found.endswith(
        'prepare the set again: python -c "import tensorflow_datasets as tfds; tfds.builder('
        f"'shapes7', data_dir='{tmp_path}').download_and_prepare(file_format='array_record')\""
    )


def test_missing_files(shapes7_dir, tmp_path):
    shutil.copytree(shapes7_dir, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "shapes7" / "1.0.0"
    (folder / "shapes7-test.array_record-00000-of-00001").unlink()
    assert message("shapes7", tmp_path).startswith(f"The split 'test' of 'shapes7' cannot be read from {folder} (")


def test_damaged_description(shapes7_dir, tmp_path):
    shutil.copytree(shapes7_dir, tmp_path, dirs_exist_ok=True)
    (tmp_path / "shapes7" / "1.0.0" / "features.json").write_text("{")
    assert message("shapes7", tmp_path).startswith(f"The data set 'shapes7' cannot be opened in {tmp_path} (")
