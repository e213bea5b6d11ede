"""Folders of pictures and clips are listed as they lie, or refused in a paragraph that names the file."""

import shutil
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Unreadable
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.sources.open import open_listing
from tests.helpers.tiny_sets import array_of, save_classes, save_lines, save_picture, save_splits


def names(listing, split="train"):
    return [item.name for item in listing.splits[split]]


def labels(listing, split="train"):
    return Counter(item.columns["label"] for item in listing.splits[split])


def refused(place, *parts, task=None, **options):
    """The place is refused with a paragraph that has these parts."""
    with pytest.raises(InputError) as error:
        open_listing(place, task, **options)
    message = str(error.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message, message


def test_class_folders_in_splits(tmp_path):
    listing = open_listing(save_splits(tmp_path / "set"))
    assert {split: len(items) for split, items in listing.splits.items()} == {"train": 8, "validation": 4, "test": 4}
    assert names(listing, "test") == ["test/a/p0.png", "test/a/p1.png", "test/b/p0.png", "test/b/p1.png"]
    assert listing.classes == ("a", "b")
    assert listing.media == ("pictures",)
    assert listing.tasks == ("images",)
    assert listing.source == f"{tmp_path / 'set'}, class folders: 8 train, 4 validation, 4 test."
    first = listing.splits["train"][0]
    np.testing.assert_array_equal(read_picture(first), np.asarray(Image.open(tmp_path / "set" / first.name))[..., None])


@pytest.mark.parametrize(
    "folders", [("training", "val", "testing"), ("Train", "dev", "TEST"), ("train", "valid", "test")]
)
def test_splits_have_several_names(tmp_path, folders):
    save_splits(tmp_path)
    for old, new in zip(("train", "validation", "test"), folders, strict=True):
        (tmp_path / old).rename(tmp_path / f"{new}-")
        (tmp_path / f"{new}-").rename(tmp_path / new)
    assert [len(items) for items in open_listing(tmp_path).splits.values()] == [8, 4, 4]


@pytest.mark.parametrize(
    "folders",
    [("training_set", "test_set"), ("seg_train", "seg_test"), ("Training Data", "Testing Data"), ("train17", "eval17")],
)
def test_names_that_have_a_split_among_their_words_are_splits_where_there_are_two(tmp_path, folders):
    for number, folder in enumerate(folders):
        save_classes(tmp_path / folder, {"cat": 10, "dog": 10}, 1000 * number)
    listing = open_listing(tmp_path)
    assert listing.classes == ("cat", "dog")
    assert sum(map(len, listing.splits.values())) == 40


def test_a_split_of_another_name_beside_one_called_train_and_one_inside_another(tmp_path):
    save_classes(tmp_path / "train", {"a": 9, "b": 9})
    save_classes(tmp_path / "test_set" / "test_set", {"a": 2, "b": 2}, 500)
    listing = open_listing(tmp_path)
    assert (listing.classes, len(listing.splits["test"])) == (("a", "b"), 4)


def test_pictures_in_folders_that_are_named_as_splits_have_no_labels(tmp_path):
    save_classes(tmp_path, {"train2017": 3, "val2017": 3})
    refused(tmp_path, "have no labels")


@pytest.mark.parametrize(
    "classes",
    [
        ("test tube", "flask"),
        ("training shoes", "boots"),
        ("train station", "test tube", "airport"),
        ("bullet train", "freight train", "test tube"),
    ],
)
def test_one_class_that_is_named_as_a_split_is_a_class(tmp_path, classes):
    save_classes(tmp_path, dict.fromkeys(classes, 10))
    assert open_listing(tmp_path).classes == tuple(sorted(classes))


def test_every_class_keeps_a_training_item_where_splits_are_drawn(tmp_path):
    save_classes(tmp_path, {"a": 20, "b": 2, "c": 1, "d": 1})
    listing = open_listing(tmp_path)
    assert {item.columns["label"] for item in listing.splits["train"]} == {"a", "b", "c", "d"}
    assert [len(items) for items in listing.splits.values()] == [20, 2, 2]
    for split in ("validation", "test"):
        without = sorted({"a", "b", "c", "d"} - {*labels(listing, split)})
        said = f"WARNING: {len(without)} of 4 classes have no item in {split}: {', '.join(without)}"
        assert said in listing.source


@pytest.mark.parametrize("counts", [{"a": 2, "b": 1}, dict.fromkeys("abcdefghij", 1)])
def test_too_few_items_to_draw_splits_from(tmp_path, counts):
    save_classes(tmp_path, counts)
    refused(tmp_path, f"{sum(counts.values())} training items of {len(counts)} classes, too few to take 2")


def test_missing_splits_are_drawn_in_the_proportions_of_the_classes_and_always_the_same(tmp_path):
    save_classes(tmp_path, {"many": 60, "few": 20, "one": 1})
    listing = open_listing(str(tmp_path))
    assert labels(listing, "validation") == labels(listing, "test") == {"many": 6, "few": 2}
    assert labels(listing) == {"many": 48, "few": 16, "one": 1}
    assert "a tenth each, in the proportions of the classes, by seed 0" in listing.source
    again = open_listing(tmp_path)
    assert [names(again, split) for split in again.splits] == [names(listing, split) for split in listing.splits]
    assert len({name for split in listing.splits for name in names(listing, split)}) == 81


def test_a_missing_test_split_is_taken_from_the_training_items(tmp_path):
    save_splits(tmp_path, counts=(10, 3, 1))
    shutil.rmtree(tmp_path / "test")
    listing = open_listing(tmp_path)
    assert {split: dict(labels(listing, split)) for split in listing.splits} == {
        "train": {"a": 9, "b": 9},
        "validation": {"a": 3, "b": 3},
        "test": {"a": 1, "b": 1},
    }
    assert "Test taken from the training items" in listing.source


def test_unicode_and_spaces_in_names(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "é tage") for form in ("NFC", "NFD"))
    for split, name in (("train", composed), ("validation", decomposed), ("test", composed)):
        save_picture(tmp_path / split / name / "ein Bild ü 1.png", array_of(len(split)))
        save_picture(tmp_path / split / "日本 語" / "x.PNG", array_of(10 + len(split)))
    listing = open_listing(tmp_path)
    assert listing.classes == (composed, "日本 語")
    assert names(listing, "validation")[0] == f"validation/{composed}/ein Bild ü 1.png"
    assert all(read_picture(item).shape == (6, 8, 3) for items in listing.splits.values() for item in items)


def test_classes_with_numbers_are_in_their_order(tmp_path):
    save_splits(tmp_path, classes=("10", "9", "2"))
    assert open_listing(tmp_path).classes == ("2", "9", "10")


def test_rubbish_is_passed_over_and_other_files_are_counted(tmp_path):
    save_splits(tmp_path)
    for name in ("train/.DS_Store", "train/a/Thumbs.db", "train/a/._p0.png", "__MACOSX/x.png", "train/.git/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert "left out" not in open_listing(tmp_path).source
    (tmp_path / "train" / "a" / "notes.txt").write_text("x", encoding="utf-8")
    (tmp_path / "extra").mkdir()
    source = open_listing(tmp_path).source
    assert "1 other file left out: train/a/notes.txt" in source
    assert "Folders that are no split left out: extra" in source


def test_files_beside_the_splits_are_counted(tmp_path):
    save_splits(tmp_path)
    save_picture(tmp_path / "stray.png", array_of(9))
    (tmp_path / "labels.csv").write_text("1")
    assert "2 other files left out: labels.csv, stray.png" in open_listing(tmp_path).source


def test_an_empty_class_folder_is_named(tmp_path):
    save_splits(tmp_path)
    (tmp_path / "train" / "nothing here").mkdir()
    listing = open_listing(tmp_path)
    assert "WARNING: empty class folders, left out: train/nothing here" in listing.source
    assert listing.classes == ("a", "b")


def test_the_same_bytes_in_two_splits_are_counted(tmp_path):
    save_splits(tmp_path)
    large = save_picture(tmp_path / "train" / "a" / "x.bmp", array_of(7, 50, 60))  # more than is read at first
    save_picture(tmp_path / "test" / "b" / "y.bmp", large)
    save_picture(tmp_path / "validation" / "a" / "almost.bmp", np.concatenate([255 - large[:1], large[1:]]))
    shutil.copy(tmp_path / "train" / "b" / "p1.png", tmp_path / "validation" / "b" / "again.png")
    source = open_listing(tmp_path).source
    assert "WARNING: 2 files are in more than one split" in source
    assert "train/a/x.bmp = test/b/y.bmp" in source
    assert "train/b/p1.png = validation/b/again.png" in source


def test_pictures_deeper_in_a_class_folder_are_of_the_class(tmp_path):
    save_splits(tmp_path)
    save_picture(tmp_path / "train" / "a" / "more" / "one.png", array_of(77))
    assert labels(open_listing(tmp_path)) == {"a": 5, "b": 4}


def test_the_only_folder_of_an_archive_is_gone_into(tmp_path):
    save_splits(tmp_path / "shapes")
    assert open_listing(tmp_path).classes == ("a", "b")


def test_the_current_folder_and_relative_paths(tmp_path, monkeypatch):
    save_splits(tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    assert names(open_listing("."), "test")[0] == "test/a/p0.png"
    monkeypatch.chdir(tmp_path)
    assert names(open_listing("set/"), "test")[0] == "test/a/p0.png"


def test_what_is_no_data_set_is_refused(tmp_path):
    refused(tmp_path / "nope", "There is no file or folder", tmp_path / "nope", "Expected a folder")
    refused(tmp_path, "no pictures or clips", tmp_path, "no files")
    refused("https://example.org/set.zip", "is a URL")
    (tmp_path / "set.zip").write_bytes(b"PK")
    refused(tmp_path / "set.zip", "set.zip is an archive; unpack it")
    refused(tmp_path, "holds archives: set.zip")
    (tmp_path / "set.zip").rename(tmp_path / "notes.txt")
    refused(tmp_path, "only notes.txt")
    save_picture(tmp_path / "one.png", array_of(0))
    refused(tmp_path / "one.png", "one.png is a single file")
    refused(tmp_path, "have no labels")
    (tmp_path / "labels.csv").write_text("file_name,label\none.png,one\n", encoding="utf-8")
    refused(tmp_path, "labels.csv is not looked at: rename it to metadata.csv")


def test_one_class_only_is_refused(tmp_path):
    save_classes(tmp_path, {"a": 5, "b": 0})
    refused(tmp_path, "of one class, 'a'", "folders b are empty")


def test_a_class_that_is_only_tested_is_refused(tmp_path):
    save_splits(tmp_path)
    save_classes(tmp_path / "test", {"c": 1})
    refused(tmp_path, "of the split 'test'", "have no item in 'train': c")


def test_files_without_labels_are_refused(tmp_path):
    save_splits(tmp_path)
    save_picture(tmp_path / "train" / "loose.png", array_of(0))
    refused(tmp_path, "1 files without a label", tmp_path / "train", "loose.png")


def test_pictures_and_clips_together_are_refused(tmp_path):
    save_splits(tmp_path)
    (tmp_path / "train" / "a" / "x.mp4").write_bytes(b"x")
    refused(tmp_path, "16 pictures (train/a/p0.png …)", "1 clips (train/a/x.mp4 …)")


def test_a_class_may_be_called_train(tmp_path):
    save_classes(tmp_path, {"bus": 10, "car": 10, "train": 10})
    listing = open_listing(tmp_path)
    assert listing.classes == ("bus", "car", "train")
    assert sum(map(len, listing.splits.values())) == 30


def test_pictures_of_splits_that_have_no_labels_are_no_classes(tmp_path):
    save_classes(tmp_path, {"train": 3, "test1": 3})
    refused(tmp_path, "have no labels")


def test_a_link_to_nowhere_is_an_unreadable_file_among_others(tmp_path):
    save_splits(tmp_path)
    (tmp_path / "train" / "a" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    listing = open_listing(tmp_path)
    (gone,) = [item for item in listing.splits["train"] if item.name.endswith("gone.png")]
    assert gone.fingerprint() == (str(gone.path),)
    with pytest.raises(Unreadable, match=r"train/a/gone.png cannot be read \(No such file"):
        read_picture(gone)


def test_a_link_to_a_folder_around_it_is_named(tmp_path):
    save_classes(tmp_path, {"a": 3, "b": 3})
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    refused(tmp_path, tmp_path / "a" / "again", "a link to a folder that it lies in itself")


def test_a_data_set_saved_to_disk_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "data-00000-of-00001.arrow").write_bytes(b"x")
    refused(tmp_path, "that `datasets` saved to disk; write it by its method to_parquet")


def test_numbered_pictures_are_frames_for_clips_and_pictures_for_images(tmp_path):
    for part, name in enumerate(("a/day", "a/night", "b/day", "b/night")):
        for number in range(4):
            save_picture(tmp_path / name / f"IMG_{number}.png", array_of(10 * part + number))
    clips = open_listing(tmp_path)
    assert (clips.media, sum(map(len, clips.splits.values()))) == (("clips",), 4)
    pictures = open_listing(tmp_path, "images")
    assert (pictures.media, sum(map(len, pictures.splits.values()))) == (("pictures",), 16)
    pictures.check("images")
    assert "WARNING: 4 folders of numbered pictures" in pictures.source
    for split_by in ("folder", None):
        for part in range(4, 40):
            save_picture(tmp_path / "ab"[part % 2] / f"n{part}" / "1.png", array_of(100 + part))
            save_picture(tmp_path / "ab"[part % 2] / f"n{part}" / "2.png", array_of(200 + part))
        whole = open_listing(tmp_path, "images", split_by=split_by).splits
        of_split = [{item.columns["folder"] for item in items} for items in whole.values()]
        assert bool(of_split[0] & of_split[1] | of_split[0] & of_split[2]) == (split_by is None)


def test_several_data_sets_in_a_folder_are_refused(tmp_path):
    save_splits(tmp_path / "first")
    save_splits(tmp_path / "second")
    refused(tmp_path, "2 of 2 folders", "first, second")


def test_splits_without_one_for_training_are_refused(tmp_path):
    save_splits(tmp_path)
    shutil.rmtree(tmp_path / "train")
    refused(tmp_path, "has the splits test, validation, but no folder 'train'")


def test_two_folders_of_one_split_are_refused(tmp_path):
    save_splits(tmp_path)
    shutil.copytree(tmp_path / "validation", tmp_path / "val")
    refused(tmp_path, tmp_path / "val", "both the split 'validation'")


# Metadata


def save_texts(root, rows, split="train"):
    for seed, row in enumerate(rows):
        if not (root / split / row["file_name"]).exists():
            save_picture(root / split / row["file_name"], array_of(100 * len(split) + seed))
    save_lines(root / split / "metadata.jsonl", rows)


def texts(count, **more):
    return [{"file_name": f"l{number}.png", "text": f"word {number}", **more} for number in range(count)]


def test_metadata_of_each_split(tmp_path):
    for split in ("train", "validation", "test"):
        save_texts(tmp_path, texts(3, writer="w"), split)
    listing = open_listing(tmp_path)
    assert names(listing, "test") == ["test/l0.png", "test/l1.png", "test/l2.png"]
    assert listing.splits["test"][1].columns == {"text": "word 1", "writer": "w"}
    assert listing.tasks == ("lines", "captions")
    assert listing.classes == ()
    with pytest.raises(
        InputError, match=r"no column 'label'; its columns: text, writer\. Name another by --label-column"
    ):
        listing.check("images")


def test_metadata_at_the_root_for_all_splits(tmp_path):
    rows = []
    for number, split in enumerate(("train", "val", "test")):
        save_classes(tmp_path / split, {"pictures": 3}, 10 * number)
        rows += [{"file_name": f"{split}/pictures/p{index}.png", "label": index % 2} for index in range(3)]
    save_lines(tmp_path / "metadata.jsonl", rows)
    listing = open_listing(tmp_path)
    assert {split: dict(labels(listing, split)) for split in listing.splits} == {
        split: {"0": 2, "1": 1} for split in ("train", "validation", "test")
    }
    assert listing.classes == ("0", "1")


def test_metadata_as_csv_with_other_names_of_columns(tmp_path):
    save_classes(tmp_path, {"images": 12})
    header = "file_name,kind,said\n"
    rows = "".join(f'images/p{number}.png,{"xy"[number % 2]},"one, ""two"""\n' for number in range(12))
    (tmp_path / "metadata.csv").write_text("\ufeff" + header + rows, encoding="utf-8")
    listing = open_listing(tmp_path, label_column="kind", text_column="said")
    assert listing.classes == ("x", "y")
    assert listing.splits["train"][0].columns["text"] == 'one, "two"'
    assert listing.tasks == ("images", "lines", "captions")
    refused(tmp_path, "has no column 'sort'; expected one of its columns: kind, said", label_column="sort")
    with pytest.raises(InputError, match=r"no column 'text'; its columns: kind, said\. Name another by --text-column"):
        open_listing(tmp_path).check("lines")


def test_several_texts_of_a_picture_are_captions(tmp_path):
    rows = texts(5)
    save_texts(tmp_path, [*rows, {**rows[0], "text": "another"}, {**rows[0], "text": "a third"}])
    listing = open_listing(tmp_path / "train")
    found = {item.name: item.columns["text"] for items in listing.splits.values() for item in items}
    assert found["l0.png"] == ["word 0", "another", "a third"]
    assert found["l1.png"] == "word 1"
    assert listing.tasks == ("captions",)
    with pytest.raises(InputError, match=r"l0.png has 3 texts; the task 'lines' needs one.*would do for 'captions'"):
        listing.check("lines")


def test_numbers_may_differ_in_the_rows_of_one_picture(tmp_path):
    rows = [{**row, "id": number} for number, row in enumerate([*texts(5), *texts(5)])]
    save_texts(tmp_path, [*rows[:5], *({**row, "text": "more"} for row in rows[5:])])
    listing = open_listing(tmp_path / "train", "captions")
    found = {item.name: item.columns for items in listing.splits.values() for item in items}
    assert found["l3.png"]["text"] == ["word 3", "more"]
    assert found["l3.png"]["id"] == [3, 8]
    refused(tmp_path / "train", "The label of l0.png is [0, 5]; expected one class", label_column="id")
    save_texts(tmp_path, [*rows, {**rows[0], "objects": 3}])
    refused(tmp_path / "train", "l0.png", "has the objects 3, and None in an earlier row")


@pytest.mark.parametrize(
    "written",
    ["['a dog', \"it's\"]", "['a dog' \"it's\"]", '["a dog", "it\'s"]'],
    ids=["Python", "NumPy", "JSON"],
)
def test_a_list_of_texts_in_a_csv(tmp_path, written):
    for number in range(4):
        save_picture(tmp_path / f"{number}.png", array_of(number))
    quoted = written.replace('"', '""')
    (tmp_path / "metadata.csv").write_text("file_name,text\n" + "".join(f'{n}.png,"{quoted}"\n' for n in range(4)))
    assert open_listing(tmp_path).splits["train"][0].columns["text"] == ["a dog", "it's"]


def test_only_the_column_that_a_task_learns_from_is_judged(tmp_path):
    # Each line has a class of its own, a number with a fraction, and a note here and there.
    rows = [
        {"file_name": f"l{n}.png", "text": f"word {n}", "label": n + 0.5, **({"mask": "x"} if n else {})}
        for n in range(20)
    ]
    save_texts(tmp_path, rows)
    listing = open_listing(tmp_path / "train", "lines")
    listing.check("lines")
    assert (sum(map(len, listing.splits.values())), listing.classes) == (20, ())
    assert "at random" in listing.source
    refused(tmp_path / "train", "is 0.5; expected one class", task="images")
    refused(tmp_path / "train", "1 of 20 items", "have no 'mask'", task="masks")
    save_texts(
        tmp_path, [{"file_name": f"l{n}.png", "label": "ab"[n % 2], "text": "x" if n else None} for n in range(20)]
    )
    assert open_listing(tmp_path / "train", "images").classes == ("a", "b")


def test_a_column_named_label_may_be_the_text(tmp_path):
    save_texts(tmp_path, [{"file_name": f"l{n}.png", "label": f"word {n}"} for n in range(10)])
    listing = open_listing(tmp_path / "train", "lines", text_column="label")
    listing.check("lines")
    assert {item.columns["text"] for items in listing.splits.values() for item in items} == {
        f"word {n}" for n in range(10)
    }


def test_boxes(tmp_path):
    save_texts(
        tmp_path, [{"file_name": f"{i}.png", "objects": {"bbox": [[0, 0, 2, 2]], "category": ["x"]}} for i in "abcd"]
    )
    listing = open_listing(tmp_path / "train")
    assert listing.tasks == ("boxes",)
    assert listing.splits["train"][0].columns["objects"]["category"] == ["x"]


def test_items_are_split_by_a_column(tmp_path):
    rows = [{**row, "writer": f"w{number % 10}"} for number, row in enumerate(texts(50))]
    save_texts(tmp_path, rows)
    listing = open_listing(tmp_path / "train", split_by="writer")
    writers = [{item.columns["writer"] for item in items} for items in listing.splits.values()]
    assert [len(found) for found in writers] == [8, 1, 1]
    assert len(set.union(*writers)) == 10
    assert "with all items of one 'writer' together" in listing.source
    refused(tmp_path / "train", "cannot be split by 'author'", "its columns: text, writer", split_by="author")


def test_splits_of_its_own_are_not_drawn_by_a_column(tmp_path):
    refused(save_splits(tmp_path), "has its own splits", split_by="writer")


def test_broken_json_is_named_by_its_line(tmp_path):
    save_texts(tmp_path, texts(2))
    with (tmp_path / "train" / "metadata.jsonl").open("a", encoding="utf-8") as file:
        file.write('\n{"file_name": "l0.png", "text": }\n')
    refused(tmp_path, "Line 4 of", "metadata.jsonl is not JSON", '{"file_name": "l0.png", "text": }')


def test_rows_and_files_that_do_not_fit_are_refused(tmp_path):
    rows = texts(4)
    save_texts(tmp_path, rows)
    table = tmp_path / "train" / "metadata.jsonl"
    save_lines(table, [*rows, {"file_name": "gone.png", "text": "x"}])
    refused(tmp_path, "1 rows of", table, "gone.png (line 5)")
    save_lines(table, rows[:3])
    refused(tmp_path, "1 files below", "have no row in metadata.jsonl: l3.png")
    save_lines(table, [*rows[:3], {"text": "x"}])
    refused(tmp_path, "Line 4 of", table, "has no 'file_name'", "text")
    save_lines(table, [*rows[:3], {"file_name": "l3.png", "label": "x"}])
    refused(tmp_path, "3 of 4 items", "have no 'label' though others have: train/l0.png, train/l1.png, train/l2.png")


def test_splits_that_are_laid_out_otherwise_are_refused(tmp_path):
    save_splits(tmp_path)
    save_texts(tmp_path, texts(3), "extra")
    (tmp_path / "test").rename(tmp_path / "old")
    (tmp_path / "extra").rename(tmp_path / "test")
    refused(tmp_path, "Some splits", "metadata.jsonl or metadata.csv, but train and validation has not")


def test_a_csv_without_file_names_or_with_rows_of_other_lengths_is_refused(tmp_path):
    save_classes(tmp_path, {"images": 3})
    table = tmp_path / "metadata.csv"
    table.write_text("name;label\nimages/p0.png;a\n", encoding="utf-8")
    refused(tmp_path, "The first line of", table, "no column 'file_name', only 'name;label'")
    table.write_text("file_name,label\nimages/p0.png,a\nimages/p1.png\n", encoding="utf-8")
    refused(tmp_path, "Line 3 of", table, "has not 2 values")
    table.write_text('file_name,"label\n', encoding="utf-8")
    refused(tmp_path, "The first line of", table, "is broken")
    table.write_text("file_name,label,label\nimages/p0.png,a,b\n", encoding="utf-8")
    refused(tmp_path, "The first line of", table, "names 'label' twice")


def test_labels_are_the_same_with_and_without_spaces_around(tmp_path):
    save_classes(tmp_path, {"images": 4})
    rows = "".join(f"images/p{n}.png,{label}\n" for n, label in enumerate(("cat", "cat ", " dog", "dog")))
    (tmp_path / "metadata.csv").write_text("file_name,label\n" + rows, encoding="utf-8")
    assert open_listing(tmp_path).classes == ("cat", "dog")


def test_a_text_that_is_null_is_named(tmp_path):
    save_classes(tmp_path, {"images": 3})
    save_lines(tmp_path / "metadata.jsonl", [{"file_name": f"images/p{n}.png", "text": None} for n in range(3)])
    with pytest.raises(InputError, match=r"The text of images/p\d.png is None; expected a string"):
        open_listing(tmp_path).check("lines")


# Masks


def save_pairs(root, count=10):
    for number in range(count):
        save_picture(root / "images" / f"{number}.jpg", array_of(number, 6, 8))
        save_picture(root / "masks" / f"{number}.png", array_of(number, 6, 8, 1))
    return root


def test_pictures_and_their_masks(tmp_path):
    listing = open_listing(save_pairs(tmp_path))
    assert listing.tasks == ("masks",)
    assert [len(items) for items in listing.splits.values()] == [8, 1, 1]
    for item in listing.splits["train"]:
        assert item.columns["mask"] == tmp_path / "masks" / f"{Path(item.name).stem}.png"


def test_masks_that_are_missing_or_of_another_size_are_refused(tmp_path):
    save_pairs(tmp_path)
    save_picture(tmp_path / "masks" / "3.png", array_of(0, 6, 9, 1))
    refused(tmp_path, "1 masks", "images/3.jpg is 8x6 and its mask 9x6")
    (tmp_path / "masks" / "3.png").write_bytes(b"x")  # told when it is decoded, as other broken files
    assert sum(map(len, open_listing(tmp_path).splits.values())) == 10
    (tmp_path / "masks" / "3.png").unlink()
    refused(tmp_path, "have none of the same name in", tmp_path / "masks", "3.jpg")
    (tmp_path / "images" / "3.jpg").unlink()
    save_picture(tmp_path / "other" / "x.png", array_of(0))
    refused(tmp_path, "holds other beside images and masks")
    shutil.rmtree(tmp_path / "other")
    shutil.rmtree(tmp_path / "images")
    refused(tmp_path, "a folder 'masks' but none named 'images'")
