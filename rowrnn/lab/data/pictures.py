"""One picture file as an array, as a person sees it."""

import io
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from rowrnn.lab.data.listing import Item, Unreadable

MOST_PIXELS = 89_478_485  # 256 MiB as RGB; Pillow warns from there on
GREY = ("1", "L", "LA", "La")
WITH_EXIF = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}


def read_picture(item: Item) -> UInt8[np.ndarray, "h w c"]:
    """Reads a picture, grey (c = 1) where its file is grey, else with three colours.

    It is turned as its EXIF orientation says; what is transparent lies on white; 16 bits are scaled to 8; of several
    frames or pages it is the first.

    Raises:
        Unreadable: if the file is damaged, no picture, has floating-point values or more than 89 million pixels.
    """
    return picture_of(item.read(), item.name)


def picture_of(content: bytes, name: str) -> UInt8[np.ndarray, "h w c"]:
    """Reads a picture from the bytes of its file; see `read_picture`.

    Args:
        content: bytes of the file.
        name: its name, for messages.

    Raises:
        Unreadable: as `read_picture`.
    """
    if not content:
        raise Unreadable(f"{name} is a file of no bytes.")
    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
            if width * height <= MOST_PIXELS:
                image.load()
                return _as_array(image)
    except Image.DecompressionBombError as error:
        raise Unreadable(f"{name} has too many pixels; expected at most {MOST_PIXELS:,}.") from error
    except Exception as error:  # Pillow's plugins raise anything on damaged files.
        reason = "its format is unknown" if isinstance(error, UnidentifiedImageError) else str(error) or repr(error)
        raise Unreadable(f"{name} cannot be read as a picture ({reason}).") from error
    raise Unreadable(f"{name} has {width}x{height} pixels; expected at most {MOST_PIXELS:,}.")


def _as_array(image: Image.Image) -> UInt8[np.ndarray, "h w c"]:
    if image.format == "TIFF" or WITH_EXIF & image.info.keys():
        image = ImageOps.exif_transpose(image)
    if image.mode == "L" and "transparency" not in image.info:  # the usual case, and quick
        return np.array(image)[..., None]
    if image.mode.startswith(("I", "F")):
        return _of_many_bits(image)[..., None]
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colours = on_white(np.array(image.convert("RGBA")))
    else:
        colours = np.array(image.convert("RGB"))
    grey = bool((colours == colours[..., :1]).all()) if image.mode in ("P", "PA") else image.mode in GREY
    return colours[..., :1] if grey else colours


def on_white(colours: UInt8[np.ndarray, "h w 4"]) -> UInt8[np.ndarray, "h w 3"]:
    """Lays a transparent picture on white: a v + (1 - a) 255."""
    values, alpha = colours[..., :3].astype(np.uint16), colours[..., 3:].astype(np.uint16)
    return ((values * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _of_many_bits(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """Scales values of 16 bits to 8: v / 257, rounded."""
    values: Any = np.asarray(image)
    if values.dtype.kind == "f":
        raise ValueError("it has floating-point values; expected 8 or 16 bits")
    values = values.astype(np.int64)
    if values.min() < 0 or values.max() > 65_535:
        raise ValueError(f"its values run from {values.min()} to {values.max()}; expected 8 or 16 bits")
    return ((values + 128) // 257).astype(np.uint8)
