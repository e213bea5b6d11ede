"""Errors of a laboratory run: what was to be kept cannot be, or somebody asked to stop."""


class StorageError(OSError):
    """What was to be kept could not be written; what was kept before is whole.

    Experiment scripts print the message alone and exit with code 1.
    """


class Stopped(Exception):
    """A training was asked to stop, and has saved where it was.

    Experiment scripts say how to resume and exit with code 75.
    """
