"""The terminal that scripts print to."""

import codecs
import io
import os
import sys

from rich.console import Console

FAILING = ("strict", "surrogateescape")  # handlers that raise for "±"; the second is that of the C locale
IN_ASCII = {"±": "+-", "…": "..."}


def terminal() -> Console:
    """Returns the console that scripts print to: as wide as the terminal or COLUMNS, or 130 columns for a file.

    Characters that the output cannot encode are replaced by ASCII, so that a table prints in any locale.
    """
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors in FAILING:
        sys.stdout.reconfigure(errors="rowrnn.ascii")
    return Console(width=None if sys.stdout.isatty() or os.environ.get("COLUMNS") else 130)


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(IN_ASCII.get(letter, "?") for letter in error.object[error.start : error.end]), error.end


codecs.register_error("rowrnn.ascii", _in_ascii)
