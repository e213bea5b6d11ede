"""Random changes of lines of handwriting in training: slant, width, height, position, strokes and paper of each."""

import dataclasses
import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from jaxtyping import Array, Float, Key

from rowrnn.decoding import ctc
from rowrnn.errors import InputError
from rowrnn.lab.data.dataset import as_float
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.models.line_reader import STRIP

FRACTIONS = ("stretch", "scale", "thickness", "fading")


@dataclasses.dataclass(frozen=True)
class LineAugmentation:
    """Largest random changes of a training line; each line draws its own, uniformly and in both directions.

    Args:
        slant: largest random slant, in columns per row.
        stretch: largest fraction by which a line becomes wider or narrower at random.
        scale: largest fraction by which the writing becomes higher or lower at random.
        shift: largest random shift, down or up, in rows.
        elastic: largest movement of parts of a line to all sides, at random and smoothly, in pixels.
        patch: pixels over which the movements of `elastic` change.
        thickness: how far strokes become, at random, those of a grey dilation or erosion by one pixel; 1 for all the
            way.
        fading: largest fraction of the brightness of the ink that is lost at random; none is gained.
        noise: amplitude of random noise on ink and paper.

    Raises:
        InputError: if a number is negative or not finite, a fraction is above 1, or `patch` is below 1.
    """

    slant: float = 0.0
    stretch: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    elastic: float = 0.0
    patch: int = 12
    thickness: float = 0.0
    fading: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < math.inf or (name in FRACTIONS and value > 1) or (name == "patch" and value < 1):
                allowed = "from 0 to 1" if name in FRACTIONS else "finite and at least 0"
                raise InputError(f"The largest random {name} of a line is {allowed}, not {value}; patch is at least 1.")

    def __call__(self, lines: Lines, key: Key[Array, ""]) -> Lines:
        """Changes each line, images `[b, h, w, 1]`; the new images are floating point in [0, 1].

        A line changes its width as far as its image has room, and becomes no narrower than CTC needs for its labels;
        it slants as far as there is room beside it. Pixels are interpolated linearly; those from outside the line are
        zero.
        """
        images, widths = as_float(lines.images), jnp.asarray(lines.widths)
        columns = images.shape[2]
        placing, moving, inking, dirtying = jax.random.split(key, 4)
        draws = jax.random.uniform(placing, (4, len(images)), images.dtype, -1, 1)
        # Half a strip more than needed, so that rounding takes no step away.
        needed = STRIP * ctc.steps_needed(jnp.asarray(lines.labels), jnp.asarray(lines.lengths)) + STRIP // 2
        before = widths.astype(images.dtype)
        least = jnp.minimum(1, needed.astype(images.dtype) / before)
        stretch = jnp.clip(1 + self.stretch * draws[0], least, columns / before)
        most = (columns - stretch * before) / max(1, images.shape[1] - 1)
        slant = jnp.clip(self.slant * draws[1], -most, most)
        after = stretch * before + jnp.abs(slant) * (images.shape[1] - 1)
        widths = jnp.clip(jnp.round(after).astype(widths.dtype), 1, columns)
        scale, shift = 1 + self.scale * draws[2], self.shift * draws[3]
        moved = jax.vmap(_moved)(images[..., 0], stretch, slant, scale, shift, self._bends(images, moving))
        moved = jax.vmap(partial(_inked, thickness=self.thickness, fading=self.fading))(
            moved, jax.random.uniform(inking, (len(images), 2), images.dtype, -1, 1)
        )
        if self.noise:
            moved = jnp.clip(moved + self.noise * jax.random.uniform(dirtying, moved.shape, moved.dtype, -1, 1), 0, 1)
        inside = jnp.arange(columns)[None, :] < widths[:, None]
        return lines._replace(images=jnp.where(inside[:, None, :], moved, 0)[..., None], widths=widths)

    def _bends(self, images: Float[Array, "b h w 1"], key: Array) -> Float[Array, "b h w 2"]:
        """Returns smooth random movements of each pixel, in rows and columns: random on a grid, linear between."""
        batch, height, width, _ = images.shape
        if not self.elastic:
            return jnp.zeros((batch, height, width, 2), images.dtype)
        grid = (batch, 2 + height // self.patch, 2 + width // self.patch, 2)
        coarse = jax.random.uniform(key, grid, images.dtype, -self.elastic, self.elastic)
        return jax.image.resize(coarse, (batch, height, width, 2), "linear")


def _moved(
    image: Float[Array, "h w"],
    stretch: Float[Array, ""],
    slant: Float[Array, ""],
    scale: Float[Array, ""],
    shift: Float[Array, ""],
    bends: Float[Array, "h w 2"],
) -> Float[Array, "h w"]:
    """Stretches, slants, scales, shifts and bends one line, which keeps its left end at column 0."""
    height, width = image.shape
    middle = (height - 1) / 2
    row, column = jnp.meshgrid(*(jnp.arange(n, dtype=image.dtype) for n in (height, width)), indexing="ij")
    margin = jnp.abs(slant) * middle  # what a slanted line needs on either side
    lean = slant * (middle - row)  # to the right going up
    from_column = (column + 0.5 - margin - lean) / stretch - 0.5 + bends[..., 1]
    from_row = (row - middle - shift) / scale + middle + bends[..., 0]
    return map_coordinates(image, [from_row, from_column], order=1)


def _inked(
    image: Float[Array, "h w"], draw: Float[Array, "2"], *, thickness: float, fading: float
) -> Float[Array, "h w"]:
    """Makes strokes thicker or thinner, and fades them."""
    if thickness:
        wide, narrow = (_over_neighbours(image, extreme) for extreme in (jnp.maximum, jnp.minimum))
        far = thickness * draw[0]
        image = jnp.where(far > 0, image + far * (wide - image), image - far * (narrow - image))
    return image * (1 - fading * (1 + draw[1]) / 2)


def _over_neighbours(image: Float[Array, "h w"], extreme: Callable[[Array, Array], Array]) -> Float[Array, "h w"]:
    """Returns the maximum or minimum of each pixel and its four neighbours; at the border, of those there are."""
    padded = jnp.pad(image, 1, mode="edge")
    beside = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    for pixels in beside:
        image = extreme(image, pixels)
    return image
