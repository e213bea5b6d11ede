"""The run of a benchmark: its record, saved as it is measured, and its table."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any, TypeVar

from rich.progress import Progress

from rowrnn.errors import InputError
from rowrnn.lab.experiment.options import check_options
from rowrnn.lab.report.tables import table
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.directory import Run
from rowrnn.lab.runs.process_usage import OthersLoad
from rowrnn.lab.runs.record import Record

T = TypeVar("T")


@dataclass
class Benchmark:
    """A benchmark that is being measured.

    Args:
        run: the directory of its run.
        progress: where its progress is shown.
        record: what has been saved so far.
    """

    run: Run
    progress: Progress
    record: Record

    def track(self, cases: Iterable[T]) -> Iterable[T]:
        """Yields the cases and shows how many are done."""
        return self.progress.track(list(cases), description=self.record.experiment)

    def save(self, **results: Any) -> None:
        """Saves the results so far; `table` is a header and rows as text.

        Raises:
            StorageError: if they cannot be written.
        """
        self.record = Record.of({**self.record.flat(), **results})
        self.run.save(self.record)


@contextmanager
def open_benchmark(
    name: str, protocol: Mapping[str, Any], options: Any, chosen: Mapping[str, bool], **entries: Any
) -> Iterator[Benchmark]:
    """Opens the run of a benchmark, and in the end finishes it and prints its table.

    Args:
        name: name of the script.
        protocol: how the values are obtained, by their names in the record.
        options: options of the script, a frozen dataclass with a field `output`.
        chosen: for each preset, whether it was chosen.
        entries: further entries of the record.

    Raises:
        InputError: if an option is out of its range, or the output directory cannot be written.
        StorageError: if the results cannot be written.
    """
    check_options(options)
    console, others = terminal(), OthersLoad()
    with Run(options.output) as run:
        protocol = {**protocol, **asdict(options), **chosen}
        record = Record.of({"experiment": name, **run.environment(), **entries, "protocol": protocol})
        with Progress(console=console) as progress:
            benchmark = Benchmark(run, progress, record)
            yield benchmark
        benchmark.save(others_load=others.share())
        run.finish(benchmark.record)
        console.print(table(benchmark.record))
        console.print(f"In {run.directory}: {', '.join(run.contents())}.")


def check_installed(option: str, names: Iterable[str]) -> None:
    """Checks that the packages of contenders are installed.

    Args:
        option: the option that the contenders were given to.
        names: names of contenders.

    Raises:
        InputError: naming the first package that is missing.
    """
    for name in names:
        if name in ("torch", "keras") and find_spec(name) is None:
            raise InputError(f"{name} is not installed: pip install 'rowrnn[bench]', or choose others with --{option}.")
