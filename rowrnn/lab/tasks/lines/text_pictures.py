"""Figures of lines of text that were read: each line with what it says and what was read.

The arrays `shown/images` `[n, h, w]`, uint8, and `shown/widths` `[n]` are some test lines. The rows of the record have
their `texts`, and `said`, what was read of each, of the first seed.
"""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays, frame_only
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record

SENTENCES = {"read": "Test lines with what they say, and below in red what was read where it differs."}


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the test lines with their readings, for each model."""
    return {
        f"read_{file_name(row['model'])}": read(row["model"], row["texts"], row["said"], arrays)
        for row in record.summary
    }


def read(model: str, texts: list[str], said: list[str], arrays: Arrays) -> Figure:
    """Draws lines, each with its text and what was read of it."""
    images, widths = arrays["shown/images"], arrays["shown/widths"]
    inches = max(5.0, min(12.0, int(widths.max()) / 60))
    figure, panels = plt.subplots(len(images), 1, figsize=(inches, 1.15 * len(images) + 0.5), squeeze=False)
    figure.suptitle(f"{model}: test lines and what was read")
    for axes, image, width, text, reading in zip(panels[:, 0], images, widths, texts, said, strict=False):
        axes.imshow(image[:, :width], cmap="gray_r", vmin=0, vmax=255)
        frame_only(axes)
        axes.set_title(text, fontsize=9, loc="left")
        if reading != text:
            axes.set_xlabel(reading or "(nothing)", fontsize=9, color="tab:red", loc="left")
    return figure
