"""Plain text: a file, or all `.txt` files of a folder."""

from pathlib import Path

from rowrnn.errors import InputError, reason
from rowrnn.lab.data.sources.files import look, suffix
from rowrnn.lab.data.sources.splits import split_of


def read_texts(place: str | Path) -> dict[str, str]:
    """Reads text by split; files whose names begin with no split are "train", one after the other.

    Raises:
        InputError: if there is no text, or it is not UTF-8.
    """
    path = Path(place).expanduser()
    if not path.exists():
        raise InputError(f"There is no file or folder {path}; expected text, or a folder of .txt files.")
    files = [file for file in look(path).files if suffix(file) == ".txt"] if path.is_dir() else [path]
    splits: dict[str, list[str]] = {}
    for file in files:
        try:
            content = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read as UTF-8 text ({reason(error)}).") from error
        splits.setdefault(split_of(file.stem) or "train", []).append(content)
    found = {split: "\n".join(parts) for split, parts in splits.items()}
    if not any(found.values()):
        raise InputError(f"There is no text in {path}; expected a file with some, or a folder of .txt files.")
    return found
