"""What was decoded once is read from the disk at the next start, and only where nothing changed."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from rowrnn.errors import InputError
from rowrnn.lab.data import decoded_cache
from rowrnn.lab.data.decoded_cache import decoded, decoded_splits
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.pictures import read_picture
from rowrnn.machine.cache_directory import cache_directory
from tests.helpers.tiny_sets import array_of, save_picture


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def save_items(folder, count=5, same=True):
    arrays = [save_picture(folder / f"{n}.png", array_of(n, width=8 if same else 3 + n)) for n in range(count)]
    return arrays, [Item(f"{n}.png", folder / f"{n}.png") for n in range(count)]


def never(item):
    raise AssertionError(f"{item.name} is read again")


def files():
    return sorted(cache_directory().iterdir())


def test_the_second_start_reads_the_cache(tmp_path):
    arrays, items = save_items(tmp_path)
    first = decoded(items, read_picture, "as they are")
    np.testing.assert_array_equal(first.stacked(), np.stack(arrays))
    second = decoded(items, never, "as they are")
    assert (first.cached, second.cached) == (False, True)
    np.testing.assert_array_equal(second.stacked(), np.stack(arrays))
    np.testing.assert_array_equal(second.kept, range(5))
    assert isinstance(second.flat, np.memmap)
    assert len(files()) == 1


def test_arrays_of_several_sizes(tmp_path):
    arrays, items = save_items(tmp_path, same=False)
    decoded(items, read_picture, "")
    found = decoded(items, never, "")
    assert len(found) == 5
    for one, other in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found[-1], arrays[4])
    with pytest.raises(IndexError):
        found[5]
    with pytest.raises(InputError, match=r"have 5 sizes, as \[6, 3, 3\] and \[6, 4, 3\]"):
        found.stacked()


def test_another_preprocessing_or_a_changed_file_is_decoded_anew(tmp_path):
    _, items = save_items(tmp_path)
    decoded(items, read_picture, "")
    assert not decoded(items, read_picture, "other").cached
    assert not decoded(items[:4], read_picture, "").cached
    new = save_picture(tmp_path / "2.png", array_of(77))
    found = decoded(items, read_picture, "")
    assert not found.cached
    np.testing.assert_array_equal(found[2], new)
    assert decoded(items, never, "").cached


def test_another_folder_of_the_same_name_has_other_pictures(tmp_path, monkeypatch):
    for number, place in enumerate(("one", "two")):
        (tmp_path / place / "shapes").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / place)
        picture = save_picture(Path("shapes") / "a.bmp", array_of(number))
        os.utime("shapes/a.bmp", (0, 0))  # as archives with fixed dates unpack it
        found = decoded([Item("a.bmp", Path("shapes") / "a.bmp")], read_picture, "")
        np.testing.assert_array_equal(found[0], picture)


def test_a_damaged_cache_is_made_anew(tmp_path):
    arrays, items = save_items(tmp_path)
    decoded(items, read_picture, "")
    (path,) = files()
    whole = path.read_bytes()
    for place in (0, len(whole) // 3, len(whole) - 60, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        found = decoded(items, read_picture, "")
        assert not found.cached, place
        np.testing.assert_array_equal(found.stacked(), np.stack(arrays))
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert not decoded(items, read_picture, "").cached, size
    assert path.read_bytes() == whole
    assert decoded(items, never, "").cached
    for ends in (b"\xff" * 200, b"\x00" * 200):  # sizes that no file can have
        path.write_bytes(ends)
        assert not decoded(items, read_picture, "").cached


def test_unreadable_files_are_left_out_and_said_again(tmp_path):
    _, items = save_items(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"x")
    many = [Item(f"{n}", items[0].path) for n in range(120)]
    many.insert(7, Item("bad.png", tmp_path / "bad.png"))
    for _ in range(2):
        found = decoded(many, read_picture, "")
        (error,) = found.errors
        assert error.startswith("bad.png cannot be read as a picture")
        np.testing.assert_array_equal(found.kept, [n for n in range(121) if n != 7])
    assert found.cached


def with_broken(folder, good, broken):
    _, items = save_items(folder)
    (folder / "bad.png").write_bytes(b"x")
    return [
        *(Item(f"{n}", items[0].path) for n in range(good)),
        *(Item(f"bad{n}.png", folder / "bad.png") for n in range(broken)),
    ]


def test_the_share_that_cannot_be_read_is_counted_over_all_splits(tmp_path):
    splits = {"train": with_broken(tmp_path, 120, 0), "validation": with_broken(tmp_path, 5, 1)}
    found, words = decoded_splits(splits, read_picture, "")
    assert {split: len(arrays) for split, arrays in found.items()} == {"train": 120, "validation": 5}
    assert words.startswith("WARNING: 1 of 126 files left out, which cannot be read: bad0.png")
    assert decoded_splits({"train": splits["train"]}, never, "")[1] == ""


def test_many_unreadable_files_are_an_error_that_names_five_and_leaves_nothing_behind(tmp_path):
    splits = {"train": with_broken(tmp_path, 50, 3), "test": with_broken(tmp_path, 0, 4)}
    with pytest.raises(InputError, match=r"7 of 57 files cannot be read.*bad0.png.*bad1.png.*And 2 more"):
        decoded_splits(splits, read_picture, "")
    assert files() == []
    with pytest.raises(InputError, match=r"No file of the split 'test' can be read: bad0\.png"):
        decoded_splits({"train": with_broken(tmp_path, 500, 0), "test": with_broken(tmp_path, 0, 1)}, read_picture, "")
    assert files() == []


@pytest.mark.parametrize("after", [0, 2, 5])
def test_without_room_it_goes_on_in_memory(tmp_path, monkeypatch, after):
    arrays, items = save_items(tmp_path)
    real, written = decoded_cache._write, []

    def full(file, content):
        if len(written) == after:
            file.write(content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(real(file, content))

    monkeypatch.setattr(decoded_cache, "_write", full)
    found = decoded(items, read_picture, "")
    np.testing.assert_array_equal(found.stacked(), np.stack(arrays))
    assert files() == []


def test_without_a_folder_to_write_to_it_goes_on_in_memory(tmp_path, monkeypatch):
    arrays, items = save_items(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    np.testing.assert_array_equal(decoded(items, read_picture, "").stacked(), np.stack(arrays))


def test_two_at_once_both_have_the_arrays(tmp_path):
    arrays, items = save_items(tmp_path)

    def read(item):
        if item.name == "3.png" and not others:
            others.append(decoded(items, read_picture, ""))
        return read_picture(item)

    others = []
    found = decoded(items, read, "")
    for one in (found, *others, decoded(items, never, "")):
        np.testing.assert_array_equal(one.stacked(), np.stack(arrays))
    assert len(files()) == 1


def test_what_was_abandoned_is_removed(tmp_path):
    _, items = save_items(tmp_path)
    cache_directory().mkdir(parents=True)
    old, new = cache_directory() / ".a.partial", cache_directory() / ".b.partial"
    for path, age in ((old, 2 * 86_400), (new, 60)):
        path.write_bytes(b"x")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    decoded(items, read_picture, "")
    assert new in files()
    assert old not in files()
