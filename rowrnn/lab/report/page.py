"""The page `report.md` of a run: its table, and its pictures, each with a sentence that says what to look for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rowrnn.atomic_file import whole_file
from rowrnn.lab.report.tables import intervals, markdown
from rowrnn.lab.runs.record import Record

PAGE = "report.md"
Format = Literal["png", "svg", "pdf"]
"""File format of pictures."""
SHOWN = (".png", ".svg", ".gif")  # formats that Markdown shows; others are linked


def write_page(directory: Path, record: Record, pictures: Mapping[Path, str]) -> None:
    """Writes `report.md` to the directory of a run.

    Args:
        directory: directory of the run.
        record: its record.
        pictures: sentence of each picture in the directory.
    """
    with whole_file(directory / PAGE) as path:
        path.write_text(page(record, {path.name: sentence for path, sentence in pictures.items()}), encoding="utf-8")


def page(record: Record, pictures: Mapping[str, str]) -> str:
    """Returns the text of the page.

    Args:
        record: the record.
        pictures: sentence of each picture, by the name of its file.
    """
    about = [f"# {record.experiment}"]
    command = record.entries.get("command")
    if command:
        about.append(f"`{command}`" + (f", started {record.started}." if record.started else ""))
    if not record.finished:
        about.append("The run is not finished.")
    if record.data:
        about.append(f"Data: {record.data.get('name')} ({record.data.get('source', 'source not recorded')}).")
    if record.table is not None:
        about += [markdown(record), *([intervals(record)] if intervals(record) else [])]
    for name, sentence in pictures.items():
        words = Path(name).stem.replace("_", " ")
        shown = f"![{words}]({name})" if Path(name).suffix in SHOWN else f"[{name}]({name})"
        about += [f"## {words.capitalize()}", *([sentence] if sentence else []), shown]
    return "\n\n".join(about) + "\n"
