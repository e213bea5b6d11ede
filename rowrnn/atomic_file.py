"""Atomic file writes: a file appears under its name only when it is complete."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Writes a file atomically.

    Yields a temporary path beside `path`. It is renamed to `path` on success, once its bytes are on the disk, and
    deleted after an exception. A file must have one writer at a time. Its mode is that of any new file, by the umask.

    Args:
        path: final name of the file.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)  # Left behind by a process that was killed.
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)  # Some libraries replace the file by one that only its owner can read.
        with partial.open("rb+") as file:  # Windows flushes only what may be written.
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
