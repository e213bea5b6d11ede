"""CNN that computes features of each frame of a video."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells.convolution import conv

Frames = Float[Array, "b h w c"]


class FrameCNN(nnx.Module):
    """CNN that computes features of each frame: two convolutions with stride 2 and ReLU, and a linear layer.

    It has no pooling, which loses positions within a window, and no normalization, which loses the size of an object
    that comes nearer: values should have a root mean square of about 1, or training starts slowly.

    With a `context` of k frames the first convolution sees each frame together with the k - 1 frames before it, so that
    it can respond to motion: a convolution over time and space, as networks that read lips begin with (Stafylakis &
    Tzimiropoulos 2017). There it is centred; here it only looks back, so that later frames have no influence and a
    video can be read while it is recorded. Before the first frame there are zeros.

    Args:
        shape: height, width and channels of a frame.
        channels: number of output channels of the second convolution; the first has half of them.
        features: number of features of a frame.
        context: number of frames that the first convolution sees.
        gain: factor that frames are multiplied by, for frames that nobody has normalized.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        channels: int,
        features: int,
        *,
        context: int = 1,
        gain: float = 1.0,
        rngs: nnx.Rngs,
    ) -> None:
        if min(*shape, channels, features, context) < 1:
            raise ValueError(
                f"A FrameCNN needs at least one pixel, channel, feature and frame, not frames of {list(shape)}, "
                f"{channels} channels, {features} features and a context of {context}."
            )
        height, width, inputs = self.shape = tuple(shape)
        self.context, self.gain = context, gain
        half = -(-channels // 2)
        self.conv1 = conv(inputs * context, half, 5, (2, 2), rngs=rngs)
        self.conv2 = conv(half, channels, 3, (2, 2), rngs=rngs)
        self.linear = nnx.Linear(-(-height // 4) * -(-width // 4) * channels, features, rngs=rngs)

    def __call__(self, videos: ArrayLike) -> Float[Array, "b t d"]:
        """Computes features `[b, t, features]` of videos `[b, t, h, w, c]`.

        Raises:
            ValueError: if the batch or the videos are empty, or frames have another shape or are not floating point.
        """
        videos = jnp.asarray(videos)
        if videos.ndim != 5 or 0 in videos.shape[:2] or videos.shape[2:] != self.shape:
            raise ValueError(
                f"Videos have shape [b, t, {self._sides()}] here, b and t at least 1, not {list(videos.shape)}."
            )
        _check_floating(videos)
        return self._seen(jnp.concatenate([self.nothing(videos), videos], axis=1))

    def frames(self, frames: ArrayLike) -> Float[Array, "b d"]:
        """Computes features `[b, features]` of frames `[b, h, w, c]`, floating point, as of videos of one frame.

        Raises:
            ValueError: if the batch is empty, or frames have another shape or are not floating point.
        """
        return self(self.checked(frames)[:, None])[:, 0]

    def step(
        self, before: Float[Array, "b k h w c"], frame: ArrayLike
    ) -> tuple[Float[Array, "b k h w c"], Float[Array, "b d"]]:
        """Computes features `[b, features]` of the next frame of each video.

        Args:
            before: the `context` - 1 frames before it, from `nothing` or from the previous step.
            frame: floating-point frames `[b, h, w, c]`.

        Returns:
            The frames before the one that comes next, and the features.

        Raises:
            ValueError: if the batch is empty, or frames have another shape or are not floating point.
        """
        window = jnp.concatenate([before, self.checked(frame)[:, None]], axis=1)
        return window[:, 1:], self._seen(window)[:, 0]

    def nothing(self, like: Array) -> Float[Array, "b k h w c"]:
        """Returns the zeros before the first frame of videos or frames `like`, `[b, context - 1, h, w, c]`."""
        return jnp.zeros((like.shape[0], self.context - 1, *self.shape), like.dtype)

    def checked(self, frames: ArrayLike) -> Frames:
        """Returns frames as an array.

        Raises:
            ValueError: if the batch is empty, or frames have another shape or are not floating point.
        """
        frames = jnp.asarray(frames)
        if frames.ndim != 4 or 0 in frames.shape[:1] or frames.shape[1:] != self.shape:
            raise ValueError(f"Frames have shape [b, {self._sides()}] here, b at least 1, not {list(frames.shape)}.")
        _check_floating(frames)
        return frames

    def _seen(self, videos: Float[Array, "b s h w c"]) -> Float[Array, "b t d"]:
        """Computes features of every frame that has `context` - 1 frames before it."""
        steps = videos.shape[1] - self.context + 1
        windows = jnp.concatenate([videos[:, first : first + steps] for first in range(self.context)], axis=-1)
        x = self.gain * windows.reshape(-1, *windows.shape[2:])
        x = nnx.relu(self.conv2(nnx.relu(self.conv1(x))))
        return self.linear(x.reshape(x.shape[0], -1)).reshape(videos.shape[0], steps, -1)

    def _sides(self) -> str:
        return ", ".join(map(str, self.shape))


def _check_floating(frames: Array) -> None:
    if not jnp.issubdtype(frames.dtype, jnp.floating):
        raise ValueError(f"Frames are floating-point, not {frames.dtype}: divide bytes by 255, or normalize them.")
