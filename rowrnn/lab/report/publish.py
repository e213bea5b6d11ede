"""Tables of committed results, written between marks in Markdown pages."""

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError, reason
from rowrnn.lab.report.machine_load import TOO_MUCH, load_noticed
from rowrnn.lab.report.tables import markdown, rows_of
from rowrnn.lab.runs.record import RESULTS, Record, load_run, read_results

TABLE = re.compile(r"(<!-- ([\w.-]+(?: \+ [\w.-]+)*) -->\n).*?(<!-- /\2 -->)", re.DOTALL)
"""Matches a table in a page between its marks, which name one result or several."""


def pages_of(root: Path) -> list[Path]:
    """Returns the pages of a repository: its README.md and all Markdown files under docs/."""
    return [path for path in (root / "README.md", *sorted((root / "docs").rglob("*.md"))) if path.is_file()]


def publish(
    directory: Path, pages: Sequence[Path], folder: Path, name: str | None = None, *, busy: bool = False
) -> None:
    """Copies a finished run to `folder`, without its examples, with the figures that a page shows, and renews its table
    on every page.

    The table stands between `<!-- NAME -->` and `<!-- /NAME -->`; a figure is shown as `FOLDER/NAME-PICTURE.png`.
    Runs of one experiment share a table between `<!-- NAME + OTHER -->` and `<!-- /NAME + OTHER -->`.

    Args:
        directory: directory of the run.
        pages: files whose tables are renewed.
        folder: folder of the committed results.
        name: name of the copies and of the table's marks; the experiment's where not given.
        busy: whether to publish times that were measured while other processes kept the machine busy; it is said below
            the table.

    Raises:
        InputError: if there is no such run, it is not finished or was measured beside other work, a page cannot be
            read, no page has marks for its table, or another result in the table is of another experiment, has other
            columns or cannot be read.
    """
    record, arrays = load_run(directory)
    name = name or record.experiment
    if not record.finished:
        raise InputError(f"The run in {directory} was interrupted: publish a finished one.")
    if not busy and (noticed := load_noticed(record, least=TOO_MUCH)):
        raise InputError(
            f"The table of {directory} has times. {noticed} Measure it on a quiet one, or publish it with --busy, "
            "which says so below the table."
        )
    texts = {page: _text(page) for page in pages}
    if not any(name in names for text in texts.values() for names in results_shown(text)):
        raise InputError(
            f"There is no place for the table: expected the marks <!-- {name} --> and <!-- /{name} --> in one of "
            f"{', '.join(map(str, pages)) or 'the --pages'}. Write them, or give the --name of those that are there."
        )
    renewed = {page: with_table(text, name, record, folder) for page, text in texts.items()}
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / f"{name}.json") as partial:
        partial.write_text(_without_places((directory / RESULTS).read_text(encoding="utf-8")), encoding="utf-8")
    if kept := without_examples(arrays):
        with whole_file(folder / f"{name}.npz") as partial, partial.open("wb") as file:
            np.savez_compressed(file, **kept)
    else:
        (folder / f"{name}.npz").unlink(missing_ok=True)
    for picture in (*directory.glob("*.png"), *directory.glob("*.gif")):
        shown = f"{name}-{picture.name}"
        if any(f"{folder.name}/{shown}" in text for text in texts.values()):
            _copy(picture, folder / shown)
    for page, text in renewed.items():
        if text != texts[page]:
            with whole_file(page) as partial:
                partial.write_text(text, encoding="utf-8")


def without_examples(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arrays that are no pictures or films: data of others, and what a model makes of it, stays where it
    is.
    """
    return {name: a for name, a in arrays.items() if np.ndim(a) < 4 and not (np.ndim(a) == 3 and a.dtype == np.uint8)}


def _without_places(text: str) -> str:
    """Returns a text in which paths below the working directory are relative to it, and `~` is the home directory:
    published results name no machine's."""
    here, home = str(Path.cwd()), str(Path.home())
    if here != "/":
        text = re.sub(rf"(?<![\w/.-]){re.escape(here)}/", "", text)
    return text if home == "/" else re.sub(rf"(?<![\w/.-]){re.escape(home)}(?![\w.-])", "~", text)


def _copy(source: Path, target: Path) -> None:
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)


def results_shown(text: str) -> list[list[str]]:
    """Returns the tables of a page, each as the list of the results that it shows."""
    return [names.split(" + ") for _, names, _ in TABLE.findall(text)]


def with_table(text: str, name: str, record: Record, folder: Path) -> str:
    """Renews the tables of a page whose marks name this record.

    Args:
        text: text of the page.
        name: name of the record in the marks.
        record: the record.
        folder: folder of the other records that a table shows.

    Returns:
        The text with the new tables.

    Raises:
        InputError: if another record of a table cannot be read, is of another experiment or has other columns.
    """

    def renewed(found: re.Match[str]) -> str:
        names = found[2].split(" + ")
        if name not in names:
            return found[0]
        paths = [(other, folder / f"{other}.json") for other in names]
        there = [(other, path) for other, path in paths if other == name or path.exists()]
        records = [record if other == name else _beside(record, path) for other, path in there]
        return f"{found[1]}{markdown(*records)}\n{found[3]}"

    return TABLE.sub(renewed, text)


def _text(page: Path) -> str:
    """Reads a page.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        return page.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"The page {page} cannot be read ({reason(error)}). Name pages with --pages.") from None


def _beside(record: Record, path: Path) -> Record:
    """Reads the record of another result of the same table.

    Raises:
        InputError: if the file cannot be read, is of another experiment or has other columns.
    """
    try:
        other = read_results(path)
        alike = other.experiment == record.experiment and list(rows_of(other)[0]) == list(rows_of(record)[0])
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
