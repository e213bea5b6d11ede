"""Figures and animations of forecasters of films: predicted frames, and error by frame.

The arrays are:

- `video` `[n, t, h, w, c]`, uint8: some test videos.
- `MODEL/predicted` `[n, ahead, h, w, c]`: their last frames as the first seed of each model predicts them.
- `MODEL/error` `[seeds, ahead]`: squared error of each predicted frame, in the unit of the protocol's entry `error`.
- `BASELINE/error` `[1, ahead]`: the same for each baseline of the record's entry `baselines`.
"""

import itertools
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from rowrnn.lab.report.style import COLORS, Arrays, band, legend
from rowrnn.lab.runs.record import Record

FILMS = 3  # videos in a figure
GIVEN, PREDICTED = (0.35, 0.55, 0.95), (0.95, 0.55, 0.2)  # border colours of given and of predicted frames
SCALE = 2  # factor by which the pixels of an animation are enlarged
TEXT, LINE = 12, 15  # size of an animation's text and height of a line of it, in pixels
SENTENCES = {
    "films": "Whether what is predicted keeps its shape and place, or blurs with every frame.",
    "error_by_frame": "How fast the error grows with the distance, and whether it stays below that of the baselines.",
}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws true and predicted frames, and the error by frame."""
    return {"films": films(record, arrays), "error_by_frame": error_by_frame(record, arrays)}


def animations(record: Record, arrays: Arrays) -> dict[str, np.ndarray]:
    """Renders true and predicted videos as animations, `[t, height, width, 3]`, uint8."""
    return {"films": moving(record, arrays)}


def films(record: Record, arrays: Arrays) -> Figure:
    """Draws the frames of some test videos, and below them the predictions of each model.

    Of videos of more than 12 frames only every second frame is drawn.
    """
    models, given = [row["model"] for row in record.summary], record.protocol["given"]
    videos = arrays["video"][:FILMS]
    # Every second frame of a long video, including the last given one.
    frames = range(videos.shape[1])[(given - 1) % 2 :: 2] if videos.shape[1] > 12 else range(videos.shape[1])
    lines = len(videos) * (1 + len(models))
    figure, panels = plt.subplots(lines, len(frames), figsize=(0.95 * len(frames) + 0.9, 1.02 * lines), squeeze=False)
    for line, axes in enumerate(panels):
        number, model = line // (1 + len(models)), (None, *models)[line % (1 + len(models))]
        for panel, frame in zip(axes, frames, strict=True):
            panel.set(xticks=[], yticks=[])
            panel.grid(False)
            if model is None:
                _show(panel, videos[number, frame], GIVEN if frame < given else (0.5, 0.5, 0.5))
            elif frame >= given:
                _show(panel, arrays[f"{model}/predicted"][number, frame - given], PREDICTED)
            else:
                panel.axis("off")
            if line == 0:
                panel.set_title(f"{frame + 1}", fontsize=9)
        axes[0].axis("on")
        axes[0].spines[:].set_visible(model is None)
        axes[0].set_ylabel(model or f"video {number + 1}", fontsize=9)
    figure.suptitle(f"Test videos, the {given} frames given in blue, and what follows as each model predicts it")
    return figure


def error_by_frame(record: Record, arrays: Arrays) -> Figure:
    """Draws the squared error of each predicted frame: mean and 95 % interval over seeds, and that of the baselines."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    for color, model in zip(COLORS, [row["model"] for row in record.summary], strict=False):
        errors = arrays[f"{model}/error"].T
        band(axes, 1 + np.arange(len(errors)), errors, color, model, limits=(0.0, np.inf))
    for style, name in zip(itertools.cycle((":", "--", "-.")), record.entries["baselines"], strict=False):
        errors = arrays[f"{name}/error"][0]
        axes.plot(1 + np.arange(len(errors)), errors, style, color="grey", label=name)
    axes.set(
        title="How far ahead?",
        xlabel="frames after the last one given",
        ylabel=record.protocol.get("error", "squared error of a frame (sum over pixels)"),
        ylim=(0, None),
    )
    legend(axes, fontsize=8)
    return figure


def moving(record: Record, arrays: Arrays) -> np.ndarray:
    """Renders an animation, `[t, height, width, 3]`, uint8: a row for each video, a column for truth and each model.

    Words above it name the columns and say of each frame whether it is given or predicted.
    """
    models, given = [row["model"] for row in record.summary], record.protocol["given"]
    videos = arrays["video"][:FILMS]
    columns = [_bordered(videos / 255, len(videos[0]))]
    for model in models:
        predicted = np.clip(arrays[f"{model}/predicted"][: len(videos)], 0, 1)
        columns.append(_bordered(np.concatenate([videos[:, :given] / 255, predicted], axis=1), given))
    grid = np.concatenate(columns, axis=3)  # [n, t, h, w, 3]
    lines = np.concatenate(list(grid), axis=1)
    large = np.round(255 * lines.repeat(SCALE, axis=1).repeat(SCALE, axis=2)).astype(np.uint8)
    return _with_words(large, ["true", *models], len(videos), given)


def _with_words(frames: np.ndarray, columns: Sequence[str], videos: int, given: int) -> np.ndarray:
    """Adds a margin with the names of columns and rows, and what the frame is, to `[t, height, width, 3]`, uint8."""
    font = ImageFont.load_default(TEXT)
    _, height, width, _ = frames.shape
    wide, high = width // len(columns), height // videos
    letters = max(1, int(wide / font.getlength("n")))
    titles = ["\n".join(textwrap.wrap(name, letters)) for name in columns]
    top = LINE * (1 + max(title.count("\n") + 1 for title in titles)) + 4
    left = int(font.getlength(f"video {videos} "))
    least = int(left + font.getlength(f"frame {len(frames)}: predicted from the first {given}"))
    page = Image.new("RGB", (max(left + width, least), top + height), "white")
    draw = ImageDraw.Draw(page)
    for number, title in enumerate(titles):
        draw.multiline_text((left + number * wide, LINE + 2), title, "black", font)
    for number in range(videos):
        draw.text((2, top + number * high + high // 2 - LINE // 2), f"video {number + 1}", "black", font)
    pages = []
    for number, frame in enumerate(frames):
        of_frame = page.copy()
        what = "given" if number < given else f"predicted from the first {given}"
        color = GIVEN if number < given else PREDICTED
        words = f"frame {number + 1}: {what}"
        ImageDraw.Draw(of_frame).text((left, 1), words, tuple(int(220 * part) for part in color), font)
        of_frame.paste(Image.fromarray(frame), (left, top))
        pages.append(np.asarray(of_frame))
    return np.stack(pages)


def _bordered(videos: np.ndarray, given: int) -> np.ndarray:
    """Converts videos to colour and adds a border whose colour distinguishes given from predicted frames."""
    colored = np.broadcast_to(videos, (*videos.shape[:-1], 3))
    padded = np.pad(colored, ((0, 0), (0, 0), (2, 2), (2, 2), (0, 0)))
    for frame in range(padded.shape[1]):
        for edge in (np.s_[:2], np.s_[-2:]):
            padded[:, frame, edge] = padded[:, frame, :, edge] = GIVEN if frame < given else PREDICTED
    return padded


def _show(axes: plt.Axes, image: np.ndarray, color: tuple[float, float, float]) -> None:
    axes.imshow(
        image if image.shape[-1] == 3 else image[..., 0],
        cmap="gray",
        vmin=0,
        vmax=255 if image.dtype == np.uint8 else 1,
    )
    axes.spines[:].set(visible=True, color=color, linewidth=1.5)


def continued(given: np.ndarray, coming: np.ndarray) -> Figure:
    """Draws frames of a film, uint8 `[t, h, w, c]`, and below them those that were predicted, in [0, 1]."""
    across = max(len(given), len(coming))
    height, width = given.shape[1:3]
    figure, panels = plt.subplots(2, across, figsize=(1.2 * across, 2.6 * height / width + 0.6), squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    for line, frames, color in ((panels[0], given, GIVEN), (panels[1], coming, PREDICTED)):
        for number, (axes, frame) in enumerate(zip(line, frames, strict=False), 1):
            axes.axis("on")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.set_title(f"{'+' if frames is coming else ''}{number}", fontsize=8)
            _show(axes, frame, color)
    figure.suptitle("Above the last frames of the film, below those that come next", fontsize=10)
    return figure
