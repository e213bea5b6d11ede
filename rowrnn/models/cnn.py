"""Small convolutional network, a baseline for the recurrent classifiers."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells.convolution import conv
from rowrnn.typing import Logits


class CNN(nnx.Module):
    """Image classifier of three convolutions with ReLU and a linear head.

    The layers are a 5x5 convolution with stride 2 and a quarter of the channels, a 3x3 convolution with half of the
    channels, 2x2 max pooling, and a 3x3 convolution with all channels. An image of 28x28 pixels becomes a map of 7x7.

    Args:
        shape: height, width and channels of an image.
        channels: number of output channels of the last convolution.
        classes: number of classes.
        dropout: probability with which a feature of the last map is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self, shape: tuple[int, int, int], channels: int, classes: int, *, dropout: float = 0.0, rngs: nnx.Rngs
    ) -> None:
        if min(*shape, channels, classes) < 1:
            raise ValueError(
                f"A CNN needs at least one pixel, channel and class, not images of {list(shape)}, {channels} channels "
                f"and {classes} classes."
            )
        height, width, inputs = self.shape = tuple(shape)
        quarter, half = -(-channels // 4), -(-channels // 2)
        self.conv1 = conv(inputs, quarter, 5, (2, 2), rngs=rngs)
        self.conv2 = conv(quarter, half, 3, rngs=rngs)
        self.conv3 = conv(half, channels, 3, rngs=rngs)
        positions = -(-height // 4) * -(-width // 4)
        self.head = nnx.Linear(positions * channels, classes, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, images: ArrayLike, *, key: Array | None = None) -> Logits:
        """Computes logits `[b, classes]` of images `[b, h, w, c]`.

        Args:
            images: floating-point images of the model's shape.
            key: random key of dropout, in training.

        Raises:
            ValueError: if images have another shape or are not floating point.
        """
        x = convolved(self, images)
        x = x.reshape(x.shape[0], -1)
        return self.head(self.dropout(x, deterministic=key is None, rngs=key))


def convolved(model: Any, images: ArrayLike) -> Float[Array, "b y x c"]:
    """Computes the map of a model's convolutions `conv1`, `conv2` and `conv3`, of images of the model's `shape`.

    Raises:
        ValueError: if images have another shape or are not floating point.
    """
    images = jnp.asarray(images)
    if images.ndim != 4 or images.shape[1:] != model.shape or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"This {type(model).__name__} takes floating-point images [b, {', '.join(map(str, model.shape))}], not "
            f"{images.dtype} of shape {list(images.shape)}."
        )
    x = nnx.relu(model.conv1(images))
    x = max_pool(nnx.relu(model.conv2(x)))
    return nnx.relu(model.conv3(x))


def max_pool(x: Float[Array, "b h w c"]) -> Float[Array, "b y x c"]:
    """Takes the maximum of every 2x2 block of non-negative values; odd sides are padded with a zero.

    `nnx.max_pool` has a select-and-scatter as its gradient, three times slower on CPU than the gradient of this.
    """
    b, h, w, c = x.shape
    x = jnp.pad(x, ((0, 0), (0, h % 2), (0, w % 2), (0, 0)))
    return x.reshape(b, -(-h // 2), 2, -(-w // 2), 2, c).max(axis=(2, 4))
