"""The error of a wrong input."""


class InputError(ValueError):
    """What a user gave cannot be used: the message says what was wrong, what was expected and what to do.

    Experiment scripts print the message alone, without a traceback, and exit with code 2.
    """
