"""The errors that are a user's to read: their messages say what was wrong, what was expected and what to do."""


class InputError(ValueError):
    """What a user gave cannot be used.

    Experiment scripts print the message alone, without a traceback, and exit with code 2.
    """
