"""TensorFlow Datasets without its banners and warnings: what matters is raised."""

import contextlib
import io
import logging
from collections.abc import Generator


@contextlib.contextmanager
def silence() -> Generator[None, None, None]:
    """Silences TFDS in this block; not for threads, since it takes the place of the process's standard output."""
    # At every import of TensorFlow that fails TFDS prints a banner to stdout, and it warns through absl's logger of
    # folders it looked into: an `InputError` says it once.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def reason(error: Exception) -> str:
    """What an error says, in one line."""
    first_line, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first_line}".removesuffix(": ")
