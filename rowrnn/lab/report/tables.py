"""Tables of a run's record: its own table, or the summary of its classifiers.

For the summary, each row has a `test_accuracy`, `seconds_to_98` and `seconds_to_99` (null if not reached) and
`inference_images_per_second` beside the fields of `rowrnn.lab.runs.record.ModelRow`.
"""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from rowrnn.lab.report.columns import ANSWERS, MEMORY, PARAMETERS, model_table, score_column
from rowrnn.lab.runs.record import Record

COLUMNS = (
    score_column("test\naccuracy %"),
    PARAMETERS,
    ("seconds\nto 98 %", lambda row: _seconds(row["seconds_to_98"])),
    ("seconds\nto 99 %", lambda row: _seconds(row["seconds_to_99"])),
    ("training\nimages/s", lambda row: f"{row['train_images_per_second']:,.0f}"),
    ANSWERS,
    ("memory\nMiB", MEMORY[1]),
)


def table(record: Record) -> Table:
    """Returns the record's own table, or the summary, for the terminal."""
    return summary_table(record) if record.table is None else plain_table(record.table)


def summary_table(record: Record) -> Table:
    """Returns the summary as a table for the terminal."""
    data, seeds = record.data, record.protocol["seeds"]
    title = f"{data['name']}: {data['test']:,} test images, mean ± 95 % interval over {seeds} seeds"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, title_justify="left")
    return _filled(table, model_table("model", record.summary, COLUMNS))


def plain_table(rows: Sequence[Sequence[str]]) -> Table:
    """Returns a header and rows as a table for the terminal."""
    return _filled(Table(box=box.SIMPLE_HEAD, padding=(0, 1)), rows)


def _filled(table: Table, rows: Sequence[Sequence[str]]) -> Table:
    header, *body = rows
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for row in body:
        table.add_row(*row)
    return table


def markdown(first: Record, *others: Record) -> str:
    """Returns the record's own table, or the summary, in Markdown, followed by the rows of other records.

    Args:
        first: the record that gives the header.
        others: records with the same columns.
    """
    header, *body = cells(first)
    body += [row for record in others for row in cells(record)[1:]]
    header = [name.replace("-\n", "").replace("\n", " ") for name in header]
    rule = ("---", *["---:"] * (len(header) - 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))


def cells(record: Record) -> Sequence[Sequence[str]]:
    """Returns a header and rows: the record's own table, or the summary."""
    return record.table or model_table("model", record.summary, COLUMNS)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f}"
