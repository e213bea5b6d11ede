"""Which layout a data set has, and the errors where it has none."""

import os
from pathlib import Path

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import TASKS, Listing
from rowrnn.lab.data.sources.class_folders import nothing_in, read_class_folders
from rowrnn.lab.data.sources.duplicates import duplicates
from rowrnn.lab.data.sources.files import ARCHIVES, CLIPS, PICTURES, Folder, left_out, look, some, suffix, walk
from rowrnn.lab.data.sources.found import Found, class_names, with_columns
from rowrnn.lab.data.sources.hub import PREFIX, read_hub
from rowrnn.lab.data.sources.metadata import NAMES as METADATA
from rowrnn.lab.data.sources.metadata import metadata_in, read_metadata
from rowrnn.lab.data.sources.pairs import FOLDERS, is_pairs, read_pairs
from rowrnn.lab.data.sources.parquet import parquet_files, read_parquet
from rowrnn.lab.data.sources.splits import NAMES as SPLITS
from rowrnn.lab.data.sources.splits import by_split, completed, split_of, within

LAYOUTS = (
    "Expected a folder with class folders (CLASS/*.png or SPLIT/CLASS/*.png), with metadata.jsonl or metadata.csv "
    "beside pictures or clips, with images/ and masks/, or with parquet files; or hf:NAME for a set of the hub."
)


def open_listing(
    place: str | Path,
    task: str | None = None,
    *,
    split_by: str | None = None,
    label_column: str | None = None,
    text_column: str | None = None,
) -> Listing:
    """Lists the items of a data set; nothing is decoded.

    Splits are folders or files named train; validation, valid, val, dev or eval; test. Those that are missing are taken
    from the training items by a fixed seed, a tenth each, in the proportions of the classes if these are learnt.
    `Listing.source` says what was decided, and warns of empty classes and of the same file in two splits.

    Args:
        place: a folder, a parquet file, or "hf:NAME[/config]" (a set of the Hugging Face hub).
        task: what is to be learnt, one of `rowrnn.lab.data.listing.TASKS`: only the column that it learns from must be
            complete, and numbered pictures are no frames where it wants pictures. Where None, all is as the files are.
        split_by: a column whose equal values stay in one split where splits are drawn, as "writer".
        label_column: the column of the class; "label" where None, or the only column of classes of a table.
        text_column: the column of the text; "text" where None.

    Raises:
        InputError: if there is nothing, or nothing that can be read as one of the layouts, or what is there is
            incomplete or contradicts itself.
    """
    medium, target = TASKS[task] if task else (None, None)
    found = _found(place, frames=medium != "pictures")
    found = with_columns(found, label_column, text_column, target)
    by_class = target in (None, "label")
    found = completed(found, split_by, by_class=by_class)
    classes = class_names(found) if by_class else ()
    notes = [*found.notes, *duplicates(found.splits)]
    sizes = ", ".join(f"{len(items):,} {split}" for split, items in found.splits.items())
    source = ". ".join([f"{found.place}, {found.layout}: {sizes}", *(note[0].upper() + note[1:] for note in notes)])
    return Listing(found.place, found.splits, source + ".", classes, found.media)


def _found(place: str | Path, *, frames: bool) -> Found:
    if str(place).startswith(PREFIX):
        return read_hub(str(place))
    if "://" in str(place):
        raise InputError(f"{place} is a URL; download it first and give the folder, or hf:NAME for a set of the hub.")
    path = Path(place).expanduser()
    if not path.exists():
        raise InputError(f"There is no file or folder {path}. {LAYOUTS}")
    if path.is_dir():
        return _of_folder(path, frames=frames)
    if suffix(path) == ".parquet":
        return read_parquet(path.parent, [path])
    raise InputError(_not_a_folder(path))


def _not_a_folder(path: Path) -> str:
    if suffix(path) in ARCHIVES:
        return f"{path} is an archive; unpack it and give the folder."
    if suffix(path) in PICTURES | CLIPS:
        return f"{path} is a single file; give the folder of the data set. {LAYOUTS}"
    if suffix(path) in (".npz", ".npy"):
        return f"{path} holds arrays, which classification of images reads; here a folder is wanted. {LAYOUTS}"
    return f"{path} is not a data set of pictures or clips. {LAYOUTS}"


def _of_folder(place: Path, *, frames: bool) -> Found:
    here = look(place)
    files = parquet_files(place)
    if files:
        return read_parquet(place, files)
    inside = {} if _is_class_named_train(here) else by_split(here.folders, place)
    if not inside and len(here.folders) == 1 and not here.media and metadata_in(place) is None:
        (only,) = here.folders  # as data/train/… or, of an unpacked archive, shapes/train/…
        if only.name == "data" or by_split(look(only).folders, only):
            return _of_folder(only, frames=frames)
    roots = {split: within(root, split) for split, root in inside.items()} or {"train": place}
    tables = {split: metadata_in(root) for split, root in roots.items()}
    pairs = {split: is_pairs(root) for split, root in roots.items()}
    if inside and (table := metadata_in(place)) is not None:
        _check_not_both(place, {split: bool(file) for split, file in tables.items()}, table)
        found = read_metadata(place, roots, dict.fromkeys(roots, table))
    elif any(tables.values()):
        _check_all(place, "metadata.jsonl or metadata.csv", {split: bool(table) for split, table in tables.items()})
        found = read_metadata(place, roots, {split: table for split, table in tables.items() if table})
    elif any(pairs.values()):
        _check_all(place, "both images and masks", pairs)
        found = read_pairs(place, roots)
    else:
        for root in roots.values():
            _check_class_folders(root)
        found = read_class_folders(place, roots, frames=frames)
    if inside and metadata_in(place) is None:
        found.notes += left_out(here.files, place)
    left = [folder.name for folder in here.folders if inside and folder not in inside.values()]
    if left:
        found.notes.append(f"folders that are no split left out: {some(left)}")
    return found


def _is_class_named_train(here: Folder) -> bool:
    """Returns whether a folder `train` is a class among others, as of vehicles: all hold media and nothing else."""
    splits = [split for folder in here.folders if (split := split_of(folder.name))]
    if len(here.folders) < 2 or splits != ["train"]:
        return False
    inside = [look(folder) for folder in here.folders]
    return all(one.media and not one.folders for one in inside) and not any(map(metadata_in, here.folders))


def _check_not_both(place: Path, inside: dict[str, bool], table: Path) -> None:
    if any(inside.values()):
        raise InputError(f"{place} has {table.name}, and so have its splits; expected one for all, or one for each.")


def _check_all(place: Path, what: str, have: dict[str, bool]) -> None:
    """Checks that all splits are laid out in the same way."""
    lacking = [split for split, has in have.items() if not has]
    if lacking:
        raise InputError(
            f"Some splits of {place} have {what}, but {' and '.join(lacking)} has not; expected all alike, for one "
            "task."
        )


def _is_set(folder: Path) -> bool:
    """Returns whether a folder has splits, metadata, images and masks, or parquet files."""
    names = {name.lower() for name in os.listdir(folder)}
    tables = names & {*METADATA} or [name for name in names if name.endswith(".parquet")]
    return bool(names & {*SPLITS["train"]} or tables or names >= {*FOLDERS})


def _check_class_folders(root: Path) -> None:
    """Checks that a folder has class folders."""
    here = look(root)
    archives = [file.name for file in here.files if suffix(file) in ARCHIVES]
    if archives and not here.folders:
        raise InputError(f"{root} holds archives: {some(archives)}. Unpack them and give the folder.")
    if here.media and not here.folders:
        tables = [file.name for file in here.files if suffix(file) in (".csv", ".jsonl")]
        advice = f" {tables[0]} is not looked at: rename it to metadata{Path(tables[0]).suffix}." if tables else ""
        raise InputError(
            f"The {len(here.media):,} pictures or clips of {root} have no labels: there is no metadata.jsonl or "
            f"metadata.csv, and there are no class folders.{advice} {LAYOUTS}"
        )
    sets = [folder.name for folder in here.folders if _is_set(folder)]
    if sets:
        raise InputError(
            f"{len(sets)} of {len(here.folders)} folders of {root} are data sets themselves, with splits, metadata, "
            f"masks or parquet files of their own: {some(sets)}. Expected class folders, or one of these folders."
        )
    half = [name for name in FOLDERS if any(folder.name == name for folder in here.folders)]
    if half and len(here.folders) == 1:
        other = next(name for name in FOLDERS if name not in half)
        raise InputError(f"{root} has a folder {half[0]!r} but none named {other!r}; masks are learnt from both.")
    if not here.folders:
        raise InputError(nothing_in(root, walk(root)))
