"""The certificate that a model of images does not peek: which values each prediction sees, compared with its order."""

from dataclasses import dataclass
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool

from rowrnn.generation.pixel_model import PixelModel

Place = tuple[int, int, int]
Size = tuple[int, int, int]

BIAS_DEVIATION = 0.3
AT_ONCE = 56
"""Number of changed images that are predicted together."""


@dataclass(frozen=True)
class Certificate:
    """What was found about a model and a size of images.

    Args:
        shape: height, width and colours of the images.
        seeds: how many draws of weights and images were looked at.
        peeks: a prediction and a value that it sees and may not: row, column and colour of each; None where there are
            none.
        sees: which values each prediction sees, `[h, w, c, h, w, c]`, in any of the draws.
        blind: number of pairs of a prediction and an earlier value that it never sees.
    """

    shape: Size
    seeds: int
    peeks: tuple[Place, Place] | None
    sees: Bool[np.ndarray, "h w c h w c"]
    blind: int

    @property
    def passed(self) -> bool:
        """Whether no prediction sees a value that comes later, or its own."""
        return self.peeks is None

    def in_words(self) -> str:
        """Returns a sentence for people."""
        size = f"{self.shape[0]}x{self.shape[1]}x{self.shape[2]}"
        if self.peeks is None:
            return (
                f"No prediction sees a value that it may not, on images of {size}, with {self.seeds} draws of weights."
            )
        (row, column, colour), (other, beside, of) = self.peeks
        return (
            f"The prediction of row {row}, column {column}, colour {colour} sees the value of row {other}, column "
            f"{beside}, colour {of}, which it may not, on images of {size}."
        )


def causality(model: PixelModel, shape: Size, *, seeds: int = 3) -> Certificate:
    """Computes which values each prediction of a model depends on, and compares them with its order.

    The derivatives of all predictions by all values are computed in float64, with all weights and values drawn at
    random: what a mask hides is exactly zero, and what is seen by way of derivatives is not. Several draws are looked
    at, since a unit of a ReLU may be off in one. What a model does with its values before they are numbers, and code
    whose derivative is not that of its values, `first_peek` looks at.

    Args:
        model: the model; its own weights play no part.
        shape: height, width and colours of the images.
        seeds: number of draws.

    Raises:
        ValueError: if the shape has other colours than the model, or there are no draws.
    """
    if shape[2] != model.colours or seeds < 1 or min(shape) < 1:
        raise ValueError(
            f"Expected images of {model.colours} colours and at least one draw, not {list(shape)} and {seeds}."
        )
    height, width, colours = shape
    count = height * width * colours
    sees = np.zeros((count, count), bool)
    # Layers of Flax mix float32 and float64, which strict promotion forbids.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        seen = jax.jit(lambda model, x: _seen(model, x))
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            leaves, structure = jax.tree.flatten(model)
            drawn = [jnp.asarray(rng.normal(0, _deviation(leaf.shape), leaf.shape)) for leaf in leaves]
            x = jnp.asarray(rng.normal(size=(1, *shape)))
            sees |= np.asarray(seen(jax.tree.unflatten(structure, drawn), x))
    rank = model.rank(height, width).ravel()
    allowed = rank[None] < rank[:, None]
    wrong = np.argwhere(sees & ~allowed)
    pair = (_place(wrong[0, 0], shape), _place(wrong[0, 1], shape)) if len(wrong) else None
    blind = int((allowed & ~sees).sum())
    return Certificate(shape, seeds, pair, sees.reshape(*shape, *shape), blind)


def first_peek(model: PixelModel, image: ArrayLike) -> tuple[Place, Place] | None:
    """Changes each value of an image in turn, and looks for a prediction that changes and may not.

    It is the check of a model as it is used: with its own weights, in its dtype and at its size, through everything
    that its values go through. `causality` says what a model can see; this one, what its code shows.

    Args:
        model: the model.
        image: an image of levels, `[h, w, c]`.

    Returns:
        The first prediction that changes and may not, and the value that was changed, as row, column and colour; None
        if there is none.
    """
    values = np.asarray(model.checked(np.asarray(image)[None]))[0]
    shape, count = values.shape, values.size
    rank = model.rank(*shape[:2]).ravel()
    predict = jax.jit(lambda model, images: model.predictions(model.scaled(images)))
    same = np.asarray(predict(model, np.broadcast_to(values, (AT_ONCE, *shape))))
    for start in range(0, count, AT_ONCE):
        changed = np.broadcast_to(values.ravel(), (AT_ONCE, count)).copy()
        numbers = np.arange(start, min(start + AT_ONCE, count))
        changed[np.arange(len(numbers)), numbers] = (values.ravel()[numbers] + 1) % model.levels
        found = np.asarray(predict(model, changed.reshape(AT_ONCE, *shape)))
        moved = (found != same).any(axis=-1).reshape(AT_ONCE, count)
        for place, number in enumerate(numbers):
            wrong = np.flatnonzero(moved[place] & (rank <= rank[number]))
            if len(wrong):
                return _place(wrong[0], shape), _place(number, shape)
    return None


def _deviation(shape: tuple[int, ...]) -> float:
    """Returns the standard deviation of drawn parameters: kernels keep the size of what they multiply."""
    inputs = prod(shape[:-1])
    return inputs**-0.5 if len(shape) > 1 and inputs else BIAS_DEVIATION


def _place(number: Any, shape: tuple[int, ...]) -> Place:
    row, column, colour = (int(axis) for axis in np.unravel_index(number, shape))
    return row, column, colour


def _seen(model: Any, x: Array) -> Bool[Array, "n n"]:
    """Returns which values each prediction has a derivative by."""

    def of(values: Array) -> Array:
        found = model.predictions(values.reshape(x.shape))
        return found.reshape(x.size, -1)

    found, backward = jax.vjp(of, x.reshape(-1))
    # A random sum of the outputs of a prediction has a derivative wherever one of them has.
    mixed = jax.random.normal(jax.random.key(0), (found.shape[1],), found.dtype)

    def by_value(chosen: Array) -> Bool[Array, "n"]:
        return backward(chosen[:, None] * mixed[None])[0] != 0

    # Prediction by prediction, so that memory is that of one backward pass.
    return jax.lax.map(by_value, jnp.eye(found.shape[0], dtype=found.dtype))
