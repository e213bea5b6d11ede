"""Arrays, series and text are read by what they are."""

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.data.sources.arrays import read_arrays
from rowrnn.lab.data.sources.series import read_series
from rowrnn.lab.data.sources.text import read_texts

IMAGES, LABELS = np.arange(24, dtype=np.uint8).reshape(6, 2, 2), np.arange(6)


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train"), ("train_images", "train_labels"), ("images", "labels"), ("X", "y"), ("data", "targets")],
)
def test_arrays_have_several_names(tmp_path, names):
    images, labels = names
    np.savez(tmp_path / "set.npz", allow_pickle=False, **{images: IMAGES, labels: LABELS})
    found = read_arrays(tmp_path / "set.npz")
    assert list(found) == ["train"]
    np.testing.assert_array_equal(found["train"]["images"], IMAGES)
    np.testing.assert_array_equal(found["train"]["labels"], LABELS)


def test_arrays_by_split_and_others_by_their_names(tmp_path):
    more = {"x_test": IMAGES[:2], "y_test": LABELS[:2], "val_images": IMAGES[2:3], "days": LABELS}
    np.savez(tmp_path / "set.npz", x_train=IMAGES, y_train=LABELS, **more)
    found = read_arrays(tmp_path / "set.npz")
    assert {split: sorted(arrays) for split, arrays in found.items()} == {
        "train": ["days", "images", "labels"],
        "validation": ["images"],
        "test": ["images", "labels"],
    }


def test_a_folder_of_arrays(tmp_path):
    np.save(tmp_path / "x_train.npy", IMAGES)
    np.save(tmp_path / "y_train.npy", LABELS)
    np.testing.assert_array_equal(read_arrays(tmp_path)["train"]["labels"], LABELS)


def test_broken_arrays_are_refused(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, x_train=IMAGES, y_train=LABELS[:5])
    with pytest.raises(InputError, match="has 6 images and 5 labels in 'train'"):
        read_arrays(path)
    np.savez(path, weights=IMAGES)
    with pytest.raises(InputError, match=r"no array to train on.*Its arrays: train weights"):
        read_arrays(path)
    np.savez(path, x=IMAGES, images=IMAGES)
    with pytest.raises(InputError, match="several arrays of 'images'"):
        read_arrays(path)
    np.savez(path, x=np.array([{}]))
    with pytest.raises(InputError, match=r"set\.npz cannot be read as arrays"):
        read_arrays(path)
    path.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"set\.npz cannot be read as arrays"):
        read_arrays(path)


def test_a_series_has_columns_of_numbers_and_times(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("date,x,y z\n2016-07-01,1,2.5\n2016-07-02,,-1e3\n", encoding="utf-8")
    found = read_series(path)
    assert found.names == ("x", "y z")
    np.testing.assert_array_equal(found.values, [[1, 2.5], [np.nan, -1000]])
    assert found.times == {"date": ("2016-07-01", "2016-07-02")}


@pytest.mark.parametrize("missing", ["NA", "nan", "NULL", "None", " n/a "])
def test_a_cell_may_say_that_its_value_is_missing(tmp_path, missing):
    path = tmp_path / "a.csv"
    path.write_text(f",x,code\n0,1.5,1_000\n1,{missing},2_000\n", encoding="utf-8")
    found = read_series(path)
    assert found.names == ("x",)  # The rows' numbers of pandas are none of the series.
    np.testing.assert_array_equal(found.values, [[1.5], [np.nan]])
    assert found.times == {"code": ("1_000", "2_000")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3,-inf\n", "Row 2 of .* has -inf in 'b'"),
        ("", "expected a header"),
        ("1,2\n3,4\n", "expected a header"),
        ("a,a\n3,4\n", "expected a header"),
        ("a,b\n", "expected a header"),
        ("a,b\n1,2\n3\n", "Row 2 of .* has 1 cells, and its header 2"),
        ("a,b\nx,y\n", "no column of numbers among a, b"),
        ('a,b\n"x', "cannot be read as CSV"),
    ],
)
def test_broken_series_are_refused(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_series(path)


def test_text_of_a_file_and_of_a_folder(tmp_path):
    (tmp_path / "b.txt").write_text("\ufeffzwei ü", encoding="utf-8")
    assert read_texts(tmp_path / "b.txt") == {"train": "zwei ü"}
    (tmp_path / "a.txt").write_text("eins", encoding="utf-8")
    (tmp_path / "test.txt").write_text("drei", encoding="utf-8")
    assert read_texts(tmp_path) == {"train": "eins\nzwei ü", "test": "drei"}


def test_broken_text_is_refused(tmp_path):
    with pytest.raises(InputError, match="There is no text in"):
        read_texts(tmp_path)
    with pytest.raises(InputError, match="no file or folder"):
        read_texts(tmp_path / "nope.txt")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match=r"a.txt cannot be read as UTF-8 text"):
        read_texts(tmp_path)
