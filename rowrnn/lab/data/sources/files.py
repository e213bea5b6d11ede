"""Files of a folder: which of them are pictures and clips, in the order that a person would read them."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from rowrnn.errors import InputError

PICTURES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm", ".pnm")
)
CLIPS = frozenset((".mp4", ".m4v", ".avi", ".gif", ".mov", ".mkv", ".webm", ".mpg", ".mpeg"))
ARCHIVES = frozenset((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar"))
RUBBISH = frozenset(("thumbs.db", "desktop.ini", "__macosx"))  # Hidden files, as .DS_Store, begin with a dot.
NUMBERED = re.compile(r"(.*?)(\d+)", re.DOTALL)
SHOWN = 5


@dataclass(frozen=True)
class Folder:
    """What a folder holds, without hidden files, in natural order."""

    folders: tuple[Path, ...]
    files: tuple[Path, ...]

    @property
    def pictures(self) -> list[Path]:
        """Files with the suffix of a picture."""
        return [file for file in self.files if suffix(file) in PICTURES]

    @property
    def clips(self) -> list[Path]:
        """Files with the suffix of a clip; GIFs are pictures too."""
        return [file for file in self.files if suffix(file) in CLIPS]

    @property
    def media(self) -> list[Path]:
        """Pictures and clips."""
        return [file for file in self.files if suffix(file) in PICTURES | CLIPS]

    @property
    def others(self) -> list[Path]:
        """Files that are neither."""
        return [file for file in self.files if suffix(file) not in PICTURES | CLIPS]


@dataclass
class Tree:
    """All media below a folder, with those of folders of frames set apart."""

    media: list[Path] = field(default_factory=list)
    frames: list[Path] = field(default_factory=list)  # folders
    others: list[Path] = field(default_factory=list)

    def pictures_of_frames(self) -> list[Path]:
        """Returns the frames themselves."""
        return [picture for folder in self.frames for picture in look(folder).pictures]


def look(folder: Path) -> Folder:
    """Returns what a folder holds.

    Raises:
        InputError: if it cannot be read.
    """
    folders, files = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name.lower() not in RUBBISH:
                    (folders if entry.is_dir() else files).append(entry.name)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read ({error.strerror}).") from error
    return Folder(*(tuple(folder / name for name in sorted(names, key=natural)) for names in (folders, files)))


def walk(folder: Path) -> Tree:
    """Returns all media below a folder; a subfolder of numbered pictures is one clip."""
    tree = Tree()
    _walk(folder, tree)
    return tree


def _walk(folder: Path, tree: Tree) -> None:
    here = look(folder)
    tree.media += here.media
    tree.others += here.others
    for inside in here.folders:
        if inside.is_symlink() and folder.resolve().is_relative_to(inside.resolve()):
            raise InputError(f"{inside} is a link to a folder that it lies in itself; take it away.")
        if is_frames(inside):
            tree.frames.append(inside)
        else:
            _walk(inside, tree)


def is_frames(folder: Path) -> bool:
    """Returns whether a folder holds nothing but at least two pictures of one stem and different numbers, no GIFs."""
    here = look(folder)
    pictures = [file for file in here.pictures if suffix(file) not in CLIPS]
    if here.folders or len(pictures) < 2 or len(here.media) > len(pictures):
        return False
    matches = [NUMBERED.fullmatch(file.stem) for file in pictures]
    return all(matches) and len({match[1] for match in matches if match}) == 1


def suffix(path: PurePath) -> str:
    """Returns the suffix of a file in lower case."""
    return os.path.splitext(path.name)[1].lower()


def natural(name: str) -> list[tuple[int, int, str]]:
    """Returns the key by which "frame 2" comes before "frame 10"; used with `sorted`."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def composed(name: str) -> str:
    """Returns a name with its accents composed: file systems and tables write them in two ways."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def relative(path: Path, root: Path) -> str:
    """Returns the path below `root` with slashes, accents composed."""
    # `relative_to` takes ten times as long. Paths below "." do not begin with it.
    start = 0 if str(root) == "." else len(str(root)) + (str(root)[-1:] != os.sep)
    return composed(str(path)[start:].replace(os.sep, "/"))


def some(names: Sequence[object]) -> str:
    """Returns the first names of a list, and how many more there are."""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(str(name) for name in names[:SHOWN]) + more


def left_out(others: Sequence[Path], root: Path) -> list[str]:
    """Returns a sentence that names files that were left out, in a list; an empty list where there are none."""
    if not others:
        return []
    names = some([relative(path, root) for path in others])
    return [f"{len(others):,} other file{'s' * (len(others) > 1)} left out: {names}"]
