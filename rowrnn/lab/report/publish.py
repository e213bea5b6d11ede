"""Tables of committed results, between marks in Markdown pages."""

import re
import shutil
from pathlib import Path

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError
from rowrnn.lab.report.tables import cells, markdown
from rowrnn.lab.runs.record import ARRAYS, RESULTS, Record, load_run, read_results

TABLE = re.compile(r"(<!-- ([\w.-]+(?: \+ [\w.-]+)*) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
"""A table in a README between its marks, which name one result or several."""


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
    record, arrays = load_run(directory)
    name = name or record.experiment
    if not record.finished:
        raise InputError(f"The run in {directory} was interrupted: publish a finished one.")
    text = readme.read_text(encoding="utf-8")
    renewed = with_table(text, name, record, folder)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.json") as partial:
        shutil.copyfile(directory / RESULTS, partial)
    if arrays:
        shutil.copyfile(directory / ARRAYS, folder / f"{name}.npz")
    for picture in (*directory.glob("*.png"), *directory.glob("*.gif")):
        shown = f"{name}-{picture.name}"
        if f"{folder.name}/{shown}" in text:
            shutil.copyfile(picture, folder / shown)
    readme.write_text(renewed, encoding="utf-8")


def with_table(text: str, name: str, record: Record, folder: Path) -> str:
    """The text with the table renewed whose marks name it: rows of this record, and of those in `folder` beside them.

    Raises:
        InputError: if no marks name it, or a table that shares them cannot be read or is of another kind.
    """
    if not any(name in found[2].split(" + ") for found in TABLE.finditer(text)):
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
        records = [record if other == name else _beside(record, path) for other, path in there]
        return f"{found[1]}{markdown(*records)}\n{found[3]}"

    return TABLE.sub(renewed, text)


def _beside(record: Record, path: Path) -> Record:
    """The record in a file, whose rows stand beside others in a table.

    Raises:
        InputError: if the file cannot be read, or its table is of another kind.
    """
    try:
        other = read_results(path)
        alike = other.experiment == record.experiment and list(cells(other)[0]) == list(cells(record)[0])
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
