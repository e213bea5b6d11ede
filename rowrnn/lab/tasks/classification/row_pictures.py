"""Figures of the mnist_rows experiment: accuracy by row, confusion matrices, mistakes and gate activations.

The array `example` `[h, w, c]` is a test image. The arrays of each model are named `MODEL/…`:

- `correct_by_row` `[seeds, h]`: accuracy after each row.
- `confusion` `[seeds, classes, classes]`: confusion matrix, label by prediction.
- `mistake_image` `[n, h, w, c]`, `mistake_label`, `mistake_prediction` and `mistake_probability` `[n]`: the mistakes.
- `gate/NAME` and `state/NAME` `[h, hidden]`, and `probability` `[h, classes]`, of recurrent models only: gate
  activations, and the state and class probabilities after each row of the example. Earlier versions wrote no states.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from rowrnn.lab.report.style import COLORS, PERCENT, Arrays, band, legend
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.classification import confusion_picture, gate_picture, trust_pictures
from rowrnn.lab.tasks.classification.confusion_picture import confusion

SENTENCES = {
    "accuracy_by_row": "After how many rows the answer is right: a curve that rises early needs little of the image.",
    "confusion": confusion_picture.SENTENCE,
    **trust_pictures.SENTENCES,
    "mistakes": "Errors of which the first seed is most certain: many are images that a person would misread too.",
    "gates": "What each unit lets in, keeps and shows while the rows pass: look for the row where gates change from "
    "the even colour of blank rows to stripes, and for units that then keep their state to the end.",
}


def pictures_of_answers(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws confusion matrices and mistakes, calibration and the rows that matter, of any classifier of images."""
    matrices = {row["model"]: arrays[f"{row['model']}/confusion"] for row in record.summary}
    errors = {"confusion": confusion(matrices, record.data["class_names"])}
    if any(len(arrays[f"{row['model']}/mistake_label"]) for row in record.summary):
        errors["mistakes"] = mistakes(record, arrays)
    return errors | trust_pictures.pictures(record, arrays)


def pictures(record: Record, arrays: Arrays) -> dict[str, Figure]:
    """Draws accuracy after each row, confusion matrices, mistakes, and the gates of each recurrent model."""
    figures = {"accuracy_by_row": accuracy_by_row(record, arrays), **pictures_of_answers(record, arrays)}
    for row in record.summary:
        if f"{row['model']}/probability" in arrays:
            figures[f"gates_{file_name(row['model'])}"] = gates(row["model"], record, arrays)
    return figures


def accuracy_by_row(record: Record, arrays: Arrays) -> Figure:
    """Draws the test accuracy after each row, read from the top."""
    figure, axes = plt.subplots(figsize=(7, 4.2))
    rows = record.data["shape"][0]
    for color, row in zip(COLORS, record.summary, strict=False):
        seen = 100 * arrays[f"{row['model']}/correct_by_row"]
        label = row["model"] if f"{row['model']}/probability" in arrays else f"{row['model']} (rows below left blank)"
        band(axes, np.arange(1, rows + 1), seen.T, color, label, limits=PERCENT)
    axes.axhline(100 / record.data["classes"], color="grey", linestyle=":", linewidth=1)
    axes.text(rows, 100 / record.data["classes"] + 1, "chance", color="grey", fontsize=8, ha="right")
    axes.set(
        title="When does the network know?",
        xlabel="rows seen, from the top",
        ylabel="test accuracy (%)",
        ylim=(0, 102),
    )
    legend(axes, loc="upper left", bbox_to_anchor=(0, 0.95))
    return figure


def gates(model: str, record: Record, arrays: Arrays) -> Figure:
    """Draws every gate and state of every unit at each row, beside the image and the class probabilities."""
    seen = {name.removeprefix(f"{model}/"): array for name, array in arrays.items() if name.startswith(f"{model}/")}
    figure = plt.figure(figsize=gate_picture.size(seen))
    names = record.data["class_names"]
    heading = f"read from the top:\n{names[int(arrays['example_label'])]}"
    sorted_by = gate_picture.draw(figure, arrays["example"], seen, names, heading)
    figure.suptitle(f"{model}: every unit, row by row; units are sorted by their mean activation of the {sorted_by}")
    return figure


def mistakes(record: Record, arrays: Arrays) -> Figure:
    """Draws the most confident mistakes of each model's first seed."""
    models = [row["model"] for row in record.summary]
    names = record.data["class_names"]
    columns = max(1, *(len(arrays[f"{model}/mistake_label"]) for model in models))
    figure, panels = plt.subplots(len(models), columns, figsize=(1.25 * columns, 1.75 * len(models)), squeeze=False)
    for line, model in zip(panels, models, strict=True):
        label, predicted, probability = (
            arrays[f"{model}/mistake_{of}"] for of in ("label", "prediction", "probability")
        )
        for k, axes in enumerate(line):
            axes.axis("off")
            if k < len(label):
                gate_picture.show_image(axes, arrays[f"{model}/mistake_image"][k])
                axes.set_title(f"{names[label[k]]} → {names[predicted[k]]}\n{probability[k]:.1%}", fontsize=8)
        line[0].text(-0.25, 0.5, model, rotation=90, va="center", ha="right", transform=line[0].transAxes)
    figure.suptitle("Most confident mistakes: label → answer, with its probability")
    return figure
