"""Command line of rowrnn, `python -m rowrnn`, also installed as `rowrnn`; its commands are in `rowrnn.lab.commands`."""

import sys


def main() -> None:
    """Runs the command line of `rowrnn.lab.commands`.

    If a dependency of the laboratory is not installed, prints which and exits with code 2; `native` needs none.
    """
    if sys.argv[1:] == ["native"]:
        from rowrnn.machine import native_library

        print(native_library.status())
        return
    try:
        from rowrnn.lab.commands import main
    except ImportError as error:
        if error.name is None or error.name.startswith("rowrnn"):
            raise
        print(f"rowrnn: {error}", file=sys.stderr)
        sys.exit(2)
    main()


if __name__ == "__main__":
    main()
