"""Errors of a laboratory run: results that cannot be written, and a request to stop."""


class StorageError(OSError):
    """An error of writing results or a checkpoint; earlier ones are intact.

    Experiment scripts print its message and exit with code 1.
    """


class Stopped(Exception):
    """The end of a training that was asked to stop and has saved its state.

    Experiment scripts print how to resume and exit with code 75.
    """
