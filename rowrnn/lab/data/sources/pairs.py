"""Pictures and their masks, `SPLIT/images/*` and `SPLIT/masks/*` of the same stems."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.data.sources.class_folders import kinds_of
from rowrnn.lab.data.sources.files import composed, left_out, look, relative, some
from rowrnn.lab.data.sources.found import Found

FOLDERS = ("images", "masks")


def is_pairs(root: Path) -> bool:
    """Returns whether a folder has both `images` and `masks`."""
    return all((root / name).is_dir() for name in FOLDERS)


def read_pairs(place: Path, roots: Mapping[str, Path]) -> Found:
    """Lists pictures, each with the path of its mask in the column "mask".

    Args:
        place: the data set, for messages and names.
        roots: the folder of each split.

    Raises:
        InputError: if there is something else beside the two folders, a picture has no mask or a mask no picture, or a
            mask has another size than its picture.
    """
    splits: dict[str, list[Item]] = {}
    others: list[Path] = []
    for split, root in roots.items():
        here = look(root)
        more = [path for path in (*here.folders, *here.media) if path.name not in FOLDERS]
        if more:
            raise InputError(
                f"{root} holds {some([path.name for path in more])} beside images and masks; expected only these two "
                "folders, of pictures with the same names."
            )
        pictures, masks = (_by_stem(root / name, others) for name in FOLDERS)
        _check_same(root, pictures, masks)
        others += here.others
        splits[split] = [
            Item(relative(path, place), path, columns={"mask": masks[stem]}) for stem, path in pictures.items()
        ]
    items = [item for items in splits.values() for item in items]
    if not items:
        raise InputError(f"There are no pictures in the folders images of {place}; expected some in each split.")
    wrong = [words for item in items if (words := _other_size(item, place))]
    if wrong:
        raise InputError(
            f"{len(wrong)} masks of {place} have another size than their pictures: {some(wrong)}. Expected the same "
            "width and height."
        )
    kinds_of(place, [item.path for item in items if item.path is not None])
    return Found(str(place), "images and masks", splits, notes=left_out(others, place))


def _by_stem(folder: Path, others: list[Path]) -> dict[str, Path]:
    here = look(folder)
    others += [path for path in here.files if path not in here.pictures]
    found: dict[str, Path] = {}
    for path in here.pictures:
        stem = composed(path.stem)
        if stem in found:
            raise InputError(f"{found[stem]} and {path} have the same stem; expected one picture of each name.")
        found[stem] = path
    return found


def _check_same(root: Path, pictures: Mapping[str, Path], masks: Mapping[str, Path]) -> None:
    for have, lack, names in ((pictures, "masks", masks), (masks, "images", pictures)):
        without = [path.name for stem, path in have.items() if stem not in names]
        if without:
            raise InputError(
                f"{len(without):,} files of {root} have none of the same name in {root / lack}: {some(without)}. "
                "Expected a mask for each picture, with the same name up to the suffix."
            )


def _other_size(item: Item, place: Path) -> str:
    """Returns the sizes of a picture and of its mask in words where they differ, else "", as where one is damaged."""
    sizes = []
    paths: tuple[Any, Any] = (item.path, item.columns["mask"])
    for path in paths:
        try:
            with Image.open(path) as image:
                sizes.append(image.size)
        except Exception:  # Pillow's plugins raise anything on damaged files, which are told when they are decoded.
            return ""
    picture, mask = sizes
    words = "{} is {}x{} and its mask {}x{}"
    return "" if picture == mask else words.format(relative(Path(item.path or place), place), *picture, *mask)
