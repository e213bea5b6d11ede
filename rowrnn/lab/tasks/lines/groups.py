"""Lines of real handwriting as arrays: padded, in groups of similar width, so that little is computed on padding."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from rowrnn.errors import InputError
from rowrnn.lab.tasks.lines.alphabet import Alphabet
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.models.line_reader import STRIP


def padded_lines(
    images: Sequence[UInt8[np.ndarray, "h _"]], texts: Sequence[str], alphabet: Alphabet, *, columns: int | None = None
) -> Lines:
    """Returns lines as one batch, padded to one width.

    Args:
        images: one image of each line, `[h, w]`, all of one height, ink bright on paper that is 0.
        texts: the text of each line.
        alphabet: the characters of the texts.
        columns: width of the batch; default: that of the widest line, up to a whole strip of the reader.

    Returns:
        Lines with images as uint8 `[b, h, columns, 1]` and labels padded with -1.

    Raises:
        InputError: if there is no line, images and texts differ in number, heights differ, an image is not
            two-dimensional or wider than `columns`, or a character is not in the alphabet.
    """
    _check(images, texts)
    widths = np.array([image.shape[1] for image in images], np.int32)
    columns = _whole_strips(float(widths.max())) if columns is None else columns
    if widths.max() > columns:
        raise InputError(f"A line of {widths.max()} columns is wider than its batch, of {columns}.")
    padded = np.zeros((len(images), len(images[0]), columns, 1), np.uint8)
    for row, image in zip(padded, images, strict=True):
        row[:, : image.shape[1], 0] = image
    return Lines(padded, widths, *alphabet.encode_all(texts))


def width_groups(widths: Int[np.ndarray, "n"], groups: int) -> Int[np.ndarray, "groups m"]:
    """Divides lines into groups of similar width, all of one size, the narrowest first.

    As many lines in each group: a training example is then one line of each, `grouped_lines`, and every step computes
    all groups, each on images of its own width. Where the groups do not divide the lines, a few neighbours in width are
    in two groups; every line is in one at least.

    Args:
        widths: width of each line.
        groups: number of groups; not more than lines are made.

    Returns:
        Numbers of the lines of each group.
    """
    groups = min(groups, len(widths))
    size = -(-len(widths) // groups)
    starts = np.linspace(0, len(widths) - size, groups).round().astype(int)
    order = np.argsort(widths, kind="stable")
    return np.stack([order[start : start + size] for start in starts])


def grouped_lines(
    images: Sequence[UInt8[np.ndarray, "h _"]],
    texts: Sequence[str],
    alphabet: Alphabet,
    *,
    groups: int = 6,
    room: float = 1.0,
) -> tuple[Lines, ...]:
    """Returns lines in groups of similar width, each padded to its own widest: see `width_groups`, `padded_lines`.

    The arrays of all groups have one leading axis, as those of training examples must. Its place `i` holds the `i`-th
    line of each group; a batch of 4 of 6 groups is 24 lines.

    Args:
        images: one image of each line, `[h, w]`, all of one height, ink bright on paper that is 0.
        texts: the text of each line.
        alphabet: the characters of the texts.
        groups: number of groups.
        room: width of a group's images, relative to that of its widest line; above 1 for lines that an augmentation
            widens.

    Raises:
        InputError: as `padded_lines`.
    """
    _check(images, texts)
    made = []
    for group in width_groups(np.array([image.shape[-1] for image in images]), groups):
        chosen = [images[n] for n in group]
        columns = _whole_strips(room * max(image.shape[-1] for image in chosen))
        made.append(padded_lines(chosen, [texts[n] for n in group], alphabet, columns=columns))
    return tuple(made)


def _check(images: Sequence[np.ndarray], texts: Sequence[str]) -> None:
    if not images or len(images) != len(texts):
        raise InputError(f"Lines are at least one image with a text each, not {len(images)} and {len(texts)}.")
    if wrong := [image.shape for image in images if image.ndim != 2 or len(image) != len(images[0]) or not image.size]:
        raise InputError(
            f"The images of lines are [h, w] and of one height, here {len(images[0])}, not {list(wrong[0])}: resize "
            "them."
        )


def _whole_strips(columns: float) -> int:
    return STRIP * int(np.ceil(columns / STRIP))
