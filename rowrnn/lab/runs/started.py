"""The command that started a run, and what resumes the run."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from rowrnn.lab.runs.record import Record


@dataclass(frozen=True)
class Started:
    """The command that started a run.

    Args:
        program: its first words, as `("python", "experiments/mnist_rows.py")` or `("rowrnn", "train", "images")`.
        arguments: the others.
        operand: what the help shows behind the program, as "DATA".
    """

    program: tuple[str, ...]
    arguments: tuple[str, ...]
    operand: str = ""

    @classmethod
    def of_process(cls) -> "Started":
        """Returns the command of this process."""
        return cls(("python", sys.argv[0]), tuple(sys.argv[1:]))

    @property
    def name(self) -> str:
        """What messages call the program: the name of its script, or its words."""
        return Path(self.program[-1]).name if self.program[0] == "python" else shlex.join(self.program)

    @property
    def usage(self) -> str:
        """What the help calls the program."""
        return " ".join([shlex.join(self.program), *([self.operand] if self.operand else [])])

    def __str__(self) -> str:
        return shlex.join([*self.program, *self.arguments])


def how_to_resume(directory: Path, record: Record) -> str:
    """Returns what resumes an interrupted run: a shell command, or in words the call that started it.

    Args:
        directory: directory of the run.
        record: its record.
    """
    words = shlex.split(record.entries.get("command", "")) or ["python", f"experiments/{record.experiment}.py"]
    program = words[: len(words) - len(record.arguments or ())]
    if program[0] == "rowrnn" or Path(program[-1]).stem == record.experiment:
        return shlex.join([*program, "--resume", str(directory)])
    # Started by a call in a notebook, a test or another program.
    return f"the same call, with resume=Path({str(directory)!r}) in its TrainingOptions"
