"""Tables of a run's record, for the terminal and in Markdown."""

from collections.abc import Collection, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from rowrnn.errors import InputError
from rowrnn.lab.report.machine_load import TOO_MUCH, load_noticed
from rowrnn.lab.runs.record import Record

FEW = 30  # test examples


def table(record: Record) -> Table:
    """Returns the table of a record for the terminal, with how many seeds its intervals are over.

    Below it is said, too, how busy other processes were while its times were measured.

    Raises:
        InputError: if the record has no table.
    """
    notes = intervals(record), few_examples(record), load_noticed(record)
    return plain_table(rows_of(record), "\n".join(filter(None, notes)) or None)


def intervals(record: Record) -> str:
    """Returns what stands after ± in the table of a record; "" for one seed, which has no interval."""
    seeds = record.protocol.get("seeds", 1)
    few = " Two seeds say little of the others: train three or more." if seeds == 2 else ""
    return f"Mean ± 95 % interval over {seeds} seeds.{few}" if seeds > 1 else ""


def few_examples(record: Record) -> str:
    """Returns a warning where a record's scores are of few test examples; "" where they are not."""
    count = record.data.get("test")
    if not isinstance(count, int) or count >= FEW:
        return ""
    return f"Scored on {count} test example{'s' * (count > 1)} only: a score of so few says little."


def plain_table(
    rows: Sequence[Sequence[str]], caption: str | None = None, words: Collection[str] = (), padding: int = 0
) -> Table:
    """Returns a header and rows as a table for the terminal.

    Args:
        rows: the header, and the rows.
        caption: text below the table.
        words: headings of further columns of text, beside the first: they stand on the left, and long ones wrap.
        padding: spaces between columns, beside the one that there is.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, padding, 0, 0), caption=caption, caption_justify="left")
    header, *body = rows
    for number, name in enumerate(header):
        left = number == 0 or name in words
        wraps = name in words  # Then a name that is longer than its column is folded, not cut.
        overflow = "fold" if wraps else "ellipsis"
        table.add_column(name, justify="left" if left else "right", no_wrap=not wraps, overflow=overflow)
    for row in body:
        table.add_row(*map(Text, row))  # not markup: names of files may have brackets
    return table


def markdown(first: Record, *others: Record) -> str:
    """Returns the table of a record in Markdown, followed by the rows of other records.

    If other processes took too much of the machine while its times were measured, the table is followed by that.

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
    lines = ["| " + " | ".join(row) + " |" for row in (header, rule, *body)]
    noticed = load_noticed(first, *others, least=TOO_MUCH)
    return "\n".join([*lines, "", noticed] if noticed else lines)


def rows_of(record: Record) -> Sequence[Sequence[str]]:
    """Returns the header and rows of a record's table.

    Raises:
        InputError: if it has none, since no model is finished.
    """
    if record.table is None:
        raise InputError(f"This run of {record.experiment} has no table: no model is finished.")
    return record.table
