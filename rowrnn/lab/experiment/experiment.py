"""An experiment under way: what all of them do from the first line of the record to the last picture."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx
from jaxtyping import ArrayLike

from rowrnn.lab.data import Dataset
from rowrnn.lab.experiment.live_table import LiveTable, terminal
from rowrnn.lab.experiment.model_trial import Trial, run_trial
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.tables import table
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.kept_models import apply, keep_model
from rowrnn.lab.runs.process_usage import peak_memory

Tabulate = Callable[[Mapping[str, Any]], list[list[str]]]


class Experiment(NamedTuple):
    """What an experiment works with while it trains one model after the other.

    Args:
        options: how it was started.
        run: its directory.
        live: the table of the trainings.
        results: its record, with a line of `summary` and an entry of `curves` for each model.
        arrays: what pictures need beside the record, those of a model named `MODEL/ARRAY`.
        tabulate: the record to its table, a header and rows; None for the table of `rowrnn.lab.report.tables`.
    """

    options: TrainingOptions
    run: Run
    live: LiveTable
    results: dict[str, Any]
    arrays: dict[str, ArrayLike]
    tabulate: Tabulate | None

    def train(
        self,
        title: str,
        build: Callable[[nnx.Rngs], Any],
        task: Task,
        *,
        about: Mapping[str, Any] | None = None,
    ) -> Trial:
        """Trains all seeds of a model as the options ask; arguments and errors as of `run_trial`."""
        return run_trial(title, build, task, self.options, self.run, self.live, about=about)

    def add(
        self,
        trial: Trial,
        arrays: Mapping[str, ArrayLike] | None = None,
        *,
        examples: Sequence[Any] = (),
        call: Callable[..., Any] = apply,
    ) -> None:
        """Saves what came of a model.

        Args:
            trial: its training, with its scores in its row.
            arrays: what its pictures need, by name.
            examples: arrays that the model is called with, the first axis of each the batch; where given, the model is
                kept as a program (`rowrnn.lab.runs.kept_models.keep_model`).
            call: as `keep_model` takes it.

        Raises:
            StorageError: if the disk is full.
        """
        title = trial.row["model"]
        self.results["summary"].append(trial.row)
        self.results["curves"][title] = trial.curve
        if self.tabulate:
            self.results["table"] = self.tabulate(self.results)
        self.results["peak_memory_mib"] = peak_memory() / 2**20
        self.arrays.update({f"{title}/{name}": array for name, array in (arrays or {}).items()})
        if examples:
            keep_model(self.run.directory, title, trial.models, *examples, call=call)
        self.run.save(self.results, self.arrays)


@contextmanager
def started(
    name: str,
    options: TrainingOptions,
    data: Dataset,
    protocol: Mapping[str, str],
    tabulate: Tabulate | None = None,
    **entries: Any,
) -> Iterator[Experiment]:
    """An experiment in a run of its own; behind it the table is printed and the pictures are drawn.

    Args:
        name: name of its script.
        options: how it was started.
        data: what it trains on.
        protocol: how its figures come about, by the names of the record.
        tabulate: the record to its table, where it is not that of `rowrnn.lab.report.tables`.
        entries: further entries of the record.

    Raises:
        InputError: if the output directory cannot be written, or there is nothing to resume in it.
        StorageError: if the disk is full.
    """
    console, output = terminal(), options.output or Path("runs") / name
    with Run(output, resume=options.resume is not None, tensorboard=options.tensorboard) as run:
        results: dict[str, Any] = {
            "experiment": name,
            **run.environment(),
            "data": data.describe(),
            "protocol": {**protocol, **dataclasses.asdict(options)},
            **entries,
            "summary": [],
            "curves": {},
        }
        arrays: dict[str, ArrayLike] = {}
        run.begin(results)
        with LiveTable(console, options.epochs) as live:
            yield Experiment(options, run, live, results, arrays, tabulate)
        run.finish(results, arrays)
        console.print(table(results))
        for row in results["summary"]:
            console.print(f"{row['model']}: {row['computed_by']}; devices: {row['devices']}.")
        from rowrnn.lab.draw import draw  # Matplotlib takes long to import: not before training.

        draw(run.directory)
        console.print(f"In {run.directory}: {', '.join(run.contents())}.")
