"""Exceptions for invalid input; their messages state what was wrong, what was expected and what to do."""


class InputError(ValueError):
    """Error for invalid user input.

    Experiment scripts print its message without a traceback and exit with code 2.
    """
