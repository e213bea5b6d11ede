"""Exceptions for invalid input; their messages state what was wrong, what was expected and what to do."""


class InputError(ValueError):
    """Error for invalid user input.

    Experiment scripts print its message without a traceback and exit with code 2.
    """


def reason(error: Exception) -> str:
    """Returns why a file could not be read or written, in words: without the number of the error or its codec."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is no UTF-8"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or repr(error)
