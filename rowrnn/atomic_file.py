"""Atomic file writes: a file appears under its name only when it is complete."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Writes a file atomically.

    Yields a temporary path beside `path`. It is renamed to `path` on success and deleted after an exception.

    Args:
        path: final name of the file.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
