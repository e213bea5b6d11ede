"""Figures of described pictures: each with what the model says and one caption of people.

The array `shown/images` `[n, h, w, c]`, uint8, holds some test pictures. The rows of the record have their `captions`,
and `said`, what the model said of each, of the first seed.
"""

import textwrap

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from rowrnn.lab.report.style import Arrays, show_picture
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.captions.vocabulary import as_written

SENTENCES = {"said": "Test pictures with what the model says of them, and in grey a caption that people gave."}
COLUMNS = 4
CHARACTERS = 32  # of a line below a picture


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws the test pictures with their captions, for each model."""
    return {
        f"said_{file_name(row['model'])}": described(row["model"], row["captions"], row["said"], arrays)
        for row in record.summary
    }


def described(model: str, captions: list[list[str]], said: list[str], arrays: Arrays) -> Figure:
    """Draws pictures, each with what the model says of it and one of its captions."""
    images = arrays["shown/images"]
    lines = -(-len(images) // COLUMNS)
    figure, panels = plt.subplots(lines, COLUMNS, figsize=(2.9 * COLUMNS, 3.2 * lines), squeeze=False)
    figure.suptitle(f"{model}: test pictures and what it says of them")
    for axes in panels.flat[len(images) :]:
        axes.axis("off")
    for axes, image, truth, sentence in zip(panels.flat, images, captions, said, strict=False):
        show_picture(axes, image)
        color = "tab:green" if sentence in truth else "black"
        axes.set_title("\n".join(textwrap.wrap(as_written(sentence), CHARACTERS)), fontsize=8, color=color)
        axes.set_xlabel("\n".join(textwrap.wrap(as_written(truth[0]), CHARACTERS)), fontsize=7, color="grey")
    return figure
