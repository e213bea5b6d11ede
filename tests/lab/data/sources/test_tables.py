"""Tables of the hub's layout are listed by row, and their pictures read when they are asked for."""

import builtins
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Unreadable
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.sources.hub import Arrow, listing_of
from rowrnn.lab.data.sources.open import open_listing
from tests.helpers.tiny_sets import array_of

CLASSES = ["zebra", "ant"]  # not in the order of the alphabet


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def table_of(seeds, *, plain=False, features=None, **columns):
    contents = [png(array_of(seed)) for seed in seeds]
    images = contents if plain else [{"bytes": content, "path": None} for content in contents]
    kind = pa.binary() if plain else pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({"image": pa.array(images, kind), **columns})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features or {}}})})


LABELLED = {"image": {"_type": "Image"}, "label": {"names": CLASSES, "_type": "ClassLabel"}}


def save(folder, tables, row_group_size=3):
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=row_group_size)


def classified(seeds):
    return table_of(seeds, label=[seed % 2 for seed in seeds], features=LABELLED)


@pytest.mark.parametrize("inside", ["", "data"])
def test_shards_of_splits(tmp_path, inside):
    save(
        tmp_path / inside,
        {
            "train-00000-of-00002": classified(range(7)),
            "train-00001-of-00002": classified(range(7, 12)),
            "validation-00000-of-00001": classified(range(20, 22)),
            "test-00000-of-00001": classified(range(30, 34)),
        },
    )
    listing = open_listing(tmp_path)
    assert [len(items) for items in listing.splits.values()] == [12, 2, 4]
    assert listing.classes == tuple(CLASSES)
    assert listing.tasks == ("images",)
    last = listing.splits["train"][-1]
    assert last.name == "train-00001-of-00002.parquet, row 4"
    assert last.columns == {"label": "ant"}
    for seed in (11, 0, 6, 3):  # groups of rows in any order
        np.testing.assert_array_equal(read_picture(listing.splits["train"][seed]), array_of(seed))
    assert len({item.fingerprint() for item in listing.splits["train"]}) == 12


def test_plain_bytes_and_classes_of_the_values(tmp_path):
    save(tmp_path, {"train": table_of(range(30), plain=True, label=["b", "a", "c"] * 10)})
    listing = open_listing(tmp_path)
    assert listing.classes == ("a", "b", "c")
    assert [len(items) for items in listing.splits.values()] == [24, 3, 3]
    np.testing.assert_array_equal(
        read_picture(open_listing(tmp_path / "train.parquet").splits["train"][0]), array_of(0)
    )


def test_the_only_column_of_classes_is_the_label(tmp_path):
    features = {"image": {"_type": "Image"}, "sort": LABELLED["label"]}
    save(tmp_path, {"train": table_of(range(10), sort=[seed % 2 for seed in range(10)], features=features)})
    assert open_listing(tmp_path).classes == tuple(CLASSES)


def test_of_two_columns_of_classes_one_is_chosen(tmp_path):
    features = {"coarse": LABELLED["label"], "fine": {"names": ["x", "w", "v"], "_type": "ClassLabel"}}
    numbers = [seed % 2 for seed in range(10)]
    save(tmp_path, {"train": table_of(range(10), coarse=numbers, fine=numbers, features=features)})
    assert open_listing(tmp_path, label_column="fine").classes == ("x", "w", "v")
    with pytest.raises(InputError, match="has no column 'label'"):
        open_listing(tmp_path).check("images")


def test_a_test_split_without_labels_is_replaced(tmp_path):
    hidden = table_of(range(50, 54), label=[-1] * 4, features=LABELLED)
    save(tmp_path, {"train": classified(range(20)), "test": hidden})
    listing = open_listing(tmp_path)
    assert "Split 'test' left out: none of its 4 items has a label" in listing.source
    assert [len(items) for items in listing.splits.values()] == [16, 2, 2]


def test_a_test_split_without_texts_is_replaced_and_its_labels_do_not_count(tmp_path):
    hidden = table_of(range(50, 54), text=pa.array([None] * 4, pa.string()), label=["x"] * 4)
    save(tmp_path, {"train": table_of(range(20), text=["one"] * 20, label=[None] * 20), "test": hidden})
    listing = open_listing(tmp_path, "lines")
    assert "Split 'test' left out: none of its 4 items has a text" in listing.source
    assert [len(items) for items in listing.splits.values()] == [16, 2, 2]


def test_each_table_says_what_its_classes_are_and_in_which_order_its_columns_stand(tmp_path):
    turned = {**LABELLED, "label": {"names": CLASSES[::-1], "_type": "ClassLabel"}}
    other = table_of(range(30, 34), label=[0, 1, 0, 1], features=turned)
    save(tmp_path, {"train": classified(range(20)), "test": other.select(["label", "image"])})
    found = [item.columns["label"] for item in open_listing(tmp_path).splits["test"]]
    assert found == ["ant", "zebra", "ant", "zebra"]


def test_a_picture_that_is_a_path_only_is_named(tmp_path):
    save(tmp_path, {"train": classified(range(9))})
    paths = pa.array([{"bytes": None, "path": "0.png"}], pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    save(
        tmp_path,
        {"test": pa.table({"image": paths, "label": [0]}).replace_schema_metadata(classified([0]).schema.metadata)},
    )
    (item,) = open_listing(tmp_path).splits["test"]
    with pytest.raises(Unreadable, match=r"test.parquet has no bytes of 0.png, only this path"):
        read_picture(item)


def test_lists_of_texts_are_captions(tmp_path):
    save(tmp_path, {"train": table_of(range(10), text=[["one", "two"]] * 10)})
    assert open_listing(tmp_path).tasks == ("captions",)


def test_duplicates_across_tables_are_counted(tmp_path):
    save(tmp_path, {"train": classified(range(9)), "test": classified(range(8, 12)), "dev": classified([20, 21])})
    source = open_listing(tmp_path).source
    assert "WARNING: 1 file is in more than one split" in source
    assert "train.parquet, row 8 = test.parquet, row 0" in source


def refused(place, message):
    with pytest.raises(InputError, match=message):
        open_listing(place)


def test_broken_tables_are_refused(tmp_path):
    save(tmp_path, {"train-00000-of-00002": classified(range(9))})
    refused(tmp_path, "lacks 1 of 2 files of 'train': train-00001-of-00002.parquet")
    (tmp_path / "train-00000-of-00002.parquet").rename(tmp_path / "train-00000-of-00002-0123456789abcdef.parquet")
    refused(tmp_path, "lacks 1 of 2 files of 'train'")
    (tmp_path / "train-00000-of-00002-0123456789abcdef.parquet").rename(tmp_path / "train-00000-of-00002.parquet")
    (tmp_path / "train-00000-of-00002.parquet").rename(tmp_path / "train.parquet")
    (tmp_path / "test.parquet").write_bytes(b"no table")
    refused(tmp_path, "test.parquet cannot be read as a parquet file")
    save(tmp_path, {"test": table_of(range(3), other=[1, 2, 3])})
    refused(tmp_path, "test.parquet of .* has the columns image, other, and train.parquet has image, label")
    save(tmp_path / "numbers", {"train": pa.table({"x": [1, 2], "y": [3, 4]})})
    refused(tmp_path / "numbers", r"has 0 columns of files.*Its columns: x \(int64\), y \(int64\)")


class OfTheHub:
    """What `datasets.Dataset` has, as far as it is used."""

    def __init__(self, table):
        self._fingerprint, self._indices = "print", None
        self.data = type("Table", (), {"table": table})
        self.features = type("Features", (), {"arrow_schema": table.schema})


def test_what_the_hub_gives_is_a_table_too():
    table = pa.concat_tables([classified(range(5)), classified(range(5, 9))])  # in two pieces
    found = listing_of("hf:x/y", {"train": OfTheHub(table), "test": OfTheHub(table), "more": OfTheHub(table)})
    assert [len(items) for items in found.splits.values()] == [9, 9]
    np.testing.assert_array_equal(read_picture(found.splits["train"][7]), array_of(7))
    assert found.splits["train"][7].columns == {"label": "ant"}
    assert found.notes == ["splits left out: more"]
    assert Arrow("train", OfTheHub(table)).sizes == [5, 4]
    found = listing_of("hf:x/y", {"train": OfTheHub(table), "train_extra": OfTheHub(table), "test": OfTheHub(table)})
    assert {split: len(items) for split, items in found.splits.items()} == {"train": 18, "test": 9}
    assert found.notes == ["WARNING: train is of the splits train and train_extra together"]


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    refused("hf:owner/name", r"hf:owner/name needs the package datasets: pip install 'rowrnn\[hub\]'")


def test_without_network_the_error_says_so(monkeypatch):
    datasets = pytest.importorskip("datasets", reason="the package of the hub is not installed")

    def fails(*_):
        raise ConnectionError("Couldn't reach it\nby any means")

    monkeypatch.setattr(datasets, "load_dataset", fails)
    refused(
        "hf:owner/name/config", r"hf:owner/name/config cannot be loaded .*\(Couldn't reach it\).*network connection"
    )
    refused("hf:./folder", "names no set of the hub")
