"""Animation of models that write images: all at once, row by row.

Arrays: `MODEL/samples` `[n, h, w, c]`, grey values or colours from 0 to 255.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rowrnn.lab.report.style import Arrays

WRITTEN = 8  # images of each model
SCALE, GAP, TEXT = 3, 4, 13  # factor by which pixels are enlarged, pixels between images, size of the names
HELD = 10  # frames that show the whole images, at the end
BLANK = (44, 62, 105)  # colour of what is not written yet


def writing(titles: Sequence[str], arrays: Arrays) -> np.ndarray:
    """Renders an animation, `[t, height, width, 3]`, uint8: a line of images for each model, row by row."""
    lines = [_enlarged(arrays[f"{title}/samples"][:WRITTEN]) for title in titles]
    font = ImageFont.load_default(TEXT)
    left = int(max(font.getlength(title) for title in titles)) + 2 * GAP
    high = lines[0].shape[1] + GAP
    page = np.full((len(titles) * high + GAP, left + lines[0].shape[2] + GAP, 3), 255, np.uint8)
    named = Image.fromarray(page)
    for number, title in enumerate(titles):
        ImageDraw.Draw(named).text((GAP, GAP + number * high + (high - TEXT) // 2), title, "black", font)
    frames = np.repeat(np.asarray(named)[None], len(lines[0]), axis=0)
    for number, line in enumerate(lines):
        top = GAP + number * high
        frames[:, top : top + line.shape[1], left : left + line.shape[2]] = line
    return frames


def _enlarged(images: np.ndarray) -> np.ndarray:
    """Returns images beside each other, a row more of them in each frame, `[h + HELD, height, width, 3]`, uint8."""
    count, height, width, _ = images.shape
    shown = np.broadcast_to(images, (count, height, width, 3))
    known = np.arange(height)[None] < np.minimum(np.arange(1, height + HELD + 1), height)[:, None]
    frames = np.where(known[:, None, :, None, None], shown[None], np.array(BLANK, np.uint8))
    large = frames.repeat(SCALE, axis=2).repeat(SCALE, axis=3)
    apart = np.pad(large, ((0, 0), (0, 0), (0, 0), (0, GAP), (0, 0)), constant_values=255)
    return np.concatenate(list(np.moveaxis(apart, 1, 0)), axis=2)
