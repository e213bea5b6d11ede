"""Orders in which the pixels of an image are read: index maps from pixels to sequences and back.

An order depends on height and width only. `ORDERS` maps names to functions `(height, width, **options) → Order`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Shaped

from rowrnn.machine.sharding import reshape_examples
from rowrnn.recurrence.arguments import as_array, known_values
from rowrnn.typing import Integers

HOLE = -1
Patch = tuple[int, int] | int
"""Height and width of a patch; an integer for a square one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Order:
    """Assignment of pixels to the steps of sequences, and of outputs to places of a grid.

    Args:
        size: height and width of the image.
        pixels: `[n, t, p]`: which p pixels are read in each of t steps of each of n sequences. The pixel in row i and
            column j has the number i·width + j; where a step has fewer than p pixels, -1 fills it up.
        places: `[gh, gw]`: which step's output lies at each place of the grid. Step i of sequence s has the number
            s·t + i.

    Raises:
        ValueError: if an array has another number of axes, a pixel is outside the image, or a place has the number of a
            step that does not exist.
    """

    size: tuple[int, int]
    pixels: Int[np.ndarray, "n t p"]
    places: Int[np.ndarray, "gh gw"]

    def __post_init__(self) -> None:
        _check_axes("pixels", self.pixels, ("sequences", "steps", "pixels of a step"), "one sequence is pixels[None]")
        _check_axes("places", self.places, ("height", "width"), "a grid of one column is places[:, None]")
        _check_numbers("pixels", self.pixels, HOLE, self.size[0] * self.size[1])
        _check_numbers("places", self.places, 0, self.pixels.shape[0] * self.pixels.shape[1])

    def sequences(self, images: Shaped[Array, "b h w c"]) -> Shaped[Array, "bn t d"]:
        """Converts images to sequences `[b·n, t, p·c]`, which are zero where there is no pixel.

        Raises:
            ValueError: if the images have another size.
        """
        b, h, w, c = images.shape
        self._check((h, w))
        n, t, p = self.pixels.shape
        x = reshape_examples(images, (b, h * w, c))[:, self.pixels.ravel()]
        if (self.pixels == HOLE).any():
            x = jnp.where((self.pixels.ravel() != HOLE)[None, :, None], x, jnp.zeros_like(x))
        return reshape_examples(x, (b * n, t, p * c))

    def images(self, sequences: Shaped[Array, "bn t d"]) -> Shaped[Array, "b h w c"]:
        """Converts sequences `[b·n, t, p·c]` to images `[b, h, w, c]`; the exact inverse of `sequences`.

        A pixel that occurs several times has the value of its last occurrence, sequence by sequence.

        Raises:
            ValueError: if the order omits a pixel.
        """
        n, t, p = self.pixels.shape
        c = sequences.shape[-1] // p
        back = np.full(self.size[0] * self.size[1], HOLE)
        places = self.pixels.ravel()
        back[places[places != HOLE]] = np.flatnonzero(places != HOLE)
        if omitted := (back == HOLE).sum():
            raise ValueError(f"This order has no inverse: it omits {omitted} of the {back.size} pixels of an image.")
        x = reshape_examples(sequences, (-1, n * t * p, c))[:, back]
        return reshape_examples(x, (-1, *self.size, c))

    def valid(
        self, heights: Integers | None, widths: Integers | None, batch: Any
    ) -> tuple[Bool[Array, "b h w"], Bool[Array, "bn t"]]:
        """Computes the masks of valid pixels `[b, h, w]` and of steps that have any, `[b·n, t]`.

        Args:
            heights: number of valid rows of each image, `[b]`; all if None.
            widths: number of valid columns of each image, `[b]`; all if None.
            batch: number of images.

        Raises:
            ValueError: if there is not one number for each image, or a known one exceeds the image.
            TypeError: if heights or widths are not integers.
        """
        within = jnp.ones((batch, *self.size), bool)
        for name, sizes, axis in (("heights", heights, 0), ("widths", widths, 1)):
            if sizes is None:
                continue
            sizes = as_array(sizes)
            if jnp.shape(sizes) != (batch,):
                raise ValueError(f"Expected one of {name} for each of {batch} images, not {list(jnp.shape(sizes))}.")
            if not jnp.issubdtype(jnp.result_type(sizes), jnp.integer):
                raise TypeError(f"Expected integer {name}, not {jnp.result_type(sizes)}.")
            known = known_values(sizes)
            if known is not None and batch and not ((known >= 0) & (known <= self.size[axis])).all():
                raise ValueError(
                    f"Expected {name} between 0 and {self.size[axis]}; they run from {known.min()} to {known.max()}."
                )
            numbers = np.arange(self.size[axis]).astype(np.int32).reshape((1, -1, 1) if axis == 0 else (1, 1, -1))
            within &= numbers < jnp.asarray(sizes).astype(jnp.int32)[:, None, None]
        steps = self.sequences(within[..., None]).any(axis=-1)
        return within, steps

    def when(self) -> Int[np.ndarray, "h w"]:
        """Returns the number of the step that reads each pixel, `[h, w]`."""
        sequences, steps, pixels = self.pixels.shape
        step = np.broadcast_to(np.arange(steps)[None, :, None], (sequences, steps, pixels))
        seen = np.zeros(self.size[0] * self.size[1], int)
        seen[self.pixels[self.pixels != HOLE]] = step[self.pixels != HOLE]
        return seen.reshape(self.size)

    def grid(self, outputs: Float[Array, "bn t k"]) -> Float[Array, "b gh gw k"]:
        """Arranges outputs of steps, `[b·n, t, k]`, on the grid, `[b, gh, gw, k]`."""
        n, t, _ = self.pixels.shape
        return reshape_examples(outputs, (-1, n * t, outputs.shape[-1]))[:, self.places]

    def _check(self, size: tuple[int, int]) -> None:
        if size != self.size:
            raise ValueError(f"This order is for images of {self.size[0]}x{self.size[1]}, not {size[0]}x{size[1]}.")


def _check_axes(name: str, numbers: np.ndarray, axes: tuple[str, ...], advice: str) -> None:
    if numbers.ndim != len(axes):
        raise ValueError(
            f"The {name} of an order have the shape [{', '.join(axes)}], not {list(numbers.shape)}: {advice}."
        )


def _check_numbers(name: str, numbers: np.ndarray, first: int, end: int) -> None:
    if numbers.size and not first <= numbers.min() <= numbers.max() < end:
        raise ValueError(
            f"The {name} of an order are numbers from {first} to {end - 1}; these run from {numbers.min()} to "
            f"{numbers.max()}."
        )


def rows(height: int, width: int) -> Order:
    """Reads one row in each step, from the top. Outputs are on a grid of one column."""
    return Order((height, width), _numbers(height, width)[None], np.arange(height)[:, None])


def columns(height: int, width: int) -> Order:
    """Reads one column in each step, from the left. Outputs are on a grid of one row."""
    return Order((height, width), _numbers(height, width).T[None], np.arange(width)[None, :])


def patches(height: int, width: int, patch: Patch = (1, 1)) -> Order:
    """Reads one patch in each step in raster order; with `(1, 1)` pixel by pixel."""
    blocks = _patches(height, width, patch)
    return _one_sequence((height, width), blocks, np.arange(blocks.shape[0] * blocks.shape[1]))


def snake(height: int, width: int, patch: Patch = (1, 1)) -> Order:
    """Reads one patch in each step, rows of patches alternately from the left and from the right."""
    blocks = _patches(height, width, patch)
    numbers = np.arange(blocks.shape[0] * blocks.shape[1]).reshape(blocks.shape[:2])
    numbers[1::2] = numbers[1::2, ::-1]
    return _one_sequence((height, width), blocks, numbers.ravel())


def permuted(height: int, width: int, patch: Patch = (1, 1), seed: int = 0) -> Order:
    """Reads one patch in each step, in a random order fixed by the seed; permuted sequential MNIST with `(1, 1)`."""
    blocks = _patches(height, width, patch)
    return _one_sequence(
        (height, width), blocks, np.random.default_rng(seed).permutation(blocks.shape[0] * blocks.shape[1])
    )


def permuted_rows(height: int, width: int, seed: int = 0) -> Order:
    """Reads one row in each step, in a random order fixed by the seed."""
    order = np.random.default_rng(seed).permutation(height)
    return Order((height, width), _numbers(height, width)[order][None], np.argsort(order)[:, None])


def diagonal(height: int, width: int) -> Order:
    """Reads one anti-diagonal in each step, from the upper left corner.

    This is the skewed image of PixelRNN (van den Oord et al. 2016). Step `t` holds the pixels with row + column = t,
    that of row i at position i; steps near the corners have positions without a pixel.
    """
    numbers, steps = _numbers(height, width), height + width - 1
    row, step = np.meshgrid(np.arange(height), np.arange(steps), indexing="xy")
    column = step - row
    within = (column >= 0) & (column < width)
    pixels = np.where(within, numbers[row, np.clip(column, 0, width - 1)], HOLE)
    places = np.arange(height)[:, None] + np.arange(width)[None, :]
    return Order((height, width), pixels[None], places)


def across(height: int, width: int, patch: Patch = (1, 1)) -> Order:
    """Reads every row of patches as its own sequence, one patch in each step, from the left."""
    blocks = _patches(height, width, patch)
    return Order((height, width), blocks, np.arange(blocks.shape[0] * blocks.shape[1]).reshape(blocks.shape[:2]))


def down(height: int, width: int, patch: Patch = (1, 1)) -> Order:
    """Reads every column of patches as its own sequence, one patch in each step, from the top."""
    blocks = _patches(height, width, patch).swapaxes(0, 1)
    return Order((height, width), blocks, np.arange(blocks.shape[0] * blocks.shape[1]).reshape(blocks.shape[:2]).T)


ORDERS: dict[str, Callable[..., Order]] = {
    "rows": rows,
    "columns": columns,
    "pixels": patches,
    "snake": snake,
    "diagonal": diagonal,
    "permuted": permuted,
    "permuted_rows": permuted_rows,
    "across": across,
    "down": down,
}
"""Orders by name: those that `ImageScan` takes as strings."""


def _numbers(height: int, width: int) -> Int[np.ndarray, "h w"]:
    if min(height, width) < 1:
        raise ValueError(f"An image has at least one row and one column, not {height}x{width}.")
    return np.arange(height * width).reshape(height, width)


def _patches(height: int, width: int, patch: Patch) -> Int[np.ndarray, "gh gw p"]:
    """Returns the pixel numbers of every patch, `[gh, gw, p]`.

    Raises:
        ValueError: if patches do not divide the image.
    """
    patch = (patch, patch) if isinstance(patch, int) else patch
    if min(patch) < 1 or height % patch[0] or width % patch[1]:
        raise ValueError(f"Patches of {patch[0]}x{patch[1]} do not divide an image of {height}x{width}.")
    blocks = _numbers(height, width).reshape(height // patch[0], patch[0], width // patch[1], patch[1])
    return blocks.swapaxes(1, 2).reshape(height // patch[0], width // patch[1], -1)


def _one_sequence(size: tuple[int, int], blocks: np.ndarray, order: np.ndarray) -> Order:
    """Returns the order that reads all patches as one sequence; `order` lists their numbers."""
    flat = blocks.reshape(-1, blocks.shape[-1])
    return Order(size, flat[order][None], np.argsort(order).reshape(blocks.shape[:2]))
