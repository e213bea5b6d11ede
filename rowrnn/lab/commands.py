"""The commands of `rowrnn`."""

import os
import sys
from json import dumps as to_text
from pathlib import Path
from typing import Annotated

import tyro
from tyro.extras import SubcommandApp

from rowrnn.errors import InputError
from rowrnn.lab.experiment.command_line import exit_on_error
from rowrnn.lab.experiment.option_checks import KnownNames, did_you_mean
from rowrnn.lab.own.command import TASKS, train
from rowrnn.lab.predict.answer import UNSURE_BELOW
from rowrnn.lab.report.comparison import MODEL_WORDS, compare_runs, draw_curves, read_named
from rowrnn.lab.report.overview import WORDS, Order, State, as_json, find_runs, overview
from rowrnn.lab.report.page import PAGE, Format
from rowrnn.lab.report.publish import pages_of
from rowrnn.lab.report.publish import publish as publish_run
from rowrnn.lab.report.tables import plain_table, table
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.kept_models import about_program, export_kept
from rowrnn.lab.runs.record import load_run
from rowrnn.machine import native_library
from rowrnn.saving.model_file import bundled

SCORES = "Mean over seeds, ± its 95 % interval where there are several; of the test set unless it says validation."

Model = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="MODEL")]

app = SubcommandApp()
COMMANDS = ("train", "predict", "models", "runs", "compare", "draw", "export", "page", "publish", "native")


@app.command(name="runs")
def list_runs(
    folder: tyro.conf.Positional[Path] = Path("runs"),
    experiment: str | None = None,
    state: State | None = None,
    model: str = "",
    sort: Order = "started",
    json: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Lists the models of all runs in a folder: score, options, state, age, and how to resume or redraw the runs.

    Args:
        folder: where the directories of runs lie.
        experiment: only runs of this experiment.
        state: only runs in this state.
        model: only models whose title contains this.
        sort: the newest run first, by the name of the run or the experiment, or the best first.
        json: print JSON, with the value of every seed.
    """
    runs = find_runs(folder, experiment=experiment, state=state, model=model, sort=sort)
    if json:
        print(to_text(as_json(runs, model), indent=1))
        return
    terminal().print(plain_table(overview(runs, model), SCORES, words=WORDS, padding=1))
    for run in runs:
        if run.resumed_by():
            print(f"Go on with: {run.resumed_by()}")
    print("Compare runs with: rowrnn compare RUN RUN, draw one again with: rowrnn draw RUN")


@app.command
def compare(
    runs: tyro.conf.Positional[tuple[Path, ...]],
    score: str | None = None,
    draw: Path | None = None,
    json: tyro.conf.FlagCreatePairsOff[bool] = False,
) -> None:
    """Compares runs: all models in one table with their differences, and what differs in options and versions.

    Args:
        runs: directories of the runs, or their files results.json; the first is what the others are compared with.
        score: name of the score in the records; the first of the test set where not given.
        draw: picture of the learning curves to write, PNG, SVG or PDF.
        json: print JSON.
    """
    comparison = compare_runs([read_named(path) for path in runs], score)
    if draw is not None:
        draw_curves(comparison, draw)
    if json:
        print(to_text(comparison.as_json(), indent=1))
        return
    out = terminal()
    out.print(plain_table(comparison.models(), comparison.caption(), words=MODEL_WORDS, padding=1))
    differences = comparison.differences()
    if len(differences) > 1:
        out.print(plain_table(differences, words=differences[0], padding=1))
    elif len(runs) > 1:
        print("The runs have the same options, data and versions.")
    if draw is not None:
        print(draw)


@app.command(name="draw")
def draw_run(run: tyro.conf.Positional[Path], format: Format = "png") -> None:
    """Prints the table and draws the pictures of a run again, without training, and writes its report.md.

    Of a study that stands outside of rowrnn it draws the learning curves only: rowrnn.lab.draw.draw(run, pictures)
    draws its own pictures too.

    Args:
        run: directory of the run.
        format: file format of the pictures.
    """
    from rowrnn.lab.draw import draw  # Imported where used: Matplotlib takes long.

    record, _ = load_run(run)
    if record.table is not None:
        terminal().print(table(record))
    for picture in draw(run, format=format):
        print(picture)
    print(run / PAGE)


@app.command(name="train")
def train_model(
    task: Annotated[tyro.conf.Positional[str], KnownNames(TASKS), tyro.conf.arg(metavar="TASK")],
    data: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="DATA")],
) -> None:
    """Trains a model on own data; `rowrnn train TASK --help` lists the options of a task.

    Args:
        task: images or clips (tell classes apart), lines (read text), captions (describe images), boxes (find
            objects), masks (paint them), frames (what comes next in a film), text (go on writing), series (forecast a
            table over time).
        data: a folder or file of own data, as the page Data describes.
    """
    train(task, [data])


@app.command
def predict(
    model: Model,
    files: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FILES…")],
    name: str | None = None,
    seed: int = 0,
    json: Path | None = None,
    csv: Path | None = None,
    draw: Path | None = None,
    unsure_below: float = UNSURE_BELOW,
    length: int | None = None,
    temperature: float | None = None,
) -> None:
    """Asks a trained model about files, and prints a table of its answers; exits with 1 if a file has none.

    Args:
        model: the directory of a run, the file of a model, or the name of a bundled one.
        files: files, folders, patterns as "scans/*.png", or - for standard input.
        name: name of the model, where a run keeps several, as "Row LSTM".
        seed: which of the run's seeds, from 0.
        json: write the answers there, a JSON object a line; - for the standard output, instead of the table.
        csv: write the answers there as CSV; - for the standard output, instead of the table.
        draw: write a picture for each answer to this folder.
        unsure_below: answers with a lower probability are marked as unsure.
        length: of a language model: characters or words that a text goes on for, 500 where not given.
        temperature: of a language model: below 1 it writes what is probable, at 0 the most probable; 0.8 where
            not given.
    """
    from rowrnn.lab.predict.command import Wish, tell  # Imported only where used.

    answers = tell(model, files, Wish(name, seed, json, csv, draw, unsure_below, length, temperature))
    if any(answer.error for answer in answers):
        sys.exit(1)


@app.command(name="models")
def list_models() -> None:
    """Lists the models that come with rowrnn: task, data, score, licence and use."""
    rows = [["name", "task", "trained on", "scores", "parameters", "licence", "for"]]
    for name, card in bundled().items():
        scores = ", ".join(
            f"{score.replace('_', ' ')} {value:.4g}" for score, value in card.scores.items() if isinstance(value, float)
        )
        parameters = f"{card.parameters:,}" if card.parameters else ""
        rows.append([name, card.task, card.data, scores, parameters, card.licence, card.intended_use])
    terminal().print(plain_table(rows, words=("trained on", "scores", "for")))


@app.command(name="export")
def export_model(
    model: Model,
    file: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FILE")],
    name: str | None = None,
    seed: int = 0,
) -> None:
    """Writes a trained model as one file that runs without rowrnn: jax.export.deserialize(...).call(images).

    What it takes and gives is printed.

    Args:
        model: the directory of a run, the file of a model, or the name of a bundled one.
        file: where to write.
        name: name of the model, where a run keeps several, as "Row LSTM".
        seed: which of the run's seeds, from 0.
    """
    exported, card = export_kept(model, name, file, seed)
    print(f"{file}: {file.stat().st_size:,} bytes. Run it with jax.export.deserialize(bytearray(data)).call(images).")
    for sentence in about_program(exported, card):
        print(sentence)


@app.command(name="page")
def write_page(
    model: Model,
    out: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="OUT.html")],
    beside: tuple[str, ...] = (),
    name: tuple[str, ...] = (),
    seed: int = 0,
    examples: tuple[str, ...] = (),
) -> None:
    """Writes a page on which one draws and watches a model read: its gates, its state and its answer, row by row.

    It is one file, opens without a server or a network, and is for classifiers that read the rows of pictures, and for
    readers of lines.

    Args:
        model: the directory of a run, the file of a model, or the name of a bundled one.
        out: where to write.
        beside: further models that read the same drawing, as a GRU beside an LSTM.
        name: names of models, where a run keeps several, as "Row LSTM" "Row GRU".
        seed: which of the run's seeds, from 0.
        examples: pictures to choose from; ten digits where not given and the model reads digits.
    """
    from rowrnn.lab.page import writing  # Imported only where used.

    print(writing.write_page(out, (model, *beside), names=name, seed=seed, examples=examples))


@app.command
def publish(
    run: tyro.conf.Positional[Path],
    name: str | None = None,
    pages: tuple[Path, ...] = (),
    folder: Path = Path("results"),
    busy: bool = False,
) -> None:
    """Copies a finished run to the committed results and renews its table on the pages that show it.

    Args:
        run: directory of the run.
        name: name of the copies and of the table on the pages; the experiment's where not given.
        pages: files whose tables are renewed; README.md and all of docs/ where not given.
        folder: where the committed results lie.
        busy: publish times although other processes kept the machine busy; the page says so.
    """
    publish_run(run, pages or pages_of(Path()), folder, name, busy=busy)


@app.command(name="native")
def compile_native() -> None:
    """Compiles gated cells and convolutions for this CPU, if that is not done yet; otherwise the first scan does it."""
    print(native_library.status())


def main() -> None:
    """Runs the command that the command line names; errors end it with their message and exit code."""
    with exit_on_error("rowrnn"):
        if sys.argv[1:2] == ["train"] and sys.argv[2:3] and not sys.argv[2].startswith("-"):
            train(sys.argv[2], sys.argv[3:])  # Its options are those of the task.
            return
        if sys.argv[1:] and not sys.argv[1].startswith("-") and sys.argv[1] not in COMMANDS:
            meant = did_you_mean(sys.argv[1], COMMANDS)
            raise InputError(f"There is no command {sys.argv[1]!r}. {meant}The commands are {', '.join(COMMANDS)}.")
        try:
            app.cli(prog="rowrnn")
            sys.stdout.flush()
        except BrokenPipeError:  # of whoever reads the first lines only, as head
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
