"""Tables of a run's record, for the terminal and in Markdown."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from rowrnn.errors import InputError
from rowrnn.lab.runs.record import Record


def table(record: Record) -> Table:
    """Returns the table of a record for the terminal, with how many seeds its intervals are over.

    Raises:
        InputError: if the record has no table.
    """
    seeds = record.protocol.get("seeds", 1)
    caption = f"Mean ± 95 % interval over {seeds} seeds." if seeds > 1 else None
    return plain_table(rows_of(record), caption)


def plain_table(rows: Sequence[Sequence[str]], caption: str | None = None) -> Table:
    """Returns a header and rows as a table for the terminal."""
    table = Table(box=box.SIMPLE_HEAD, padding=0, caption=caption, caption_justify="left")
    header, *body = rows
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for row in body:
        table.add_row(*row)
    return table


def markdown(first: Record, *others: Record) -> str:
    """Returns the table of a record in Markdown, followed by the rows of other records.

    Args:
        first: the record that gives the header.
        others: records with the same columns.

    Raises:
        InputError: if a record has no table.
    """
    header, *body = rows_of(first)
    body += [row for record in others for row in rows_of(record)[1:]]
    header = [name.replace("-\n", "").replace("\n", " ") for name in header]
    rule = ("---", *["---:"] * (len(header) - 1))
    return "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))


def rows_of(record: Record) -> Sequence[Sequence[str]]:
    """Returns the header and rows of a record's table.

    Raises:
        InputError: if it has none, since no model is finished.
    """
    if record.table is None:
        raise InputError(f"This run of {record.experiment} has no table: no model is finished.")
    return record.table
