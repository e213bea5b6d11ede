"""Detector without memory: every place of a feature map says on its own whether an object is there."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.models.boxes import Boxes, Grid, boxes_at, overlaps
from rowrnn.models.feature_map import FeatureMap

RARE = -4.6
"""Initial logit of an object at a place, of a probability of 1 % (Lin et al. 2017)."""
OVERLAP = 0.5
"""Intersection over union above which the less probable of two boxes of one class is left out."""


class DenseDetector(nnx.Module):
    """Detector without memory (CenterNet, Zhou et al. 2019).

    Every place of a feature map says on its own whether an object of a class has its middle there, and its box. Places
    beside a more probable one are left out, and of overlapping boxes of one class the most probable remains.

    Args:
        channels: number of channels of an image.
        width: half the number of features of a place.
        classes: number of classes.
        most: number of boxes that are found, the least probable of which are none.
        dropout: probability with which a feature of the map is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self, channels: int, width: int, classes: int, *, most: int = 50, dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        check_numbers(classes, most)
        self.most = most
        self.map = FeatureMap(channels, width, dropout=dropout, rngs=rngs)
        rare = nnx.initializers.constant(RARE)
        self.classes = nnx.Linear(self.map.outputs, classes, bias_init=rare, rngs=rngs)
        self.edges = nnx.Linear(self.map.outputs, 4, rngs=rngs)

    def __call__(self, images: ArrayLike) -> tuple[Array, Array, Array]:
        """Returns boxes, classes and scores of `find`."""
        return self.find(images)[:3]

    def logits(
        self, images: ArrayLike, *, key: Array | None = None
    ) -> tuple[Float[Array, "b p classes"], Float[Array, "b p 4"]]:
        """Computes the logit of an object of each class at each place, and the box of each place, in pixels.

        Args:
            images: floating-point images `[b, h, w, c]` of any size.
            key: random key of dropout, in training.

        Raises:
            ValueError: if images have another shape or are not floating point.
        """
        return self._logits(images, key)[:2]

    def find(self, images: ArrayLike) -> Boxes:
        """Finds boxes in images `[b, h, w, c]`, the most probable first; those of no object have the score zero.

        Raises:
            ValueError: as `logits`.
        """
        logits, boxes, grid = self._logits(images, None)
        return jax.vmap(lambda scores, boxes: self._best(scores, boxes, grid))(jax.nn.sigmoid(logits), boxes)

    def _logits(self, images: ArrayLike, key: Array | None) -> tuple[Array, Array, Grid]:
        features, grid = self.map(images, key=key)
        places = jnp.broadcast_to(jnp.arange(features.shape[1], dtype=jnp.int32)[None], features.shape[:2])
        return self.classes(features), boxes_at(self.edges(features), places, grid), grid

    def _best(self, scores: Float[Array, "p classes"], boxes: Float[Array, "p 4"], grid: Grid) -> Boxes:
        """Takes the most probable box of all again and again, without those of its class that overlap it."""
        maps = scores.reshape(*grid, -1)
        around = jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, (3, 3, 1), (1, 1, 1), "SAME")
        peaks = jnp.where(maps == around, maps, 0.0).reshape(scores.shape)

        def step(left: Array, _: Any) -> tuple[Array, tuple[Array, ...]]:
            place, kind = jnp.unravel_index(left.argmax(), left.shape)
            score = left[place, kind]
            near = overlaps(boxes[place][None], boxes)[0] > OVERLAP
            of_class = jnp.arange(left.shape[1]) == kind
            taken = (near[:, None] | (jnp.arange(len(left)) == place)[:, None]) & of_class[None]
            return jnp.where(taken, 0.0, left), (boxes[place], kind, score, place)

        _, found = jax.lax.scan(step, peaks, length=self.most)
        return Boxes(*found)


def check_numbers(classes: int, most: int) -> None:
    """Checks that a detector has a class to tell and a box to say.

    Raises:
        ValueError: if it has not.
    """
    if min(classes, most) < 1:
        raise ValueError(f"A detector needs at least one class and one box, not {classes} and {most}.")
