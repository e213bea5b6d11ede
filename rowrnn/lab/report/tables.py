"""From the record of a run, `results.json`, to its tables.

`results["summary"]` is a list with one object a model: `model`, `parameters`, `seeds`, `test_accuracy` (`mean`, `ci95`,
`values`), `train_seconds`, `seconds_to_98`, `seconds_to_99` (null where not reached) and what else was measured. A
script of another kind gives its own `results["table"]`: a header and rows of strings.
"""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from rowrnn.lab.report.columns import ANSWERS, MEMORY, PARAMETERS, model_table, score_column
from rowrnn.lab.runs.record import Results

COLUMNS = (
    score_column("test\naccuracy %"),
    PARAMETERS,
    ("seconds\nto 98 %", lambda row: _seconds(row["seconds_to_98"])),
    ("seconds\nto 99 %", lambda row: _seconds(row["seconds_to_99"])),
    ("training\nimages/s", lambda row: f"{row['train_images_per_second']:,.0f}"),
    ANSWERS,
    ("memory\nMiB", MEMORY[1]),
)


def table(results: Results) -> Table:
    """The script's own table or the summary, for the terminal."""
    return plain_table(results["table"]) if "table" in results else summary_table(results)


def summary_table(results: Results) -> Table:
    """The summary as a table for the terminal."""
    data, seeds = results["data"], results["protocol"]["seeds"]
    title = f"{data['name']}: {data['test']:,} test images, mean ± 95 % interval over {seeds} seeds"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, title_justify="left")
    return _filled(table, model_table("model", results["summary"], COLUMNS))


def plain_table(rows: Sequence[Sequence[str]]) -> Table:
    """A header and rows, as a script has put them in `results["table"]`, for the terminal."""
    return _filled(Table(box=box.SIMPLE_HEAD, padding=(0, 1)), rows)


def _filled(table: Table, rows: Sequence[Sequence[str]]) -> Table:
    header, *body = rows
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True)
    for cells in body:
        table.add_row(*cells)
    return table


def markdown(first: Results, *others: Results) -> str:
    """The script's own table or the summary, in Markdown; those of others, with the same columns, go on below it."""
    header, *body = _cells(first)
    body += [row for results in others for row in _cells(results)[1:]]
    header = [name.replace("-\n", "").replace("\n", " ") for name in header]
    rule = ("---", *["---:"] * (len(header) - 1))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, rule, *body))


def _cells(results: Results) -> list[list[str]]:
    """A header and rows: the script's own table or the summary."""
    return results.get("table") or model_table("model", results["summary"], COLUMNS)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f}"
