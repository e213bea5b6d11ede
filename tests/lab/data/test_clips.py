"""A clip is read as its player shows it, from video files, GIFs and folders of frames."""

from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from rowrnn.lab.data import clips
from rowrnn.lab.data.clips import read_clip, some_frames
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.data.sources.open import open_listing
from tests.helpers.tiny_sets import array_of, save_clip, save_lines, save_picture


def frames_of(values, height=32, width=48):
    """Frames of one grey each, their upper left quarter white, `[t, h, w, 3]`."""
    frames = np.broadcast_to(np.array(values, np.uint8)[:, None, None, None], (len(values), height, width, 3)).copy()
    frames[:, : height // 2, : width // 2] = 255
    return frames


def item_of(path):
    return Item(path.name, path)


@pytest.mark.parametrize(
    ("name", "codec"), [("a b.mp4", "mpeg4"), ("b.avi", "mjpeg"), ("c.mkv", "ffv1"), ("d.mov", "png")]
)
def test_video_files(tmp_path, name, codec):
    frames = frames_of([20, 90, 160])
    pixels = {"mjpeg": "yuvj420p", "png": "rgb24"}.get(codec, "yuv420p")
    save_clip(tmp_path / name, frames, rate=5, codec=codec, pixels=pixels)
    found, rate = read_clip(item_of(tmp_path / name))
    assert rate == pytest.approx(5)
    assert found.dtype == np.uint8
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < 4  # compression


def test_the_bytes_of_a_video_in_a_table(tmp_path):
    save_clip(tmp_path / "a.mp4", frames_of([20, 90]))
    content = (tmp_path / "a.mp4").read_bytes()
    found, _ = read_clip(Item("row 3", content=lambda: content))
    np.testing.assert_array_equal(found, read_clip(item_of(tmp_path / "a.mp4"))[0])


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_video_is_turned_as_its_file_says(tmp_path, degrees):
    path = tmp_path / "a.mp4"
    save_clip(path, frames_of([0]))
    turn(path, degrees)
    expected = np.rot90(frames_of([0])[0], degrees // 90)
    found, _ = read_clip(item_of(path))
    assert found[0].shape == expected.shape
    assert np.abs(found[0].astype(int) - expected).mean() < 4


def turn(path, degrees):
    """Writes the matrix of ISO 14496-12, 8.3.2, by which players turn a track counter-clockwise."""
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    # x' = a x + c y, y' = b x + d y, with y down; each in 16.16, the last in 2.30
    matrix = np.array([cosine, -sine, 0, sine, cosine, 0, 0, 0, 1], np.int64) << np.array([16, 16, 30] * 3)
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    assert content[start : start + 4] == b"\x00\x01\x00\x00"
    content[start : start + 36] = matrix.astype(">i4").tobytes()
    path.write_bytes(content)


def test_a_gif_has_the_mean_of_its_durations(tmp_path):
    frames = frames_of([0, 100, 200])
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 200, 300])
    found, rate = read_clip(item_of(tmp_path / "a.gif"))
    assert rate == pytest.approx(3 / 0.6)
    np.testing.assert_array_equal(found, frames[..., :1])


def test_a_folder_of_frames_is_in_the_order_of_numbers(tmp_path):
    arrays = {number: save_picture(tmp_path / f"frame {number}.png", array_of(number)) for number in (10, 2, 1)}
    found, rate = read_clip(item_of(tmp_path))
    np.testing.assert_array_equal(found, np.stack([arrays[1], arrays[2], arrays[10]]))
    assert rate is None


def test_frames_are_made_smaller_one_by_one(tmp_path):
    save_clip(tmp_path / "a.mp4", frames_of([20, 90]))
    found, _ = read_clip(item_of(tmp_path / "a.mp4"), each=lambda frame: frame[::4, ::4, :1])
    assert found.shape == (2, 8, 12, 1)


def test_broken_clips_are_named(tmp_path, monkeypatch):
    save_clip(tmp_path / "whole.mp4", frames_of([20, 90]))
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:200])
    (tmp_path / "none.mp4").write_bytes(b"")
    (tmp_path / "cut.gif").write_bytes(b"GIF89a")
    (tmp_path / "folder").mkdir()
    for name in ("cut.mp4", "none.mp4", "cut.gif", "folder"):
        with pytest.raises(Unreadable, match=name):
            read_clip(item_of(tmp_path / name))
    for number in (1, 2):
        save_picture(tmp_path / "folder" / f"{number}.png", array_of(0, width=number))
    with pytest.raises(Unreadable, match=r"folder has frames of \[6, 1\] and of \[6, 2\] pixels"):
        read_clip(item_of(tmp_path / "folder"))
    for number in (1, 2):
        save_picture(tmp_path / "mixed" / f"{number}.png", array_of(0, channels=2 * number - 1))
    with pytest.raises(Unreadable, match="mixed has grey frames and coloured ones"):
        read_clip(item_of(tmp_path / "mixed"))
    found, _ = read_clip(item_of(tmp_path / "mixed"), each=lambda frame: frame[..., :1])
    assert found.shape[0] == 2
    assert found.shape[-1] == 1
    monkeypatch.setattr(clips, "MOST_BYTES", 1000)
    with pytest.raises(Unreadable, match=r"whole\.mp4 takes more than"):
        read_clip(item_of(tmp_path / "whole.mp4"))


def test_a_file_with_sound_only_is_no_clip(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 8000
        container.mux([*stream.encode(sound), *stream.encode()])
    with pytest.raises(Unreadable, match=r"sound\.mp4 has no video, only audio"):
        read_clip(item_of(path))


def test_sizes_are_decided_by_first_frames_without_reading_whole_clips(tmp_path, monkeypatch):
    save_clip(tmp_path / "long.mp4", frames_of([20, 90, 60, 30]))
    monkeypatch.setattr(clips, "MOST_BYTES", 1000)  # as a long film in high resolution has more than is allowed
    (frame,), (rate,) = some_frames([item_of(tmp_path / "long.mp4")])
    assert (frame.shape, rate) == (frames_of([20])[0].shape, 5)


def save_gif(path, values=(0, 100)):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = [Image.new("L", (4, 4), value) for value in values]
    first.save(path, save_all=True, append_images=others)


def test_class_folders_of_gifs_are_clips_and_pictures(tmp_path):
    for name in ("a", "b"):
        for number in range(5):
            save_gif(tmp_path / name / f"{number}.gif", (number, 100))
    assert open_listing(tmp_path).tasks == ("images", "clips", "frames")


def test_class_folders_of_folders_of_frames_are_clips(tmp_path):
    for seed, name in enumerate("ab" * 5):
        for frame in (1, 2):
            save_picture(tmp_path / name / f"clip {seed}" / f"{frame:03}.png", array_of(10 * seed + frame))
    listing = open_listing(tmp_path)
    assert listing.tasks == ("clips", "frames")
    assert listing.classes == ("a", "b")
    assert sorted(item.name for items in listing.splits.values() for item in items)[0] == "a/clip 0"
    assert len({item.fingerprint() for items in listing.splits.values() for item in items}) == 10


def test_metadata_name_clips_and_folders_of_frames(tmp_path):
    rows = []
    for number in range(4):
        for frame in (1, 2):
            save_picture(tmp_path / f"c{number}" / f"{frame}.png", array_of(10 * number + frame))
        rows.append({"file_name": f"c{number}/", "label": "ab"[number % 2]})
    save_lines(tmp_path / "metadata.jsonl", rows)
    listing = open_listing(tmp_path)
    assert listing.tasks == ("clips", "frames")
    assert {item.name for items in listing.splits.values() for item in items} == {"c0", "c1", "c2", "c3"}
