"""The live table of a training: one row for each model, renewed after every epoch."""

from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

COLUMNS = ("model", "parameters", "epoch", "loss", "validation", "examples/s", "time left")


class LiveTable:
    """A live table of the models in training; a context manager.

    On a terminal it is one table that renews itself; elsewhere, as in a log file, every line is printed once.

    Args:
        console: where to draw.
        epochs: most epochs of each model.
        patience: epochs without a better score, after which a training ends; None if it never ends early.
    """

    def __init__(self, console: Console, epochs: int, patience: int | None = None) -> None:
        self._console = console
        self._epochs, self._patience = epochs, patience
        self._rows: dict[str, tuple[str, ...]] = {}
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> "LiveTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def compiling(self, model: str, parameters: int) -> None:
        """Shows a model whose training is being compiled."""
        self._show(model, f"{parameters:,}", "compiling, up to minutes", "", "", "", "")

    def epoch(
        self, model: str, parameters: int, number: int, loss: float, validation: str, examples: int, seconds: float
    ) -> None:
        """Shows the results of an epoch.

        Args:
            model: name of the model.
            parameters: number of its parameters.
            number: number of the epoch, from 1.
            loss: mean training loss.
            validation: name of the validation score and its mean, formatted.
            examples: number of examples trained on, over all seeds.
            seconds: duration of the epoch.
        """
        left = seconds * (self._epochs - number)
        most = "" if self._patience is None else "at most "
        self._show(
            model,
            f"{parameters:,}",
            f"{number}/{self._epochs}",
            f"{loss:.4f}",
            validation,
            f"{examples / seconds:,.0f}",
            f"{most}{int(left // 60)}:{int(left % 60):02}",
        )

    def ended(self, model: str, number: int) -> None:
        """Says that a training ended early, since no later epoch was better.

        Args:
            model: name of the model.
            number: number of its last epoch.
        """
        self._console.print(
            f"{model}: ended after epoch {number} of {self._epochs}, since the validation score had not improved for "
            f"{self._patience} epochs (--patience).",
            markup=False,
            highlight=False,
        )

    def _show(self, *row: str) -> None:
        self._rows[row[0]] = row
        if self._console.is_terminal:
            table = Table(*COLUMNS)
            for cells in self._rows.values():
                table.add_row(*cells)
            self._live.update(table, refresh=True)
        else:
            cells = (f"{name} {cell}" for name, cell in zip(COLUMNS, row, strict=True) if cell)
            self._console.print("  ".join(cells), soft_wrap=True)
