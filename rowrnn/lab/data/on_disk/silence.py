"""Suppression of the banners and warnings of TensorFlow Datasets; errors are raised as `InputError`."""

import contextlib
import io
import logging
from collections.abc import Generator


@contextlib.contextmanager
def silence() -> Generator[None, None, None]:
    """Suppresses what TFDS prints and logs in a block.

    It replaces the standard output of the whole process, so use it where no other thread prints.
    """
    # TFDS prints a banner to stdout whenever importing TensorFlow fails, and logs through absl each folder that it
    # searched; an `InputError` says it once.
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def reason(error: Exception) -> str:
    """Returns the type and the first line of the message of an error."""
    first_line, *_ = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {first_line}".removesuffix(": ")
