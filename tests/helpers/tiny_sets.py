"""Tiny data sets on disk, in the layouts that people have."""

import json
from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # of EXIF


def array_of(seed, height=6, width=8, channels=3):
    """A picture of noise, `[h, w, c]`."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def save_picture(path, array, **options):
    """Writes an array `[h, w, c]` as a picture, and returns the array."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array).save(path, **options)
    return array


def save_classes(root, counts, first=0):
    """Writes class folders with so many pictures each, all different, and returns the root."""
    seed = first
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            save_picture(root / name / f"p{number}.png", array_of(seed, channels=1))
            seed += 1
    return root


def save_splits(root, classes=("a", "b"), counts=(4, 2, 2)):
    """Writes class folders in three splits, and returns the root."""
    for number, (split, count) in enumerate(zip(("train", "validation", "test"), counts, strict=True)):
        save_classes(root / split, dict.fromkeys(classes, count), 1000 * number)
    return root


def save_lines(path, rows):
    """Writes rows as JSON, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def save_clip(path, frames, rate=5, codec="mpeg4", pixels="yuv420p"):
    """Writes frames `[t, h, w, 3]` as a video by PyAV."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
