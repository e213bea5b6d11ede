"""Segmentation of images: a network of ReNet layers that keeps the grid, and a U-Net beside it."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells import GRU, Cell
from rowrnn.cells.convolution import conv
from rowrnn.image.renet import ReNet
from rowrnn.models.maps import enlarged, padded
from rowrnn.recurrence.arguments import check_rate
from rowrnn.sequence.noise import split_key

MULTIPLE = 4
"""Both networks halve height and width twice: other sizes are padded at the bottom and on the right."""
MaskLogits = Float[Array, "b h w"]


class Segmenter(nnx.Module):
    """Segmenter of ReNet layers: says of each pixel whether it belongs to an object (ReSeg, Visin et al. 2016).

    A convolution sees the pixels, a ReNet layer over 2x2 patches the whole map of what it found, and a second one the
    map of that. On the way back each place becomes 2x2 places, and what was found at that size before is added.

    Args:
        channels: number of channels of an image.
        width: number of features of the first convolution, and size of the state of each cell of the first layer; twice
            as large in the second.
        cell: a class of `rowrnn.cells`.
        dropout: probability with which a feature of the ReNet layers is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range.
        TypeError: if `cell` is not a class of cells.
    """

    def __init__(
        self, channels: int, width: int, *, cell: type[Cell] = GRU, dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        _check(channels, width, dropout)
        self.channels = channels
        self.pixels = conv(channels, width, 3, rngs=rngs)
        self.near = ReNet(width, width, (2, 2), cell=cell, rngs=rngs)
        self.far = ReNet(self.near.outputs, 2 * width, (2, 2), cell=cell, rngs=rngs)
        self.spread = nnx.Linear(self.far.outputs, 4 * 2 * width, rngs=rngs)
        self.joined = conv(2 * width + self.near.outputs, 2 * width, 3, rngs=rngs)
        self.again = nnx.Linear(2 * width, 4 * width, rngs=rngs)
        self.last = conv(2 * width, width, 3, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, images: ArrayLike, *, key: Array | None = None) -> MaskLogits:
        """Computes the logit of each pixel, that it belongs to an object, `[b, h, w]`.

        Args:
            images: floating-point images `[b, h, w, c]` of any size.
            key: random key of dropout, in training.

        Raises:
            ValueError: if images have other channels, no pixel, or are not floating point.
        """
        images, height, width = padded(images, self.channels, MULTIPLE)
        keys = split_key(key, 2)
        pixels = nnx.relu(self.pixels(images))
        near = self._drop(self.near(pixels)[0], keys[0])
        far = self._drop(self.far(near)[0], keys[1])
        x = jnp.concatenate([enlarged(self.spread(far)), near], axis=-1)
        x = nnx.relu(self.joined(x))
        x = jnp.concatenate([enlarged(self.again(x)), pixels], axis=-1)
        return self.head(nnx.relu(self.last(x)))[:, :height, :width, 0]

    def _drop(self, x: Array, key: Array | None) -> Array:
        return self.dropout(x, deterministic=key is None, rngs=key)


class UNet(nnx.Module):
    """U-Net (Ronneberger et al. 2015) of two halvings: pairs of 3x3 convolutions with ReLU, padded.

    Args:
        channels: number of channels of an image.
        width: number of features at full size; twice and four times as many at the smaller ones.
        dropout: probability with which a feature of the smallest map is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, channels: int, width: int, *, dropout: float = 0.0, rngs: nnx.Rngs) -> None:
        _check(channels, width, dropout)

        def pair(inputs: int, outputs: int) -> Any:
            return nnx.List([conv(inputs, outputs, 3, rngs=rngs), conv(outputs, outputs, 3, rngs=rngs)])

        self.channels = channels
        self.down = nnx.List([pair(channels, width), pair(width, 2 * width)])
        self.bottom = pair(2 * width, 4 * width)
        sizes = ((4 * width, 8 * width), (2 * width, 4 * width))
        self.spread = nnx.List([nnx.Linear(*of_level, rngs=rngs) for of_level in sizes])
        self.up = nnx.List([pair(4 * width, 2 * width), pair(2 * width, width)])
        self.head = nnx.Linear(width, 1, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, images: ArrayLike, *, key: Array | None = None) -> MaskLogits:
        """Computes the logit of each pixel, see `Segmenter`."""
        x, height, width = padded(images, self.channels, MULTIPLE)
        kept = []
        for pair in self.down:
            x = _through(pair, x)
            kept.append(x)
            x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        x = self.dropout(_through(self.bottom, x), deterministic=key is None, rngs=key)
        for spread, pair, before in zip(self.spread, self.up, reversed(kept), strict=True):
            x = _through(pair, jnp.concatenate([enlarged(spread(x)), before], axis=-1))
        return self.head(x)[:, :height, :width, 0]


def _through(pair: Any, x: Array) -> Array:
    for convolution in pair:
        x = nnx.relu(convolution(x))
    return x


def _check(channels: int, width: int, dropout: float) -> None:
    if min(channels, width) < 1:
        raise ValueError(f"A segmenter needs at least one channel and one feature, not {channels} and {width}.")
    check_rate("dropout", dropout)
