"""What is done to an image before a model sees it: one piece of array code for NumPy, JAX and exported programs."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from rowrnn.errors import InputError
from rowrnn.saving.digits import SIDE, centred_digits
from rowrnn.saving.resampling import resample, triangle_weights

Fit = Literal["stretch", "pad", "crop"]
Raw = Shaped[np.ndarray, "..."] | Shaped[Array, "..."]
Bytes = UInt8[np.ndarray, "*b H W k"] | UInt8[Array, "*b H W k"]
Floats = Float[np.ndarray, "*b H W k"] | Float[Array, "*b H W k"]

LUMA = (19595, 38470, 7471)  # ITU-R 601 in parts of 65536, as in PIL
HALF = 0.5 + 2**-10  # A little more, so that a tie goes up however the sum before it was rounded.


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What is done to an image before a model sees it.

    Values are rounded to whole grey values after resizing, so that images kept as uint8 and images that a program gets
    raw look the same to a model.

    Args:
        size: height and width that an image is brought to; None for one that follows from the other and the aspect of
            the image, rounded up. With two None images keep their size.
        fit: how an image of another aspect is brought to a size: "stretch" changes its aspect, "pad" scales it to fit
            within and lays it in the middle of `background`, "crop" scales it to cover and cuts off what protrudes.
        channels: 1 for grey, 3 for colour.
        invert: whether light and dark are exchanged.
        like_mnist: whether a digit of any place, size and polarity is found, made light on dark, scaled to fit into
            20x20 pixels, and laid with its centre of mass in the middle of 28x28, as the digits of MNIST were.
        mean: subtracted from values in [0, 1], one for each channel; None for nothing.
        std: divides what remains, one for each channel; None for 1.
        background: grey value from 0 to 255 around a padded image, before `invert`.
        levels: values that become black and white, 0 and 255, before all else; those beyond them are cut off.

    Raises:
        InputError: if a value is out of range, or `like_mnist` is asked for with another size or with colour.
    """

    size: tuple[int | None, int | None]
    fit: Fit = "stretch"
    channels: int = 1
    invert: bool = False
    like_mnist: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    background: int = 0
    levels: tuple[int, int] = (0, 255)

    def __post_init__(self) -> None:
        if len(self.size) != 2 or not all(side is None or side >= 1 for side in self.size):
            raise InputError(f"Images are brought to a height and a width of at least 1 pixel, not {self.size}.")
        if self.fit not in get_args(Fit):
            raise InputError(f"Images are brought to a size by {', '.join(get_args(Fit))}, not by {self.fit!r}.")
        if self.channels not in (1, 3):
            raise InputError(f"Images have 1 channel (grey) or 3 (colour), not {self.channels}.")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != self.channels:
                raise InputError(f"Images of {self.channels} channels have as many values of {name}, not {values}.")
        if self.std is not None and min(self.std) <= 0:
            raise InputError(f"A standard deviation is above zero, not {self.std}.")
        if not 0 <= self.background <= 255:
            raise InputError(f"The background is a grey value from 0 to 255, not {self.background}.")
        if len(self.levels) != 2 or not 0 <= self.levels[0] < self.levels[1] <= 255:
            raise InputError(f"Black and white are two values from 0 to 255, the first lower, not {self.levels}.")
        if self.like_mnist and (self.size, self.channels, self.invert) != ((SIDE, SIDE), 1, False):
            raise InputError(
                f"Digits like MNIST's have {SIDE}x{SIDE} pixels and 1 channel, and find their polarity themselves."
            )

    def __call__(self, images: Raw) -> Floats:
        """Returns images as the model takes them: `to_floats(to_bytes(images))`."""
        return self.to_floats(self.to_bytes(images))

    def to_bytes(self, images: Raw) -> Bytes:
        """Brings images to size, channels and polarity, in whole grey values.

        Grey is the luma of ITU-R 601; colour is laid on white where it is transparent.

        Args:
            images: `[b, h, w, c]` of any size, 1, 3 or 4 channels (grey, RGB, RGBA), in NumPy or JAX.

        Returns:
            Images `[b, H, W, channels]`, in NumPy or JAX as the images given.

        Raises:
            InputError: if the images have another shape or dtype, or no pixel.
        """
        if images.ndim != 4 or images.shape[3] not in (1, 3, 4) or images.dtype != np.uint8:
            raise InputError(
                f"Images are uint8 [b, h, w, c] with 1, 3 or 4 channels, not {images.dtype} of shape "
                f"{list(images.shape)}."
            )
        if any(isinstance(side, int) and side == 0 for side in images.shape[1:3]):
            raise InputError(f"Images have at least one pixel, not the shape {list(images.shape)}.")
        xp: Any = np if isinstance(images, np.ndarray) else jnp
        images = self._levelled(xp, _in_channels(xp, images, self.channels))
        if self.like_mnist:
            return _whole(xp, 255 * centred_digits(xp, images[..., 0].astype(np.float32))[..., None])
        old = images.shape[1], images.shape[2]
        new = self.size_of(*old)
        if new != old:
            (rows, in_rows), (columns, in_columns) = self._windows(xp, old, new)
            resized = resample(xp, images.astype(np.float32), rows, columns)
            within = in_rows[None, :, None, None] & in_columns[None, None, :, None]
            images = _whole(xp, xp.where(within, resized, np.float32(self.background)))
        return 255 - images if self.invert else images

    def _levelled(self, xp: Any, images: Any) -> Any:
        black, white = self.levels
        if self.levels == (0, 255):
            return images
        return _whole(xp, (images.astype(np.float32) - np.float32(black)) * np.float32(255 / (white - black)))

    def to_floats(self, images: Bytes) -> Floats:
        """Converts bytes to float32: divided by 255, without `mean`, divided by `std`; images have any leading axes."""
        values = images.astype(np.float32) / np.float32(255)
        if self.mean is not None:
            values = values - _of_channels(self.mean, images.ndim)
        return values if self.std is None else values / _of_channels(self.std, images.ndim)

    def surroundings(self) -> UInt8[np.ndarray, "channels"]:
        """Returns the pixel that lies around an image, the background of its padding."""
        return np.full(self.channels, 255 - self.background if self.invert else self.background, np.uint8)

    def size_of(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Returns the size of what becomes of images of a size, of which either may be symbolic."""
        match self.size:
            case (None, None):
                return height, width
            case (int() as to, None):
                return to, -(-width * to // height)
            case (None, int() as to):
                return -(-height * to // width), to
        return self.size

    def scale_and_shift(self, size: tuple[Any, Any], xp: Any = np) -> tuple[Any, Any]:
        """Returns where the points of an image come to lie: at their place times a scale, plus a shift, `[2]` each, to
        the right and down.

        Args:
            size: height and width of the image before.
            xp: NumPy or JAX, whose arrays are returned.
        """
        down, across = self._shown(xp, size, self.size_of(*size))
        scale = xp.stack([1 / axis.step for axis in (across, down)])
        first, start = (
            xp.stack([xp.asarray(place).astype(np.float32) for place in places])
            for places in ((across.first, down.first), (across.start, down.start))
        )
        return scale, first - start * scale

    def _shown(self, xp: Any, old: tuple[Any, Any], new: tuple[Any, Any]) -> list["_Shown"]:
        """Returns what of an image of an old size is shown in one of a new size, down and across."""
        # Sides as values: in an exported program they are known when it runs.
        (h, w), (to_h, to_w) = ([xp.asarray(side).astype(np.int32) for side in size] for size in (old, new))
        shown, seen = (to_h, to_w), (h.astype(np.float32), w.astype(np.float32))
        if None not in self.size and self.fit == "pad":  # Both rounded, and at most the whole size.
            shown = xp.clip((2 * h * to_w + w) // (2 * w), 1, to_h), xp.clip((2 * w * to_h + h) // (2 * h), 1, to_w)
        if None not in self.size and self.fit == "crop":
            aspect = to_w.astype(np.float32) / to_h.astype(np.float32)
            seen = xp.minimum(seen[0], seen[1] / aspect), xp.minimum(seen[1], seen[0] * aspect)
        found = []
        for axis, (side, to) in enumerate(((h, to_h), (w, to_w))):
            start = (side.astype(np.float32) - seen[axis]) / 2
            step = seen[axis] / shown[axis].astype(np.float32)
            found.append(_Shown((to - shown[axis]) // 2, shown[axis], start, step))
        return found

    def _windows(self, xp: Any, old: tuple[Any, Any], new: tuple[Any, Any]) -> list[tuple[Any, Any]]:
        """Returns for each axis the weights `[new, old]` of the pixels, and which new ones show the image, `[new]`."""
        found = []
        for axis, (first, shown, start, step) in enumerate(self._shown(xp, old, new)):
            places = xp.arange(new[axis], dtype=np.int32) - first
            weights = triangle_weights(xp, old[axis], start + (places.astype(np.float32) + 0.5) * step, step)
            found.append((weights, (places >= 0) & (places < shown)))
        return found

    def to_json(self) -> dict[str, Any]:
        """Returns the fields in terms of JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Preprocessing":
        """Returns the preprocessing that `to_json` described.

        Raises:
            InputError: if a field is unknown, missing or of a wrong type or value.
        """
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"No preprocessing of this version has the fields {dict(fields)} ({error}).") from None


class _Shown(NamedTuple):
    """What of an image is shown along one axis of a new one.

    Args:
        first: first new pixel that shows it.
        count: number of new pixels that do.
        start: where the part that they show begins, in pixels of the image.
        step: number of its pixels that each shows.
    """

    first: Any
    count: Any
    start: Any
    step: Any


def _of_channels(values: tuple[float, ...], ndim: int) -> np.ndarray:
    return np.asarray(values, np.float32).reshape((1,) * (ndim - 1) + (-1,))


def _whole(xp: Any, values: Any) -> Any:
    """Rounds grey values to bytes."""
    return xp.clip(xp.floor(values + np.float32(HALF)), 0, 255).astype(np.uint8)


def _in_channels(xp: Any, images: Any, channels: int) -> Any:
    """Returns images of 1, 3 or 4 channels in 1 or 3, by the whole-number arithmetic of PIL."""
    if images.shape[3] == 4:
        colour, alpha = images[..., :3].astype(np.int32), images[..., 3:].astype(np.int32)
        images = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    if images.shape[3] == channels:
        return images
    if channels == 3:
        return xp.concatenate([images] * 3, axis=3)
    red, green, blue = (images[..., part : part + 1].astype(np.int32) * LUMA[part] for part in range(3))
    return ((red + green + blue + 2**15) // 2**16).astype(np.uint8)
