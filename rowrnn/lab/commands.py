"""Commands: `python -m rowrnn runs`, `draw RUN`, `export RUN MODEL FILE` and `publish RUN` on runs, and `native`."""

import sys
from pathlib import Path
from typing import Annotated

import tyro
from tyro.extras import SubcommandApp

from rowrnn.lab.draw import draw
from rowrnn.lab.experiment.command_line import exit_on_error
from rowrnn.lab.experiment.option_checks import KnownNames
from rowrnn.lab.own.command import TASKS, train
from rowrnn.lab.predict.answer import UNSURE_BELOW
from rowrnn.lab.report.publish import pages_of
from rowrnn.lab.report.publish import publish as publish_run
from rowrnn.lab.report.tables import plain_table, table
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.kept_models import export_kept
from rowrnn.lab.runs.overview import overview
from rowrnn.lab.runs.record import load_run
from rowrnn.recurrence import native_library

app = SubcommandApp()


@app.command(name="runs")
def list_runs(folder: tyro.conf.Positional[Path] = Path("runs")) -> None:
    """Lists the runs in a folder: state, accuracy, age, and how to resume or redraw them.

    Args:
        folder: where the directories of runs lie.
    """
    rows, interrupted = overview(folder)
    terminal().print(plain_table(rows))
    for again in interrupted:
        print(f"Go on with: {again}")
    print("Draw a run again with: python -m rowrnn draw RUN")


@app.command(name="draw")
def draw_run(run: tyro.conf.Positional[Path]) -> None:
    """Prints the table and draws the pictures of a run again, without training.

    Of a study that stands outside of rowrnn it draws the learning curves only: rowrnn.lab.draw.draw(run, pictures)
    draws its own pictures too.

    Args:
        run: directory of the run.
    """
    record, _ = load_run(run)
    if record.table is not None:
        terminal().print(table(record))
    for picture in draw(run):
        print(picture)


@app.command(name="train")
def train_model(task: tyro.conf.Positional[Annotated[str, KnownNames(TASKS)]], data: tyro.conf.Positional[str]) -> None:
    """Trains a model on own data; `rowrnn train TASK --help` lists the options of a task.

    Args:
        task: images (tell classes apart), lines (read text), clips (tell classes apart) or captions (describe images).
        data: a folder or file of own data, as the page Data describes.
    """
    train(task, [data])


@app.command
def predict(
    model: tyro.conf.Positional[str],
    files: tyro.conf.Positional[tuple[str, ...]],
    name: str | None = None,
    seed: int = 0,
    json: Path | None = None,
    csv: Path | None = None,
    draw: Path | None = None,
    unsure_below: float = UNSURE_BELOW,
) -> None:
    """Asks a trained model about files, and prints a table of its answers.

    Args:
        model: the directory of a run, the file of a model, or the name of a bundled one.
        files: files, folders, patterns as "scans/*.png", or - for standard input.
        name: name of the model, where a run keeps several, as "Row LSTM".
        seed: which of the run's seeds, from 0.
        json: write the answers there, a JSON object a line; - for the standard output, instead of the table.
        csv: write the answers there as CSV; - for the standard output, instead of the table.
        draw: write a picture for each answer to this folder.
        unsure_below: answers with a lower probability are marked as unsure.
    """
    from rowrnn.lab.predict.command import Wish, tell  # Imported only where used.

    tell(model, files, Wish(name, seed, json, csv, draw, unsure_below))


@app.command(name="export")
def export_model(
    run: tyro.conf.Positional[Path], model: tyro.conf.Positional[str], file: tyro.conf.Positional[Path], seed: int = 0
) -> None:
    """Writes a trained model of a run as one file that runs without rowrnn: jax.export.deserialize(...).call(images).

    Args:
        run: directory of the run.
        model: name of the model, as "Row LSTM".
        file: where to write.
        seed: which of the run's seeds, from 0.
    """
    export_kept(run, model, file, seed)
    print(f"{file}: {file.stat().st_size:,} bytes. Run it with jax.export.deserialize(bytearray(data)).call(images).")


@app.command
def publish(
    run: tyro.conf.Positional[Path],
    name: str | None = None,
    pages: tuple[Path, ...] = (),
    folder: Path = Path("results"),
) -> None:
    """Copies a finished run to the committed results and renews its table on the pages that show it.

    Args:
        run: directory of the run.
        name: name of the copies and of the table on the pages; the experiment's where not given.
        pages: files whose tables are renewed; README.md and all of docs/ where not given.
        folder: where the committed results lie.
    """
    publish_run(run, pages or pages_of(Path()), folder, name)


@app.command(name="native")
def compile_native() -> None:
    """Compiles LSTM and GRU for this CPU, if that is not done yet; otherwise the first scan does it."""
    print(native_library.status())


def main() -> None:
    """Runs the command that the command line names; errors end it with their message and exit code."""
    if sys.argv[1:2] == ["train"] and set(sys.argv[2:3]) <= set(TASKS) and len(sys.argv) > 2:
        train(sys.argv[2], sys.argv[3:])  # Its options are those of the task.
        return
    with exit_on_error("rowrnn"):
        app.cli(prog="python -m rowrnn")
