"""One clip as an array: a video file, a GIF, or a folder of numbered frames."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageSequence

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item, Unreadable, spread
from rowrnn.lab.data.pictures import on_white, read_picture
from rowrnn.lab.data.sources.files import look
from rowrnn.saving.preprocessing import Preprocessing

MOST_BYTES = 1 << 30
LOOKED_AT = 20  # clips whose frames decide size and colour
GIF = (b"GIF87a", b"GIF89a")
GIF_MILLISECONDS = 100  # what browsers take for a frame without a duration

Frame = UInt8[np.ndarray, "h w c"]


def read_clip(
    item: Item, each: Callable[[Frame], Frame] | None = None
) -> tuple[UInt8[np.ndarray, "t h w c"], float | None]:
    """Reads a clip.

    Args:
        item: a video file, a GIF, or a folder of frames, "2" before "10".
        each: a function of a frame `[h, w, c]`, as one that makes it smaller: so long clips fit into memory.

    Returns:
        Frames `[t, h, w, c]`, grey (c = 1) where the file is grey, turned as the file says; and the frames a second on
        average, None for a folder.

    Raises:
        Unreadable: if the file is damaged or no clip, has no frames, frames of several sizes, or more than 1 GiB.
    """
    found, rate = read_frames(item)
    frames: list[np.ndarray] = []
    size = 0
    for frame in found:
        frames.append(frame if each is None else each(frame))
        size += frames[-1].nbytes
        if frames[-1].shape != frames[0].shape:
            raise Unreadable(f"{item.name} has grey frames and coloured ones; expected one kind.")
        if size > MOST_BYTES:
            raise Unreadable(f"{item.name} takes more than {MOST_BYTES >> 30} GiB as frames; cut it into clips.")
    if not frames:
        raise Unreadable(f"{item.name} has no frames.")
    return np.stack(frames), rate


def read_frames(item: Item) -> tuple[Iterator[Frame], float | None]:
    """Opens a clip, and returns its frames one after the other, and the frames a second; see `read_clip`.

    Raises:
        Unreadable: if the file is damaged or no clip; so does the iterator, also if frames have several sizes.
    """
    frames: Iterator[Frame]
    if item.path is not None and item.path.is_dir():
        files = look(item.path).pictures
        frames, rate = (read_picture(Item(f"{item.name}/{file.name}", file)) for file in files), None
    else:
        content = item.read()
        if not content:
            raise Unreadable(f"{item.name} is a file of no bytes.")
        frames, rate = (_of_gif if content.startswith(GIF) else _of_video)(item.name, content)
    return _of_one_size(item.name, frames), rate


def _of_one_size(name: str, frames: Iterator[Frame]) -> Iterator[Frame]:
    first = None
    for frame in frames:
        size = frame.shape[:2]
        first = size if first is None else first
        if size != first:
            raise Unreadable(f"{name} has frames of {list(first)} and of {list(size)} pixels; expected one size.")
        yield frame


def _of_gif(name: str, content: bytes) -> tuple[Iterator[Frame], float]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            frames, milliseconds = [], 0
            for frame in ImageSequence.Iterator(image):
                frames.append(on_white(np.array(frame.convert("RGBA"))))
                milliseconds += int(frame.info.get("duration") or GIF_MILLISECONDS)
    except Exception as error:  # Pillow's plugins raise anything on damaged files.
        raise Unreadable(f"{name} cannot be read as a GIF ({error or repr(error)}).") from error
    grey = all((frame == frame[..., :1]).all() for frame in frames)
    return iter([frame[..., :1] for frame in frames] if grey else frames), 1000 * len(frames) / milliseconds


def _of_video(name: str, content: bytes) -> tuple[Iterator[Frame], float | None]:
    import av  # Imported only where used: it loads FFmpeg.

    try:
        container = av.open(io.BytesIO(content))
        stream = container.streams.video[0] if container.streams.video else None
    except Exception as error:  # of FFmpeg, or of Python where a file is cut off
        raise _broken(name, error) from error
    if stream is None:
        kinds = ", ".join(one.type for one in container.streams) or "nothing"
        container.close()
        raise Unreadable(f"{name} has no video, only {kinds}.")
    rate = stream.average_rate or stream.guessed_rate
    return _decoded(name, container, stream), float(rate) if rate else None


def _decoded(name: str, container: Any, stream: Any) -> Iterator[Frame]:
    try:
        with container:
            for frame in container.decode(stream):
                grey = frame.format.name.startswith("gray")
                array = frame.to_ndarray(format="gray" if grey else "rgb24")
                quarters = round(frame.rotation / 90) % 4  # counter-clockwise, as rot90 turns
                yield np.ascontiguousarray(np.rot90(array[..., None] if grey else array, quarters))
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> Unreadable:
    return Unreadable(f"{name} cannot be read as a video ({error or repr(error)}).")


def shaped_clip(preprocessing: Preprocessing, item: Item) -> UInt8[np.ndarray, "t h w c"]:
    """Reads a clip with its frames as a model sees them."""
    frames, _ = read_clip(item, lambda frame: np.asarray(preprocessing.to_bytes(frame[None]))[0])
    return frames


def some_frames(items: Sequence[Item]) -> tuple[list[Frame], list[float]]:
    """Reads the first frames of at most 20 clips, evenly spread over the items, and the frames a second of each.

    Raises:
        InputError: if none of them can be read.
    """
    found, rates, error = [], [], None
    for item in spread(items, LOOKED_AT):
        try:
            frames, rate = read_frames(item)
            found.append(next(frames))
        except (Unreadable, StopIteration) as unreadable:
            error = unreadable if isinstance(unreadable, Unreadable) else Unreadable(f"{item.name} has no frames.")
            continue
        rates += [rate] if rate else []
    if not found:
        raise error or InputError("There is no clip.")
    return found, rates
