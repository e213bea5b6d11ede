"""The directory of what is kept from one process to the next: the compiled library, programs, decoded pictures."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """Returns `$XDG_CACHE_HOME/rowrnn`, else `~/.cache/rowrnn`.

    Raises:
        RuntimeError: if there is no home directory.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rowrnn"
