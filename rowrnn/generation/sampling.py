"""Sampling of images: value by value, each drawn by what the model predicts of it from those before."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Key

from rowrnn.generation.pixel_model import PixelModel, Values
from rowrnn.generation.pixel_scan import PixelScan
from rowrnn.generation.row_sampling import is_row_lstm, sampled_by_rows
from rowrnn.generation.scan_sampling import sampled_by_steps
from rowrnn.generation.value_distribution import draw


def sample(
    model: PixelModel,
    key: Key[Array, ""],
    count: int,
    size: tuple[int, int],
    *,
    temperature: float = 1.0,
    given: ArrayLike | None = None,
    rows: int = 0,
) -> Values:
    """Draws images `[count, h, w, c]` from a model.

    A `PixelRNN` of Row LSTMs keeps what it has computed of a row, and a `PixelScan` the state of its layer; others
    compute a whole pass for every value. All draw the same images under the same key, but for values that lie on the
    border of two within rounding.

    Args:
        model: the model.
        key: random key.
        count: number of images, drawn together.
        size: height and width of an image.
        temperature: below 1 probable values are drawn more often; at 0 always the most probable one.
        given: an image or images `[1 or count, h, w, c]` whose first rows are kept.
        rows: number of these rows.

    Raises:
        ValueError: if a number is out of range, given images have another shape or no levels of the model, or the model
            predicts values in an order of its own and is to go on from rows.
    """
    height, width = size
    if min(count, height, width) < 1 or not 0 <= rows < height or not temperature >= 0:
        raise ValueError(
            f"Expected at least one image of one pixel, fewer rows that are given than it has, and a temperature of at "
            f"least 0; not {count} of {height}x{width}, {rows} and {temperature}."
        )
    if (given is None) != (rows == 0):
        raise ValueError("Rows that are given are those of an image: give both, given=image and rows=14, or neither.")
    shape = (count, height, width, model.colours)
    start = np.zeros(shape, np.int32)
    if rows:
        known = np.asarray(model.checked(jnp.asarray(given)))
        if known.shape not in (shape, (1, *shape[1:])):
            raise ValueError(f"Expected given images {list(shape)}, or one for all, not {list(known.shape)}.")
        start[:, :rows] = known[:, :rows]
        rank = model.rank(height, width)
        if rank[:rows].max() > rank[rows:].min():
            raise ValueError("This model predicts values in an order in which the given rows do not come first.")
    known_values = rows * width * model.colours
    if is_row_lstm(model):
        return sampled_by_rows(model, key, jnp.asarray(start), rows, temperature)
    if type(model) is PixelScan:
        return sampled_by_steps(model, key, jnp.asarray(start), known_values, temperature)
    places = np.stack(np.unravel_index(np.argsort(model.rank(height, width), axis=None), shape[1:]), axis=1)
    return _by_whole_passes(
        model, key, jnp.asarray(start), jnp.asarray(places[known_values:]), known_values, temperature
    )


@partial(jax.jit, static_argnames="known_values")
def _by_whole_passes(
    model: PixelModel,
    key: Array,
    images: Values,
    places: Int[Array, "n 3"],
    known_values: int,
    temperature: Float[ArrayLike, ""],
) -> Values:
    """Draws the values at some places, in their order, each after a whole pass."""

    def step(images: Values, given: tuple[Array, Array]) -> tuple[Values, None]:
        place, number = given
        row, column, colour = place
        predictions = model.predictions(model.scaled(images))[:, row, column, colour]
        value = draw(model.distribution.logits(predictions), jax.random.fold_in(key, number), temperature)
        return images.at[:, row, column, colour].set(value), None

    images, _ = jax.lax.scan(step, images, (places, known_values + jnp.arange(len(places))))
    return images
