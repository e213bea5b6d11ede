"""From the record of a run, `results.json`, to its tables.

`results["summary"]` is a list with one object a model: `model`, `parameters`, `seeds`, `test_accuracy` (`mean`, `ci95`,
`values`), `train_seconds`, `seconds_to_98`, `seconds_to_99` (null where not reached) and what else was measured. A
script of another kind gives its own `results["table"]`: a header and rows of strings.
"""

import json
import re
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from scipy import special

from rowrnn.columns import ANSWERS, MEMORY, PARAMETERS, score, tabulated
from rowrnn.errors import InputError
from rowrnn.run import ARRAYS, RESULTS, read_record
from rowrnn.whole_file import whole_file

Results = Mapping[str, Any]

MARKS = re.compile(r"(<!-- ([\w.-]+(?: \+ [\w.-]+)*) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
"""A table in a README between its marks, which name one result or several."""

COLUMNS = (
    score("test\naccuracy %"),
    PARAMETERS,
    ("seconds\nto 98 %", lambda row: _seconds(row["seconds_to_98"])),
    ("seconds\nto 99 %", lambda row: _seconds(row["seconds_to_99"])),
    ("training\nimages/s", lambda row: f"{row['train_images_per_second']:,.0f}"),
    ANSWERS,
    ("memory\nMiB", MEMORY[1]),
)


def interval(values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Mean of values over seeds with the half-width of its 95 % interval (Student's t); null for a single value."""
    ci95 = None
    if len(values) > 1:
        ci95 = float(special.stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "ci95": ci95, "values": [float(value) for value in values]}


def load(directory: Path) -> tuple[Results, dict[str, np.ndarray]]:
    """The results and arrays of a run.

    Raises:
        InputError: if the directory holds no run.
    """
    results = read_record(directory)
    if not (directory / ARRAYS).exists():
        return results, {}
    try:
        with (directory / ARRAYS).open("rb") as file, np.load(file) as arrays:
            return results, dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{directory} holds no readable run ({error}). Name the directory of a run.") from error


def table(results: Results) -> Table:
    """The script's own table or the summary, for the terminal."""
    return plain_table(results["table"]) if "table" in results else summary_table(results)


def summary_table(results: Results) -> Table:
    """The summary as a table for the terminal."""
    data, seeds = results["data"], results["protocol"]["seeds"]
    title = f"{data['name']}: {data['test']:,} test images, mean ± 95 % interval over {seeds} seeds"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, title_justify="left")
    return _filled(table, tabulated("model", results["summary"], COLUMNS))


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
    return results.get("table") or tabulated("model", results["summary"], COLUMNS)


def publish(directory: Path, readme: Path, folder: Path, name: str | None = None) -> None:
    """Copies a finished run to `folder`, the pictures that the README shows too, and renews its table there.

    The table stands between `<!-- NAME -->` and `<!-- /NAME -->`, a picture is shown as `FOLDER/NAME-PICTURE.png`.
    Runs of one experiment share a table between `<!-- NAME + OTHER -->` and `<!-- /NAME + OTHER -->`.

    Args:
        directory: directory of the run.
        readme: file whose table is renewed.
        folder: where the committed results lie.
        name: name of the copies and of the table's marks; the experiment's where not given.

    Raises:
        InputError: if there is no such run, it is not finished, the README has no place for its table, or a table that
            shares the place is of another experiment, has other columns or cannot be read.
    """
    results, arrays = load(directory)
    name = name or results["experiment"]
    if not results["finished"]:
        raise InputError(f"The run in {directory} was interrupted: publish a finished one.")
    text = readme.read_text()
    renewed = with_table(text, name, results, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.json") as partial:
        shutil.copyfile(directory / RESULTS, partial)
    if arrays:
        shutil.copyfile(directory / ARRAYS, folder / f"{name}.npz")
    for picture in (*directory.glob("*.png"), *directory.glob("*.gif")):
        shown = f"{name}-{picture.name}"
        if f"{folder.name}/{shown}" in text:
            shutil.copyfile(picture, folder / shown)
    readme.write_text(renewed)


def with_table(text: str, name: str, results: Results, folder: Path) -> str:
    """The text with the table renewed whose marks name it: rows of these results, and of those in `folder` beside them.

    Raises:
        InputError: if no marks name it, or a table that shares them cannot be read or is of another kind.
    """
    if not any(name in found[2].split(" + ") for found in MARKS.finditer(text)):
        raise InputError(
            f"There is no place for the table: expected the marks <!-- {name} --> and <!-- /{name} -->. Write them, or "
            "give the --name of those that are there."
        )

    def renewed(found: re.Match[str]) -> str:
        names = found[2].split(" + ")
        if name not in names:
            return found[0]
        paths = [(other, folder / f"{other}.json") for other in names]
        there = [(other, path) for other, path in paths if other == name or path.exists()]
        records = [results if other == name else _beside(results, path) for other, path in there]
        return f"{found[1]}{markdown(*records)}\n{found[3]}"

    return MARKS.sub(renewed, text)


def _beside(results: Results, path: Path) -> Results:
    """The results in a file, which stand beside others in a table.

    Raises:
        InputError: if the file cannot be read, or its table is of another kind.
    """
    try:
        other = json.loads(path.read_text())
        alike = other["experiment"] == results["experiment"] and _cells(other)[0] == _cells(results)[0]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}, which shares the table, cannot be read ({error!r}): publish its run again."
        ) from error
    if not alike:
        raise InputError(
            f"{path} is of another experiment or has other columns; only tables of one kind can share their marks. "
            "Give each marks of its own."
        )
    return other


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.0f}"
