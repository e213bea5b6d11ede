"""ReNet: a layer that reads an image from all four sides."""

import math
from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Key

from rowrnn.cells import GRU, Cell
from rowrnn.image.image_scan import Grid, ImageScan
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence import Bidirectional
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Integers, State


class ReNet(nnx.Module):
    """A layer that sees an image from all four sides (Visin et al. 2015): every column of patches is read downwards and
    upwards, then every row of what came of it from the left and from the right.

    It keeps the grid, so that it can stand in place of a convolution block, and be stacked.

    Args:
        features: channels of an image.
        hidden: size of the state of each of the four cells; an output has twice as many features as theirs.
        patch: height and width of a patch, or both at once.
        cell: class of `rowrnn.cells`.
        rngs: source of the initial parameters.
        options: those of the cell.
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
        def both(features: int) -> Bidirectional:
            return Bidirectional(*(cell(features, hidden, rngs=rngs, **options) for _ in range(2)))

        patch = self.patch = (patch, patch) if isinstance(patch, int) else patch
        self.vertical = ImageScan(both(math.prod(patch) * features), "down", patch=patch)
        self.horizontal = ImageScan(both(self.vertical.outputs), "across")

    @property
    def outputs(self) -> int:
        """Number of features of an output."""
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
        """Outputs on the grid of patches, `[b, h / patch, w / patch, 2·hidden]`, and the last states of both sweeps.

        Args:
            images: as for `ImageScan`.
            heights: as for `ImageScan`; a patch that has any valid pixel is valid.
            widths: as for `ImageScan`.
            initial_state: states before both sweeps.
            key: randomness of training.
            options: further ones of a layer's call.

        Raises:
            ValueError: as `ImageScan`.
        """
        above, left = (None, None) if initial_state is None else initial_state
        keys = split_key(key, 2)
        sizes = {"heights": heights, "widths": widths}
        grid, vertical = self.vertical(images, **sizes, initial_state=above, key=keys[0], **options)
        for (name, given), side in zip(sizes.items(), self.patch, strict=True):
            if given is not None:  # In a dtype of signs: a patch that is begun counts.
                sizes[name] = (jnp.asarray(given).astype(jnp.int32) + (side - 1)) // side
        grid, horizontal = self.horizontal(grid, **sizes, initial_state=left, key=keys[1], **options)
        return grid, (vertical, horizontal)
