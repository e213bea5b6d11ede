"""Detector with memory: a recurrent decoder that says one object after another, and then stops."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Int

from rowrnn.cells import GRU, Cell
from rowrnn.models.boxes import USUAL, Boxes, Grid, Places, beside, boxes_at, nearness
from rowrnn.models.dense_detector import check_numbers
from rowrnn.models.feature_map import FeatureMap
from rowrnn.recurrence.arguments import check_any_state
from rowrnn.recurrence.scan import scan
from rowrnn.typing import State

WORD = 16
"""Numbers by which a decoder is told a class, and by which it is written onto the map."""
FAR = 10 * USUAL
"""Pixels by which a box is divided where the decoder is told it, about the side of a picture."""


class Spoken(NamedTuple):
    """What a decoder says when it is told the objects of images one after another.

    Args:
        places: logits of the place of the next object and, last, of none, after 0 to t objects, `[b, t + 1, p + 1]`.
        classes: logits of the class of each object, `[b, t, classes]`.
        boxes: box of each object, in pixels, `[b, t, 4]`.
    """

    places: Float[Array, "b t1 p1"]
    classes: Float[Array, "b t classes"]
    boxes: Float[Array, "b t 4"]


class SequentialDetector(nnx.Module):
    """Detector with memory: a recurrent decoder looks at a feature map and says one object after another, then stops.

    At each step the output h of the cell asks every place p of the map, and one number stands for the end (pointer
    networks, Vinyals et al. 2015). What was said is written onto the map, so that it is neither said twice nor
    forgotten: the score of a place is

        q(h) · k(p) / √d + Σ over the boxes said before of G(p, box) · (r(p) · v(h after the box)),

    where G is a Gaussian of the size of the box. The class and the box follow from h and the features of the place; the
    cell's next input are these features, the class and the box. As all boxes of a training image are known, one scan
    computes all steps.

    Args:
        channels: number of channels of an image.
        width: half the number of features of a place, which is the size of the cell's state.
        classes: number of classes.
        cell: a class of `rowrnn.cells`.
        most: number of boxes that are said, the least probable of which are none.
        dropout: probability with which a feature of the map is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        classes: int,
        *,
        cell: type[Cell] = GRU,
        most: int = 50,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        check_numbers(classes, most)
        self.most = most
        self.map = FeatureMap(channels, width, dropout=dropout, rngs=rngs)
        features = self.map.outputs
        self.key = nnx.Linear(features, width, rngs=rngs)
        self.reader = nnx.Linear(features, WORD, rngs=rngs)
        self.word = nnx.Embed(classes, WORD, rngs=rngs)
        inputs = features + WORD + 4
        self.cell = cell(inputs, features, rngs=rngs)
        check_any_state(type(self).__name__, self.cell)
        zeros = jax.eval_shape(lambda: self.cell.initialize_carry((1, inputs)))
        self._sizes = tuple(leaf.shape[1] for leaf in jax.tree.leaves(zeros))
        self.begin = nnx.Linear(2 * features, sum(self._sizes), rngs=rngs)
        outputs = self.cell.outputs
        self.question = nnx.Linear(outputs, width, rngs=rngs)
        self.mark = nnx.Linear(outputs, WORD, rngs=rngs)
        self.end = nnx.Linear(outputs, 1, rngs=rngs)
        self.seen = nnx.Linear(features + outputs, features, rngs=rngs)
        self.classes = nnx.Linear(features, classes, rngs=rngs)
        self.edges = nnx.Linear(features, 4, rngs=rngs)

    def __call__(self, images: ArrayLike) -> tuple[Array, Array, Array]:
        """Returns boxes, classes and scores of `find`."""
        return self.find(images)[:3]

    def logits(
        self,
        images: ArrayLike,
        places: Places,
        classes: Int[Array, "b t"],
        boxes: Float[Array, "b t 4"],
        *,
        key: Array | None = None,
    ) -> Spoken:
        """Computes what is said after each of some objects (teacher forcing).

        Args:
            images: floating-point images `[b, h, w, c]` of any size.
            places: number of the place of each object, in their order, `[b, t]`.
            classes: class of each object, `[b, t]`.
            boxes: left, top, right and bottom edge of each, in pixels, `[b, t, 4]`.
            key: random key of dropout, in training.

        Raises:
            ValueError: if images have another shape or are not floating point.
        """
        features, grid = self.map(images, key=key)
        here = jnp.take_along_axis(features, places[..., None], axis=1)
        inputs = self._told(here, classes, boxes)
        # The first step has nothing to read.
        inputs = jnp.concatenate([jnp.zeros_like(inputs[:, :1]), inputs], axis=1)
        outputs, _ = scan(self.cell, inputs, initial_state=self._state(features))
        marks = jnp.einsum("btr,bpr->btp", self.mark(outputs[:, 1:]), self.reader(features))
        written = jnp.cumsum(jnp.pad(nearness(boxes, grid) * marks, ((0, 0), (1, 0), (0, 0))), axis=1)
        logits = self._asked(self.key(features), outputs) + written
        said = self._said(here, outputs[:, :-1])
        places_and_end = jnp.concatenate([logits, self.end(outputs)], axis=-1)
        return Spoken(places_and_end, self.classes(said), boxes_at(self.edges(said), places, grid))

    def find(self, images: ArrayLike) -> Boxes:
        """Says boxes of images `[b, h, w, c]`, one after another.

        The score of a box is its class's probability times that of its place and those around, compared with that of
        the end; but not above the probability that the decoder went on at this or an earlier step. So boxes beyond the
        end have low ones.

        Raises:
            ValueError: as `logits`.
        """
        return self._say(images)[0]

    def attention(self, images: ArrayLike) -> tuple[Boxes, Float[Array, "b k gh gw"]]:
        """Says boxes as `find` does, and returns also the probability of each place at each step.

        Raises:
            ValueError: as `logits`.
        """
        boxes, shares, grid = self._say(images)
        return boxes, shares.reshape(*shares.shape[:2], *grid)

    def _say(self, images: ArrayLike) -> tuple[Boxes, Float[Array, "b k p"], Grid]:
        features, grid = self.map(images)
        keys, reader, places = self.key(features), self.reader(features), jnp.arange(features.shape[1])
        first = jnp.zeros((features.shape[0], self.cell.features), features.dtype)
        written = jnp.zeros(features.shape[:2], features.dtype)

        def step(carry: Any, _: Any) -> tuple[Any, tuple[Array, ...]]:
            (state, output), written, taken, going = carry
            logits, end = self._asked(keys, output[:, None])[:, 0] + written, self.end(output)
            left = jnp.where(taken, -jnp.inf, logits)
            place = left.argmax(axis=1)
            here = jnp.take_along_axis(features, place[:, None, None], axis=1)
            said = self._said(here, output[:, None])
            kinds = jax.nn.softmax(self.classes(said)[:, 0])
            kind = kinds.argmax(axis=1)
            box = boxes_at(self.edges(said), place[:, None], grid)
            going = jnp.minimum(going, jax.nn.sigmoid(jax.nn.logsumexp(left, axis=1) - end[:, 0]))
            around = jax.nn.logsumexp(jnp.where(beside(place, grid), left, -jnp.inf), axis=1)
            score = jnp.minimum(going, jax.nn.sigmoid(around - end[:, 0])) * kinds.max(axis=1)
            shares = jax.nn.softmax(jnp.concatenate([logits, end], axis=-1))[:, :-1]
            told = self.cell(state, self._told(here, kind[:, None], box)[:, 0])
            mark = jnp.einsum("br,bpr->bp", self.mark(told[1]), reader)
            written = written + nearness(box, grid)[:, 0] * mark
            taken = taken | (places[None] == place[:, None])
            return (told, written, taken, going), (box[:, 0], kind, score, place, shares)

        begun = self.cell(self._state(features), first)
        carry = (begun, written, jnp.zeros(written.shape, bool), jnp.ones_like(written[:, 0]))
        _, found = jax.lax.scan(step, carry, length=self.most)
        *boxes, shares = (jnp.swapaxes(part, 0, 1) for part in found)
        return Boxes(*boxes), shares, grid

    def _state(self, features: Float[Array, "b p k"]) -> State:
        """Returns the decoder's state before the first step, from the mean and the largest features of all places."""
        pooled = jnp.concatenate([features.mean(axis=1), features.max(axis=1)], axis=-1)
        leaves = jnp.tanh(self.begin(pooled))
        parts = jnp.split(leaves, [sum(self._sizes[: n + 1]) for n in range(len(self._sizes) - 1)], axis=1)
        zeros = jax.eval_shape(lambda: self.cell.initialize_carry((1, self.cell.features)))
        return jax.tree.unflatten(jax.tree.structure(zeros), parts)

    def _told(
        self, here: Float[Array, "b t k"], classes: Int[Array, "b t"], boxes: Float[Array, "b t 4"]
    ) -> Float[Array, "b t inputs"]:
        """Returns the inputs of the cell: features of a place, class and box of the object said there."""
        return jnp.concatenate([here, self.word(classes), boxes / FAR], axis=-1)

    def _asked(self, keys: Float[Array, "b p k"], outputs: Float[Array, "b t h"]) -> Float[Array, "b t p"]:
        return jnp.einsum("btk,bpk->btp", self.question(outputs), keys) / keys.shape[-1] ** 0.5

    def _said(self, here: Float[Array, "b t k"], outputs: Float[Array, "b t h"]) -> Float[Array, "b t k"]:
        """Returns what class and box are computed from."""
        return nnx.relu(self.seen(jnp.concatenate([here, outputs], axis=-1)))
