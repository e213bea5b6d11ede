"""A study, one question asked of several models trained alike, and the function that runs it."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from jaxtyping import ArrayLike

from rowrnn.errors import InputError
from rowrnn.lab.devices.compiled_programs import keep_compiled_programs
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.generation_cost import generation_share
from rowrnn.lab.experiment.live_table import LiveTable
from rowrnn.lab.experiment.model_trial import PROTOCOL, train_contender
from rowrnn.lab.experiment.options import (
    TrainingOptions,
    check_as_started,
    check_options,
    check_same_data,
    values_by_name,
)
from rowrnn.lab.report.columns import MEMORY, PARAMETERS, SECONDS, WIDTH, Column, model_table
from rowrnn.lab.report.scores import main_score
from rowrnn.lab.report.tables import table
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.file_names import file_name
from rowrnn.lab.runs.kept_models import keep_model
from rowrnn.lab.runs.process_usage import peak_memory
from rowrnn.lab.runs.record import Record
from rowrnn.lab.runs.started import Started
from rowrnn.saving.card import Card

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
        data: what `load` returned, by default a `rowrnn.lab.Dataset`; it has a method `describe`.
    """

    name: ClassVar[str]
    """Name of the script and of the experiment in the record, which selects the figures in `rowrnn.lab.draw`."""
    protocol: ClassVar[Mapping[str, str]]
    """How the values specific to this study are obtained, by their names in the record."""
    columns: ClassVar[Sequence[Column]] = (PARAMETERS,)
    """Columns of its table, beside the name of the model."""
    heading: ClassVar[str] = "model"
    """Heading of the first column of its table."""

    def __init__(self, options: Options, data: Any) -> None:
        self.options = options
        self.data = data

    @classmethod
    def load(cls, options: Any) -> Any:
        """Loads the data that the options name; by default images with classes.

        Raises:
            InputError: if it is unknown, cannot be read, or is of another kind.
        """
        return options.training.load()

    @classmethod
    def check(cls, options: Options) -> None:
        """Checks options beyond the ranges in their types, before the data is loaded.

        Raises:
            InputError: if they do not fit.
        """

    @abstractmethod
    def contenders(self) -> Sequence[Contender]:
        """Returns the models that compete, in the order of their training."""

    @abstractmethod
    def examine(self, trial: Trial) -> Examined:
        """Examines a trained model."""

    def training(self) -> TrainingOptions:
        """Returns the training options, which may follow from the data too; by default those given."""
        options: Any = self.options
        return options.training

    def card(self, trial: Trial) -> Card | None:
        """Returns the card of a trained model, which says what was done to its inputs; by default there is none."""
        del trial
        return None

    def setting(self) -> Setting:
        """Returns the record entries and arrays that all models share; called once the widths are known."""
        return Setting()

    def table(self, record: Record) -> list[list[str]]:
        """Returns a header and rows as text."""
        return model_table(self.heading, record.summary, self.columns)

    def pictures(self, record: Record, arrays: Mapping[str, ArrayLike]) -> Mapping[str, Any]:
        """Returns Matplotlib figures by the names of their files, beside the learning curves."""
        from rowrnn.lab.draw import PICTURES  # Imported where used: Matplotlib takes long.

        return PICTURES[self.name](record, arrays) if self.name in PICTURES else {}


def run(
    study: type[Study[Options]],
    options_class: type[Options],
    presets: Mapping[str, Mapping[str, Any]],
    started: Started | None = None,
) -> None:
    """Runs a study from the command line; errors end it with their message and exit code.

    Args:
        study: the study.
        options_class: its options, a frozen dataclass.
        presets: option values of each preset; an option given beside a preset wins.
        started: the command line; that of the process where not given.
    """
    main = partial(run_study, study, started=started)
    run_experiment(options_class, main, presets, name=study.name, started=started)


def run_study(
    study: type[Study[Any]],
    options: Any,
    chosen: Mapping[str, bool] | None = None,
    *,
    started: Started | None = None,
) -> Path:
    """Loads the data, trains and examines each contender, saves the results, prints the table and draws the figures.

    Args:
        study: the study.
        options: the options of the study.
        chosen: for each preset, whether it was chosen; recorded in the protocol.
        started: the command that started it; that of the process where not given.

    Returns:
        The directory of the run, which `rowrnn.lab.runs.record.load_run` reads; in a process that is not the first of
        several, a temporary one that is removed.

    Raises:
        InputError: if an option is out of range, does not fit the data or differs from that of the run to resume, as
            the data may, no width meets a budget, two contenders have one title, the output directory cannot be
            written, or there is no run to resume.
        TypeError: if the study's `examine` does not return `Examined`.
        FloatingPointError: if a loss, a gradient or a weight is not finite.
        StorageError: if a checkpoint or the results cannot be written.
        Stopped: on Ctrl-C or SIGTERM, after the training is saved.
    """
    check_options(options)
    study.check(options)
    training: TrainingOptions = options.training
    if training.resume is not None:
        check_as_started(training.resume, study.name, options)
    training.join()
    keep_compiled_programs()
    asked = study(options, study.load(options))
    if training.resume is not None:
        check_same_data(training.resume, asked.data)
    training = asked.training()
    contenders = [(contender, contender.solve()) for contender in distinct(asked.contenders())]
    setting = Setting() if training.choose else asked.setting()
    console = terminal()
    output = training.resume or training.output or Path("runs") / asked.name
    resume, tensorboard = training.resume is not None, training.tensorboard
    with Run(output, resume=resume, tensorboard=tensorboard, started=started) as run:
        protocol = {**PROTOCOL, **protocol_of(asked, training), **values_by_name(options), **(chosen or {})}
        entries = {**run.environment(), **setting.entries}
        record = Record.of({"experiment": asked.name, "data": asked.data.describe(), "protocol": protocol, **entries})
        record, arrays = run.begin(record, setting.arrays)
        with LiveTable(console, training.epochs, training.patience) as live:
            for contender, width in contenders:
                trial = train_contender(contender, width, training, run, live)
                title, table_of = contender.title, choice_table if training.choose else asked.table
                examined = Examined() if training.choose else with_generation_share(asked, trial)
                record = extended(record, trial, examined)
                record = record.replace(table=table_of(record))
                arrays |= {f"{title}/{name}": array for name, array in examined.arrays.items()}
                if examined.examples:
                    card = with_scores(asked.card(trial), examined)
                    keep_model(run.directory, title, trial.models, *examined.examples, call=examined.call, card=card)
                run.save(record, arrays)
        run.finish(record, arrays)
        console.print(table(record))
        for row in record.summary:
            console.print(f"Backend of {row['model']}: {row['computed_by']}.", markup=False, highlight=False)
        from rowrnn.lab.draw import draw  # Imported after training: Matplotlib takes long.

        draw(run.directory, None if training.choose else asked.pictures, training.format)
        console.print(f"In {run.directory}: {', '.join(run.contents())}.")
    return run.directory


def distinct(contenders: Sequence[Contender]) -> Sequence[Contender]:
    """Returns the contenders if each has a title of its own, also as a file name.

    Raises:
        InputError: if two have the same, since the checkpoints of one would be taken for those of the other.
    """
    names = [file_name(contender.title) for contender in contenders]
    for contender, name in zip(contenders, names, strict=True):
        if names.count(name) > 1:
            raise InputError(
                f"Two models have files named {name!r}, one of them {contender.title!r}: give each contender a title "
                "that differs in its letters or digits."
            )
    return contenders


def protocol_of(study: Study[Any], training: TrainingOptions) -> dict[str, Any]:
    """Returns what the record says of a study: how its values are obtained, and what differs from the options."""
    known = {"validation"} if training.choose else study.protocol
    values = {name: words for name, words in study.protocol.items() if name in known}
    given = study.options.training
    if (training.batch, training.passes) != (given.batch, given.passes):
        values["trained_with"] = f"batches of {training.batch}, {training.passes} passes an epoch"
    return values


def with_generation_share(study: Study[Any], trial: Trial) -> Examined:
    """Examines a model, and measures the share of the training time that generating its examples takes.

    Raises:
        TypeError: if `examine` does not return `Examined`.
    """
    share = {}
    if trial.contender.generate is not None:
        share["generation_share"] = generation_share(trial, study.options.training)
    examined = study.examine(trial)
    if not isinstance(examined, Examined):
        raise TypeError(
            f"{type(study).__name__}.examine returned {type(examined).__name__}; expected lab.Examined: return "
            "lab.Examined(scores)."
        )
    return dataclasses.replace(examined, scores={**share, **examined.scores})


def choice_table(record: Record) -> list[list[str]]:
    """Returns a header and rows as text, of models that were scored on the validation set alone."""
    scores = [main_score(row) for row in record.summary]
    heading = scores[0].heading if scores and scores[0] else "validation"
    columns: list[Column] = [
        (heading, lambda row: str(main_score(row))),
        ("best epoch", lambda row: ", ".join(map(str, row["best_epoch"]))),
    ]
    return model_table(Study.heading, record.summary, [*columns, PARAMETERS, WIDTH, SECONDS, MEMORY])


def with_scores(card: Card | None, examined: Examined) -> Card | None:
    """Returns the card with the mean of each score over the seeds."""
    if card is None:
        return None
    intervals = {name: score for name, score in examined.scores.items() if isinstance(score, dict)}
    means = {name: score["mean"] for name, score in intervals.items() if "mean" in score}
    return dataclasses.replace(card, scores=means)


def extended(record: Record, trial: Trial, examined: Examined) -> Record:
    """Returns the record with the results of a model, in place of those that it had before an interruption."""
    row = dataclasses.replace(trial.row, entries={**trial.row.entries, **examined.scores})
    rows = {earlier["model"]: earlier for earlier in record.summary} | {row.model: row.flat()}
    return record.replace(
        summary=list(rows.values()),
        curves={**record.curves, row.model: trial.curve},
        # The first model's value: the others are built in a process that has warmed up.
        entries={
            "seconds_to_first_step": trial.seconds_to_first_step,
            **record.entries,
            "peak_memory_mib": peak_memory() / 2**20,
        },
    )
