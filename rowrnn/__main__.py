"""The command line: `python -m rowrnn`, also installed as `rowrnn`. Its commands are those of `rowrnn.lab.commands`."""

import sys


def main() -> None:
    """Runs a command of the laboratory; without the laboratory says how to install it, and exits with code 2."""
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
