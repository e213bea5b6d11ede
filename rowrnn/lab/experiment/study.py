"""A study, one question asked of several models trained alike, and the function that runs it."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from jaxtyping import ArrayLike

from rowrnn.lab.data import Dataset
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.generation_cost import generation_share
from rowrnn.lab.experiment.live_table import LiveTable
from rowrnn.lab.experiment.model_trial import PROTOCOL, train_contender
from rowrnn.lab.experiment.options import TrainingOptions, check_options, values_by_name
from rowrnn.lab.report.columns import PARAMETERS, Column, model_table
from rowrnn.lab.report.tables import table
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.kept_models import keep_model
from rowrnn.lab.runs.process_usage import peak_memory
from rowrnn.lab.runs.record import Record

Options = TypeVar("Options")


@dataclass(frozen=True)
class Setting:
    """Record entries and arrays that all models of a study share.

    Args:
        entries: further entries of the record.
        arrays: arrays for figures, beside those of each model.
    """

    entries: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, ArrayLike] = field(default_factory=dict)


class Study(ABC, Generic[Options]):
    """One question: the models that compete, their task, and how a trained model is examined.

    Args:
        options: a frozen dataclass with a field `training`, a `Group` of `TrainingOptions`.
        data: the data set that the options name.
    """

    name: ClassVar[str]
    """Name of the script and of the experiment in the record, which selects the figures in `rowrnn.lab.draw`."""
    protocol: ClassVar[Mapping[str, str]]
    """How the values specific to this study are obtained, by their names in the record."""
    columns: ClassVar[Sequence[Column]] = (PARAMETERS,)
    """Columns of its table, beside the name of the model."""
    heading: ClassVar[str] = "model"
    """Heading of the first column of its table."""

    def __init__(self, options: Options, data: Dataset) -> None:
        self.options = options
        self.data = data

    @abstractmethod
    def contenders(self) -> Sequence[Contender]:
        """Returns the models that compete, in the order of their training."""

    @abstractmethod
    def examine(self, trial: Trial) -> Examined:
        """Examines a trained model."""

    def setting(self) -> Setting:
        """Returns the record entries and arrays that all models share."""
        return Setting()

    def table(self, record: Record) -> list[list[str]]:
        """Returns a header and rows as text."""
        return model_table(self.heading, record.summary, self.columns)


def run(study: type[Study[Options]], options_class: type[Options], presets: Mapping[str, Mapping[str, Any]]) -> None:
    """Runs a study from the command line; errors end it with their message and exit code.

    Args:
        study: the study.
        options_class: its options, a frozen dataclass.
        presets: option values of each preset; an option given beside a preset wins.
    """
    run_experiment(options_class, partial(run_study, study), presets)


def run_study(
    study: Callable[[Any, Dataset], Study[Any]], options: Any, chosen: Mapping[str, bool] | None = None
) -> None:
    """Loads the data, trains and examines each contender, saves the results, prints the table and draws the figures.

    Args:
        study: function of options and data to a study.
        options: the options of the study.
        chosen: for each preset, whether it was chosen; recorded in the protocol.

    Raises:
        InputError: if an option is out of range or does not fit the data, no width meets a budget, the output directory
            cannot be written, or it holds no run to resume.
        FloatingPointError: if a loss, a gradient or a weight is not finite.
        StorageError: if a checkpoint or the results cannot be written.
        Stopped: on Ctrl-C or SIGTERM, after the training is saved.
    """
    check_options(options)
    training: TrainingOptions = options.training
    asked = study(options, training.load())
    contenders = [(contender, contender.solve()) for contender in asked.contenders()]
    setting = asked.setting()
    console, arrays = terminal(), dict(setting.arrays)
    output, resume = training.output or Path("runs") / asked.name, training.resume is not None
    with Run(output, resume=resume, tensorboard=training.tensorboard) as run:
        protocol = {**PROTOCOL, **asked.protocol, **values_by_name(options), **(chosen or {})}
        entries = {**run.environment(), **setting.entries}
        record = Record.of({"experiment": asked.name, "data": asked.data.describe(), "protocol": protocol, **entries})
        run.begin(record)
        with LiveTable(console, training.epochs) as live:
            for contender, width in contenders:
                trial = train_contender(contender, width, training, run, live)
                examined, title = examine(asked, trial), contender.title
                record = extended(record, trial, examined)
                record = record.replace(table=asked.table(record))
                arrays |= {f"{title}/{name}": array for name, array in examined.arrays.items()}
                if examined.examples:
                    keep_model(run.directory, title, trial.models, *examined.examples, call=examined.call)
                run.save(record, arrays)
        run.finish(record, arrays)
        console.print(table(record))
        for row in record.summary:
            console.print(f"{row['model']}: {row['computed_by']}; devices: {row['devices']}.")
        from rowrnn.lab.draw import draw  # Imported after training: Matplotlib takes long.

        draw(run.directory)
        console.print(f"In {run.directory}: {', '.join(run.contents())}.")


def examine(study: Study[Any], trial: Trial) -> Examined:
    """Examines a model, and measures the share of the training time that generating its examples takes."""
    share = {}
    if trial.contender.generate is not None:
        share["generation_share"] = generation_share(trial, study.options.training)
    examined = study.examine(trial)
    return dataclasses.replace(examined, scores={**share, **examined.scores})


def extended(record: Record, trial: Trial, examined: Examined) -> Record:
    """Returns the record with the results of one more model."""
    row = dataclasses.replace(trial.row, entries={**trial.row.entries, **examined.scores})
    return record.replace(
        summary=[*record.summary, row.flat()],
        curves={**record.curves, row.model: trial.curve},
        # The first model's value: the others are built in a process that has warmed up.
        entries={
            "seconds_to_first_step": trial.seconds_to_first_step,
            **record.entries,
            "peak_memory_mib": peak_memory() / 2**20,
        },
    )
