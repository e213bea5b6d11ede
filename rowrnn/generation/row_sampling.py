"""Sampling from a PixelRNN of Row LSTMs: row by row, with what was computed of the row above and of this one kept."""

from functools import partial
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells import LSTMState
from rowrnn.generation.masked_convolution import MaskedConv, zeros_around
from rowrnn.generation.pixel_model import PixelModel, Values
from rowrnn.generation.pixel_rnn import PixelRNN
from rowrnn.generation.row_layer import RowCell, RowLSTMLayer
from rowrnn.generation.value_distribution import draw
from rowrnn.recurrence.scan import scan


def is_row_lstm(model: PixelModel) -> TypeGuard[PixelRNN]:
    """Returns whether a model is a `PixelRNN`, and none of a subclass, of Row LSTMs."""
    return type(model) is PixelRNN and all(isinstance(block.layer, RowLSTMLayer) for block in model.blocks)


@partial(jax.jit, static_argnames="rows")
def sampled_by_rows(
    model: PixelRNN, key: Array, images: Values, rows: int, temperature: Float[ArrayLike, ""]
) -> Values:
    """Draws the values of images after the first rows, which are given.

    Args:
        model: the model, of Row LSTMs.
        key: random key.
        images: images, of which the first rows are read.
        rows: number of these rows.
        temperature: of the draws.
    """
    b, height, width, _ = images.shape
    # States after the rows that are given.
    states = [block.layer.first_state(b, width) for block in model.blocks]
    if rows:
        x = model.first(model.scaled(images[:, :rows]))
        for number, block in enumerate(model.blocks):
            outputs, states[number] = scan(block.layer.cell, x[:, :, None], initial_state=states[number])
            x = x + block.added(outputs[:, :, 0])

    def row(carry: tuple[Values, list[LSTMState]], number: Array) -> tuple[tuple[Values, list[LSTMState]], None]:
        images, states = carry
        images, states = _row(model, key, images, states, number, temperature)
        return (images, states), None

    (images, _), _ = jax.lax.scan(row, (images, states), rows + jnp.arange(height - rows))
    return images


def _row(
    model: PixelRNN, key: Array, images: Values, states: list[LSTMState], row: Array, temperature: Any
) -> tuple[Values, list[LSTMState]]:
    """Draws a row; returns the images, and the states of all layers after it."""
    b, _, width, colours = images.shape
    above = [block.layer.cell.recur(state.hidden)[:, 0] for block, state in zip(model.blocks, states, strict=True)]
    cells = [state.cell[:, 0] for state in states]
    # What each layer reads of this row, with zeros before it.
    layers = [block.layer.cell for block in model.blocks]
    read = [jnp.zeros((b, width + cell.kernel[1] // 2, cell.features), cells[0].dtype) for cell in layers]
    new = [(jnp.zeros_like(cell), jnp.zeros_like(cell)) for cell in cells]

    def value(carry: Any, number: Array) -> tuple[Any, None]:
        images, read, new = carry
        column, colour = jnp.divmod(number, colours)
        x = shown = _at_place(model.first, model.scaled(images), row, column)
        read, new = list(read), list(new)
        for place, block in enumerate(model.blocks):
            cell = block.layer.cell
            reach = cell.kernel[1] // 2
            read[place] = jax.lax.dynamic_update_slice_in_dim(read[place], x[:, None], column + reach, axis=1)
            window = jax.lax.dynamic_slice_in_dim(read[place], column, reach + 1, axis=1)
            gates = _projected(cell, window) + jax.lax.dynamic_index_in_dim(above[place], column, 1, keepdims=False)
            before = jax.lax.dynamic_index_in_dim(cells[place], column, 1, keepdims=False)
            hidden, after = _lstm(gates, before)
            new[place] = tuple(
                jax.lax.dynamic_update_slice_in_dim(of_row, part[:, None], column, axis=1)
                for of_row, part in zip(new[place], (hidden, after), strict=True)
            )
            pixel = hidden[:, None, None]
            x = x + block.added(pixel)[:, 0, 0]
            shown = shown + block.shown(pixel)[:, 0, 0]
        found = model.head(shown[:, None, None])[:, 0, 0]
        logits = model.distribution.logits(jax.lax.dynamic_index_in_dim(found, colour, 1, keepdims=False))
        rank = row * width * colours + number
        drawn = draw(logits, jax.random.fold_in(key, rank), temperature)
        return (images.at[:, row, column, colour].set(drawn), tuple(read), tuple(new)), None

    (images, _, new), _ = jax.lax.scan(value, (images, tuple(read), tuple(new)), jnp.arange(width * colours))
    return images, [LSTMState(hidden[:, None], cell[:, None]) for hidden, cell in new]


def _at_place(convolution: MaskedConv, x: Float[Array, "b h w c"], row: Array, column: Array) -> Float[Array, "b k"]:
    """Computes a masked convolution at one place."""
    kernel = convolution.masked_kernel()
    high, wide, inputs, _ = kernel.shape
    padded = jnp.pad(x, ((0, 0), *zeros_around(convolution.size), (0, 0)))
    zero = jnp.zeros_like(row)
    around = jax.lax.dynamic_slice(padded, (zero, row, column, zero), (x.shape[0], high, wide, inputs))
    return jnp.einsum("bijc,ijck->bk", around, kernel.astype(x.dtype)) + convolution.bias[...][None]


def _projected(cell: RowCell, window: Float[Array, "b span k"]) -> Float[Array, "b gates"]:
    """Computes the input half of the gates at the end of a window of a row."""
    kernel = cell.masked_input_kernel()[0].astype(window.dtype)
    return jnp.einsum("bsk,skg->bg", window, kernel) + cell.bias[...][None]


def _lstm(gates: Float[Array, "b gates"], cell: Float[Array, "b k"]) -> tuple[Float[Array, "b k"], Float[Array, "b k"]]:
    i, f, g, o = jnp.split(gates, 4, axis=1)
    cell = nnx.sigmoid(f) * cell + nnx.sigmoid(i) * jnp.tanh(g)
    return nnx.sigmoid(o) * jnp.tanh(cell), cell
