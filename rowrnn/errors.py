"""The errors that are a user's to read: their messages say what was wrong, what was expected and what to do."""


class InputError(ValueError):
    """What a user gave cannot be used.

    Experiment scripts print the message alone, without a traceback, and exit with code 2.
    """


class StorageError(OSError):
    """What was to be kept could not be written; what was kept before is whole.

    Experiment scripts print the message alone and exit with code 1.
    """


class Stopped(Exception):
    """A training was asked to stop, and has saved where it was.

    Experiment scripts say how to resume and exit with code 75.
    """
