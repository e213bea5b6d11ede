"""ReNet: a layer that scans an image from all four sides."""

import math
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Key

from rowrnn.cells import GRU, Cell
from rowrnn.image.image_scan import Grid, ImageScan
from rowrnn.recurrence.arguments import check_cell_class
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence import Bidirectional
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Integers, State


class ReNet(nnx.Module):
    """ReNet layer (Visin et al. 2015): scans columns of patches in both directions, then rows of the resulting
    features.

    Outputs are on the grid of patches, so the layer can replace a convolution block and be stacked.

    Args:
        features: number of channels of an image.
        hidden: size of the state of each of the four cells; the output has twice the features of a cell's output.
        patch: height and width of a patch; an integer for a square one.
        cell: a class of `rowrnn.cells`.
        rngs: random streams; the initial parameters use "params".
        options: further arguments of the cell.

    Raises:
        TypeError: if `cell` is not a class of cells.
    """

    def __init__(
        self,
        features: int,
        hidden: int,
        patch: tuple[int, int] | int = (2, 2),
        *,
        cell: type[Cell] = GRU,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        check_cell_class("ReNet", cell)

        def both(features: int) -> Bidirectional:
            return Bidirectional(*(cell(features, hidden, rngs=rngs, **options) for _ in range(2)))

        patch = self.patch = (patch, patch) if isinstance(patch, int) else patch
        self.vertical = ImageScan(both(math.prod(patch) * features), "down", patch=patch)
        self.horizontal = ImageScan(both(self.vertical.outputs), "across")

    @property
    def outputs(self) -> int:
        """Number of output features."""
        return self.horizontal.outputs

    def __call__(
        self,
        images: ArrayLike,
        *,
        heights: Integers | None = None,
        widths: Integers | None = None,
        initial_state: tuple[State, State] | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Grid, tuple[State, State]]:
        """Runs both sweeps over images.

        Args:
            images: floating-point images `[b, h, w, c]`.
            heights: number of valid rows of each image, `[b]`; a patch with any valid pixel is valid. Default: all.
            widths: number of valid columns of each image, `[b]`; default: all.
            initial_state: states before the vertical and the horizontal sweep; default: zeros.
            key: random key of dropout and zoneout, in training.
            options: options of `rowrnn.scan` except `mask`.

        Returns:
            Outputs on the grid of patches, `[b, h / patch, w / patch, outputs]`, and the last states of both sweeps.

        Raises:
            ValueError: if a shape does not fit, patches do not divide the images, heights or widths known outside
                `jax.jit` exceed the images, or `mask` is given.
            TypeError: if images are not floating point, or heights or widths are not integers.
        """
        above, left = (None, None) if initial_state is None else initial_state
        keys = split_key(key, 2)
        sizes = {"heights": heights, "widths": widths}
        grid, vertical = self.vertical(images, **sizes, initial_state=above, key=keys[0], **options)
        for (name, given), side in zip(sizes.items(), self.patch, strict=True):
            if given is not None:  # Rounds up, in int32 to avoid overflow.
                sizes[name] = (jnp.asarray(given).astype(jnp.int32) + (side - 1)) // side
        grid, horizontal = self.horizontal(grid, **sizes, initial_state=left, key=keys[1], **options)
        return grid, (vertical, horizontal)
