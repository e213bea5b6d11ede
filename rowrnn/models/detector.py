"""Detectors of objects: a recurrent one that says box after box, and a dense one that asks every place on its own."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from rowrnn.cells import GRU, Cell
from rowrnn.cells.convolution import conv
from rowrnn.models.segmenter import enlarged
from rowrnn.recurrence.arguments import check_rate
from rowrnn.recurrence.scan import scan
from rowrnn.typing import State

PLACE = 8
"""Height and width of a place of the feature map, in pixels."""
MULTIPLE = 2 * PLACE  # The map is halved once more: other sizes are padded at the bottom and on the right.
USUAL = 4 * PLACE
"""Height and width of a box, in pixels, where a detector's output for its size is zero."""
WORD = 16
"""Numbers by which a decoder is told a class."""
FAINT = 1e-2
"""Epsilon of layer normalizations, large enough that empty background is not amplified."""
RARE = -4.6
"""Initial logit of an object at a place, of a probability of 1 % (Lin et al. 2017)."""

Map = Float[Array, "b gh gw k"]
Places = Int[Array, "b t"]


class Boxes(NamedTuple):
    """Boxes that were found in images, in the order in which they were said, or by their scores.

    Args:
        boxes: left, top, right and bottom edge in pixels of the image, `[b, k, 4]`.
        classes: number of the class of each, `[b, k]`.
        scores: probability that there is such an object, `[b, k]`.
        places: number of the place of the feature map from which each was said, row by row, `[b, k]`.
    """

    boxes: Float[Array, "b k 4"]
    classes: Int[Array, "b k"]
    scores: Float[Array, "b k"]
    places: Int[Array, "b k"]


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


class FeatureMap(nnx.Module):
    """Convolutions that make a feature map of an eighth of an image's height and width.

    Three of them have stride 2; of their map a smaller one is made, which sees twice as far, and added to it again, as
    in feature pyramids (Lin et al. 2017). All but the first are followed by layer normalization over channels.

    Args:
        channels: number of channels of an image.
        width: number of features of a place.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, channels: int, width: int, *, rngs: nnx.Rngs) -> None:
        quarter, half = -(-width // 4), -(-width // 2)

        def block(inputs: int, outputs: int, stride: int = 1) -> Any:
            norm = nnx.LayerNorm(outputs, epsilon=FAINT, rngs=rngs)
            return nnx.List([conv(inputs, outputs, 3, (stride, stride), rngs=rngs), norm])

        self.channels = channels
        self.first = conv(channels, quarter, 3, (2, 2), rngs=rngs)
        sizes = ((quarter, half, 2), (half, half), (half, width, 2), (width, width), (width, width))
        self.near = nnx.List([block(*size) for size in sizes])
        self.far = nnx.List([block(width, 2 * width, 2), *[block(2 * width, 2 * width) for _ in range(3)]])
        self.spread = nnx.Linear(2 * width, 4 * width, rngs=rngs)
        self.last = block(width, width)

    def __call__(self, images: ArrayLike) -> Map:
        """Computes the map `[b, ⌈h / 16⌉ · 2, ⌈w / 16⌉ · 2, width]` of images `[b, h, w, c]`.

        Raises:
            ValueError: if images have another shape or are not floating point.
        """
        images = jnp.asarray(images)
        whole = images.ndim == 4 and images.shape[3] == self.channels and 0 not in images.shape[1:3]
        if not whole or not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(
                f"This detector takes floating-point images [b, h, w, {self.channels}], not {images.dtype} of shape "
                f"{list(images.shape)}."
            )
        height, width = images.shape[1:3]
        x = jnp.pad(images, ((0, 0), (0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)))
        x = nnx.relu(self.first(x))
        for block in self.near:
            x = _through(block, x)
        far = x
        for block in self.far:
            far = _through(block, far)
        return _through(self.last, x + enlarged(self.spread(far)))


class DenseDetector(nnx.Module):
    """Detector without memory: every place of a feature map says on its own whether an object of a class has its centre
    there, and its box (CenterNet, Zhou et al. 2019). Of overlapping boxes of one class the most probable remains.

    Args:
        channels: number of channels of an image.
        width: number of features of a place.
        classes: number of classes.
        most: number of boxes that are found, the least probable of which are none.
        dropout: probability with which a feature of the map is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range.
    """

    overlap = 0.5
    """Intersection over union above which the less probable of two boxes of one class is left out."""

    def __init__(
        self, channels: int, width: int, classes: int, *, most: int = 50, dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        _check(channels, width, classes, most, dropout)
        self.most = most
        self.map = FeatureMap(channels, width, rngs=rngs)
        self.about = conv(width, 2 * width, 3, rngs=rngs)
        rare = nnx.initializers.constant(RARE)
        self.classes = nnx.Linear(2 * width, classes, bias_init=rare, rngs=rngs)
        self.edges = nnx.Linear(2 * width, 4, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

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
        features = self.map(images)
        x = nnx.relu(self.about(self.dropout(features, deterministic=key is None, rngs=key)))
        b, height, width, k = x.shape
        x = x.reshape(b, height * width, k)
        return self.classes(x), boxes_at(self.edges(x), _all_places(b, height * width), width)

    def find(self, images: ArrayLike) -> Boxes:
        """Finds boxes in images `[b, h, w, c]`, the most probable first; those of no object have the score zero.

        Raises:
            ValueError: as `logits`.
        """
        logits, boxes = self.logits(images)
        grid = _grid(jnp.asarray(images))
        return jax.vmap(lambda scores, boxes: self._best(scores, boxes, grid))(jax.nn.sigmoid(logits), boxes)

    def _best(self, scores: Float[Array, "p classes"], boxes: Float[Array, "p 4"], grid: tuple[int, int]) -> Boxes:
        """Takes the most probable box of all again and again, without those of its class that overlap it."""
        maps = scores.reshape(*grid, -1)
        around = jax.lax.reduce_window(maps, -jnp.inf, jax.lax.max, (3, 3, 1), (1, 1, 1), "SAME")
        peaks = jnp.where(maps == around, maps, 0.0).reshape(scores.shape)

        def step(left: Array, _: None) -> tuple[Array, tuple[Array, ...]]:
            place, kind = jnp.unravel_index(left.argmax(), left.shape)
            score = left[place, kind]
            near = overlaps(boxes[place][None], boxes)[0] > self.overlap
            of_class = jnp.arange(left.shape[1]) == kind
            taken = (near[:, None] | (jnp.arange(len(left)) == place)[:, None]) & of_class[None]
            return jnp.where(taken, 0.0, left), (boxes[place], kind, score, place)

        _, found = jax.lax.scan(step, peaks, length=self.most)
        return Boxes(*found)


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
        width: number of features of a place; the cell's state has twice as many.
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
        _check(channels, width, classes, most, dropout)
        self.most = most
        self.map = FeatureMap(channels, width, rngs=rngs)
        self.about = conv(width, 2 * width, 3, rngs=rngs)
        self.key = nnx.Linear(2 * width, width, rngs=rngs)
        self.reader = nnx.Linear(2 * width, WORD, rngs=rngs)
        self.word = nnx.Embed(classes, WORD, rngs=rngs)
        inputs = 2 * width + WORD + 4
        self.cell = cell(inputs, 2 * width, rngs=rngs)
        zeros = jax.eval_shape(lambda: self.cell.initialize_carry((1, inputs)))
        self._sizes = tuple(leaf.shape[1] for leaf in jax.tree.leaves(zeros))
        self.begin = nnx.Linear(4 * width, sum(self._sizes), rngs=rngs)
        outputs = self.cell.outputs
        self.question = nnx.Linear(outputs, width, rngs=rngs)
        self.mark = nnx.Linear(outputs, WORD, rngs=rngs)
        self.end = nnx.Linear(outputs, 1, rngs=rngs)
        self.seen = nnx.Linear(2 * width + outputs, 2 * width, rngs=rngs)
        self.classes = nnx.Linear(2 * width, classes, rngs=rngs)
        self.edges = nnx.Linear(2 * width, 4, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

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
        features, (_, width) = self._features(images, key)
        state = self._state(features)
        here = jnp.take_along_axis(features, places[..., None], axis=1)
        inputs = self._told(here, classes, boxes)
        # The first step has nothing to read.
        inputs = jnp.concatenate([jnp.zeros_like(inputs[:, :1]), inputs], axis=1)
        outputs, _ = scan(self.cell, inputs, initial_state=state)
        near = nearness(boxes, features.shape[1], width)
        written = near * jnp.einsum("btr,bpr->btp", self.mark(outputs[:, 1:]), self.reader(features))
        before = jnp.cumsum(jnp.pad(written, ((0, 0), (1, 0), (0, 0))), axis=1)
        logits = self._asked(features, outputs) + before
        said = self._said(here, outputs[:, :-1])
        places_and_end = jnp.concatenate([logits, self.end(outputs)], axis=-1)
        return Spoken(places_and_end, self.classes(said), boxes_at(self.edges(said), places, width))

    def find(self, images: ArrayLike) -> Boxes:
        """Says boxes of images `[b, h, w, c]`, one after another.

        The score of a box is its class's probability times that of its place and those around, compared with that of
        the end: below one half for those that the decoder would not have said.

        Raises:
            ValueError: as `logits`.
        """
        return self._say(images)[0]

    def attention(self, images: ArrayLike) -> tuple[Boxes, Float[Array, "b k gh gw"]]:
        """Says boxes as `find` does, and returns also the probability of each place at each step.

        Raises:
            ValueError: as `logits`.
        """
        boxes, shares = self._say(images)
        return boxes, shares.reshape(*shares.shape[:2], *_grid(jnp.asarray(images)))

    def _say(self, images: ArrayLike) -> tuple[Boxes, Float[Array, "b k p"]]:
        features, (height, width) = self._features(images, None)
        reader = self.reader(features)
        state = self._state(features)
        inputs = jnp.zeros((len(features), self.cell.features), features.dtype)
        written = jnp.zeros(features.shape[:2], features.dtype)
        state, output = self.cell(state, inputs)

        def step(carry: Any, _: None) -> tuple[Any, tuple[Array, ...]]:
            state, output, written, taken = carry
            logits = self._asked(features, output[:, None])[:, 0] + written
            place = jnp.where(taken, -jnp.inf, logits).argmax(axis=1)
            here = jnp.take_along_axis(features, place[:, None, None], axis=1)
            said = self._said(here, output[:, None])
            kinds = jax.nn.softmax(self.classes(said)[:, 0])
            kind = kinds.argmax(axis=1)
            box = boxes_at(self.edges(said), place[:, None], width)
            around = beside(place, (height, width))
            mass = jax.nn.logsumexp(jnp.where(around, logits, -jnp.inf), axis=1)
            score = jax.nn.sigmoid(mass - self.end(output)[:, 0]) * kinds.max(axis=1)
            told = self.cell(state, self._told(here, kind[:, None], box)[:, 0])
            mark = jnp.einsum("br,bpr->bp", self.mark(told[1]), reader)
            written = written + nearness(box, features.shape[1], width)[:, 0] * mark
            taken = taken | (jnp.arange(features.shape[1])[None] == place[:, None])
            shares = jax.nn.softmax(jnp.concatenate([logits, self.end(output)], axis=-1))[:, :-1]
            return (*told, written, taken), (box[:, 0], kind, score, place, shares)

        carry = (state, output, written, jnp.zeros(written.shape, bool))
        _, found = jax.lax.scan(step, carry, length=self.most)
        *boxes, shares = (jnp.swapaxes(part, 0, 1) for part in found)
        return Boxes(*boxes), shares

    def _features(self, images: ArrayLike, key: Array | None) -> tuple[Float[Array, "b p k"], tuple[int, int]]:
        """Returns the features of all places, and height and width of the map."""
        features = self.map(images)
        x = nnx.relu(self.about(self.dropout(features, deterministic=key is None, rngs=key)))
        b, height, width, k = x.shape
        return x.reshape(b, height * width, k), (height, width)

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
        return jnp.concatenate([here, self.word(classes), boxes / (10 * USUAL)], axis=-1)

    def _asked(self, features: Float[Array, "b p k"], outputs: Float[Array, "b t h"]) -> Float[Array, "b t p"]:
        keys = self.key(features)
        return jnp.einsum("btk,bpk->btp", self.question(outputs), keys) / keys.shape[-1] ** 0.5

    def _said(self, here: Float[Array, "b t k"], outputs: Float[Array, "b t h"]) -> Float[Array, "b t k"]:
        """Returns what class and box are computed from."""
        return nnx.relu(self.seen(jnp.concatenate([here, outputs], axis=-1)))


def boxes_at(edges: Float[Array, "b t 4"], places: Places, width: int) -> Float[Array, "b t 4"]:
    """Returns boxes in pixels: centres relative to those of their places, sizes as powers of e.

    Args:
        edges: distance of the centre from that of the place, right and down, in places; logarithms of width and height
            over `USUAL`.
        places: numbers of the places, row by row.
        width: places in a row.
    """
    row, column = (part.astype(edges.dtype) for part in jnp.divmod(places, width))
    middle = PLACE * (jnp.stack([column, row], axis=-1) + 0.5 + edges[..., :2])
    half = USUAL / 2 * jnp.exp(jnp.clip(edges[..., 2:], -4, 4))
    return jnp.concatenate([middle - half, middle + half], axis=-1)


def middles(count: int, width: int) -> Float[Array, "p 2"]:
    """Returns the middles of all places, right and down, in pixels."""
    row, column = jnp.divmod(jnp.arange(count, dtype=jnp.int32), width)
    return PLACE * (jnp.stack([column, row], axis=-1).astype(jnp.float32) + 0.5)


def nearness(boxes: Float[Array, "b t 4"], count: int, width: int) -> Float[Array, "b t p"]:
    """Returns how near each place is to each box: 1 in its middle, e⁻² in the middle of its edges.

    Args:
        boxes: in pixels.
        count: number of places.
        width: places in a row.
    """
    middle, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    away = (middles(count, width)[None, None] - middle[:, :, None]) / jnp.maximum(size, 1.0)[:, :, None]
    return jnp.exp(-8.0 * (away**2).sum(axis=-1))


def beside(places: Int[Array, "b"], grid: tuple[int, int]) -> Bool[Array, "b p"]:
    """Returns which places are one of some places or beside it, also across a corner."""
    row, column = jnp.divmod(jnp.arange(grid[0] * grid[1], dtype=jnp.int32), grid[1])
    of_row, of_column = jnp.divmod(places, grid[1])
    near_row = jnp.abs(row[None] - of_row[:, None]) <= 1
    return near_row & (jnp.abs(column[None] - of_column[:, None]) <= 1)


def overlaps(these: Float[Array, "n 4"], those: Float[Array, "m 4"]) -> Float[Array, "n m"]:
    """Returns the intersection over union of each of these boxes with each of those; 0 where both are empty."""
    low = jnp.maximum(these[:, None, :2], those[None, :, :2])
    high = jnp.minimum(these[:, None, 2:], those[None, :, 2:])
    common = jnp.maximum(high - low, 0.0).prod(axis=-1)
    areas = [jnp.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=-1) for boxes in (these, those)]
    either = areas[0][:, None] + areas[1][None] - common
    return common / jnp.maximum(either, 1e-6)


def _all_places(b: int, count: int) -> Places:
    return jnp.broadcast_to(jnp.arange(count)[None], (b, count))


def _grid(images: Array) -> tuple[int, int]:
    """Returns height and width of the feature map of images."""
    height, width = images.shape[1:3]
    return 2 * -(-height // MULTIPLE), 2 * -(-width // MULTIPLE)


def _through(block: Any, x: Array) -> Array:
    """Computes a convolution, its normalization and ReLU; the input is added where it has the same shape."""
    convolution, norm = block
    found = norm(convolution(x))
    return nnx.relu(x + found if found.shape == x.shape else found)


def _check(channels: int, width: int, classes: int, most: int, dropout: float) -> None:
    if min(channels, width, classes, most) < 1:
        raise ValueError(
            f"A detector needs at least one channel, feature, class and box, not {channels}, {width}, {classes} and "
            f"{most}."
        )
    check_rate("dropout", dropout)
