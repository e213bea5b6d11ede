"""A folder a class, `SPLIT/CLASS/*` or `CLASS/*`: pictures, clips, or folders of frames."""

from collections.abc import Mapping
from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.sources.files import CLIPS, PICTURES, Tree, composed, left_out, look, relative, some, suffix, walk
from rowrnn.lab.data.sources.found import Found


def read_class_folders(place: Path, roots: Mapping[str, Path], *, frames: bool = True) -> Found:
    """Lists the pictures or clips of class folders; pictures in a subfolder of a class are the class's too.

    Args:
        place: the data set, for messages and names.
        roots: the folder of each split.
        frames: whether numbered pictures in a subfolder of a class are the frames of one clip.

    Raises:
        InputError: if media lie beside the class folders, there are pictures and clips, or there is only one class.
    """
    splits: dict[str, list[Item]] = {}
    others: list[Path] = []
    media: list[Path] = []
    empty: list[str] = []
    films = 0
    for split, root in roots.items():
        here = look(root)
        others += here.others
        if here.media:
            raise InputError(
                f"{len(here.media):,} files without a label lie in {root} beside its class folders: "
                f"{some([file.name for file in here.media])}. Expected each picture or clip in the folder of its class."
            )
        items = splits[split] = []
        for folder in here.folders:
            tree = walk(folder)
            others += tree.others
            found = [*tree.media, *(tree.frames if frames else tree.pictures_of_frames())]
            media += found
            columns = {"label": composed(folder.name)}
            inside = {*tree.frames} if not frames else set()
            films += len(inside)
            for path in found:
                if not frames:  # a picture in no such folder is alone
                    columns["folder"] = relative(path.parent if path.parent in inside else path, place)
                items.append(Item(relative(path, place), path, columns=dict(columns)))
            if not found:
                empty.append(relative(folder, place))
    if not media:
        raise InputError(nothing_in(place, others))
    classes = {item.columns["label"] for items in splits.values() for item in items}
    if len(classes) == 1:
        also = f" The folders {some(empty)} are empty." if empty else ""
        raise InputError(
            f"All pictures or clips in the folder {place} are of one class, {classes.pop()!r}; expected at least two "
            f"class folders with files.{also}"
        )
    notes = left_out(others, place)
    if films:
        notes.append(
            f"WARNING: {films:,} folders of numbered pictures, as of one film or person each, are no units where splits"
            " are drawn; --split-by folder keeps each together"
        )
    if empty:
        notes.append(f"WARNING: empty class folders, left out: {some(empty)}")
    return Found(str(place), "class folders", splits, kinds_of(place, media), notes=notes)


def kinds_of(place: Path, media: list[Path]) -> tuple[str, ...]:
    """Returns what all files of a data set are: pictures, clips, or both for GIFs.

    Raises:
        InputError: if some are pictures and others clips.
    """
    suffixes = [suffix(path) for path in media]
    only_pictures = PICTURES - CLIPS
    pictures = [path for path, ending in zip(media, suffixes, strict=True) if ending in only_pictures]
    clips = [path for path, ending in zip(media, suffixes, strict=True) if ending not in PICTURES]  # or of frames
    if pictures and clips:
        raise InputError(
            f"{place} holds {len(pictures):,} pictures ({relative(pictures[0], place)} …) and {len(clips):,} clips "
            f"({relative(clips[0], place)} …); expected files of one kind in a data set. Numbered pictures in a "
            "subfolder of a class count as the frames of one clip."
        )
    if clips:
        return ("clips",)
    return ("pictures",) if pictures else ("pictures", "clips")


def nothing_in(place: Path, others: list[Path] | Tree) -> str:
    """Returns the message that a folder holds no picture or clip."""
    others = others.others if isinstance(others, Tree) else others
    found = f"only {some([relative(path, place) for path in others])}" if others else "no files"
    if any(suffix(path) == ".arrow" for path in others):
        return f"{place} is a data set that `datasets` saved to disk; write it by its method to_parquet instead."
    return (
        f"There are no pictures or clips in the folder {place}, {found}. Expected class folders (CLASS/*.png or "
        "SPLIT/CLASS/*.png), a metadata.jsonl or metadata.csv beside pictures, images/ and masks/, or parquet files."
    )
