"""Columns of a table of models: a heading, and a function of a summary row to the text of its cell."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]
"""A heading, and a function of a summary row to the text of its cell."""

PARAMETERS: Column = ("para-\nmeters", lambda row: f"{row['parameters']:,}")
"""The number of parameters."""
WIDTH: Column = ("width", lambda row: str(row["width"]))
"""The width that the model was built with."""
SECONDS: Column = (
    "s an epoch\nof a seed",
    lambda row: f"{row['train_seconds'] / row['epochs'] / row['seeds']:.1f}",
)
"""The seconds of training per epoch and seed."""
ANSWERS: Column = ("answers\nimages/s", lambda row: f"{row['inference_images_per_second']:,.0f}")
"""The images that the trained model answers per second."""
MEMORY: Column = ("memory\nMiB, all", lambda row: f"{row['memory_mib']:,.0f}")
"""The memory of an epoch of all seeds, in MiB."""


def score_column(heading: str, name: str = "test_accuracy", decimals: int = 2, factor: float = 100.0) -> Column:
    """Returns the column of a score made by `interval`, in percent unless another factor is given."""
    return heading, lambda row: format_score(row[name], decimals, factor)


def generation_column(what: str) -> Column:
    """Returns the column of the share of the training time that generating examples takes, in percent."""

    def of_row(row: Row) -> str:
        return "-" if row["generation_share"] is None else f"{100 * row['generation_share']:.1f}"

    return f"making\n{what} %", of_row


def format_score(score: Mapping[str, Any], decimals: int = 2, factor: float = 100.0) -> str:
    """Formats a score over seeds as its mean, followed by ± its 95 % interval if it has one.

    Seeds that agree exactly, such as all at 100 %, give no interval: they do not show how much a seed matters.
    """
    mean, ci95 = f"{factor * score['mean']:.{decimals}f}", score["ci95"]
    if not ci95:
        return mean
    width = f"{factor * ci95:.{decimals}f}"
    return f"{mean} ± {width}" if float(width) else f"{mean} ± <{10.0**-decimals:.{decimals}f}"


def model_table(models: str, rows: Iterable[Row], columns: Sequence[Column]) -> list[list[str]]:
    """Returns a header and a line for each row: its model under the heading `models`, then the columns."""
    header = [models, *(heading for heading, _ in columns)]
    return [header, *([row["model"], *(of_row(row) for _, of_row in columns)] for row in rows)]
