"""Video classifiers: a small CNN on each frame, whose features a cell reads in order, or which are averaged."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Bool, Float

from rowrnn.cells import Cell
from rowrnn.cells.convolution import conv
from rowrnn.models.row_classifier import mean_of_valid, running_mean
from rowrnn.recurrence.arguments import check_cell, valid_steps
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.sequence import Recurrent
from rowrnn.typing import Logits, Outputs, State

FrameLogits = Float[Array, "b t classes"]

GAIN = 8.0  # Frames are mostly black: scaled to a root mean square of about 1, or training would start slowly.


class FrameCNN(nnx.Module):
    """CNN that computes features of each frame: two convolutions with stride 2 and ReLU, and a linear layer.

    It has no pooling, which loses positions within a window, and no normalization, which loses the size of an object
    that comes nearer.

    Args:
        shape: height, width and channels of a frame.
        channels: number of output channels of the second convolution; the first has half of them.
        features: number of features of a frame.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive.
    """

    def __init__(self, shape: tuple[int, int, int], channels: int, features: int, *, rngs: nnx.Rngs) -> None:
        if min(*shape, channels, features) < 1:
            raise ValueError(
                f"A FrameCNN needs at least one pixel, channel and feature, not frames of {list(shape)}, {channels} "
                f"channels and {features} features."
            )
        height, width, inputs = self.shape = tuple(shape)
        half = -(-channels // 2)
        self.conv1 = conv(inputs, half, 5, (2, 2), rngs=rngs)
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
        seen = self.frames(videos.reshape(-1, *self.shape))
        return seen.reshape(*videos.shape[:2], -1)

    def frames(self, frames: ArrayLike) -> Float[Array, "b d"]:
        """Computes features `[b, features]` of frames `[b, h, w, c]`, floating-point values in [0, 1].

        Raises:
            ValueError: if the batch is empty, or frames have another shape or are not floating point.
        """
        frames = jnp.asarray(frames)
        if frames.ndim != 4 or 0 in frames.shape[:1] or frames.shape[1:] != self.shape:
            raise ValueError(f"Frames have shape [b, {self._sides()}] here, b at least 1, not {list(frames.shape)}.")
        if not jnp.issubdtype(frames.dtype, jnp.floating):
            raise ValueError(f"Frames are floating-point, from 0 to 1, not {frames.dtype}: divide bytes by 255.")
        x = nnx.relu(self.conv2(nnx.relu(self.conv1(GAIN * frames))))
        return self.linear(x.reshape(x.shape[0], -1))

    def _sides(self) -> str:
        return ", ".join(map(str, self.shape))


class VideoClassifier(nnx.Module):
    """Video classifier: a CNN on each frame, a cell over its features, and a linear head.

    Args:
        cnn: network that computes the features of a frame.
        cell: any cell over vectors of `rowrnn.cells`; its `features` are those of the CNN.
        classes: number of classes.
        rngs: random streams; the head's initial parameters use "params".

    Raises:
        ValueError: if the cell's features are not those of the CNN.
        TypeError: if `cell` is not a cell of rowrnn.
    """

    def __init__(self, cnn: FrameCNN, cell: Cell, classes: int, *, rngs: nnx.Rngs) -> None:
        check_cell("VideoClassifier", cell)
        seen = cnn.linear.out_features
        if cell.num_feature_axes != 1 or cell.features != seen:
            raise ValueError(
                f"The CNN sees {seen} features in a frame: a cell that reads {cell.features} does not fit."
            )
        self.cnn = cnn
        self.recurrent = Recurrent(cell)
        self.head = nnx.Linear(cell.outputs, classes, rngs=rngs)

    def __call__(self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None) -> Logits:
        """Computes logits `[b, classes]` after the last valid frame of videos `[b, t, h, w, c]`.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; later frames have no influence. Default: all.
            key: not used, since the model has no dropout.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        return self.head(self._outputs(videos, lengths)[:, -1])

    def logits_by_frame(self, videos: ArrayLike, *, lengths: ArrayLike | None = None) -> FrameLogits:
        """Computes logits after each frame of videos `[b, t, h, w, c]`, as if the video ended there.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; default: all.

        Returns:
            Logits `[b, t, classes]`; after the last valid frame they stay the same.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        return self.head(self._outputs(videos, lengths))

    def _outputs(self, videos: ArrayLike, lengths: ArrayLike | None) -> Outputs:
        videos, _ = _valid_frames(videos, lengths)
        outputs, _ = self.recurrent(self.cnn(videos), lengths=lengths, hold_outputs=True)
        return outputs

    def initial_state(self, frame: ArrayLike) -> State:
        """Returns the zero state before the first frame, for frames `[b, h, w, c]`.

        Raises:
            ValueError: if the batch is empty, or frames have another shape than the CNN's or are not floating point.
        """
        cell = self.recurrent.cell
        return cell.initial_state(cell.project(self.cnn.frames(frame)))

    def step(self, state: State, frame: ArrayLike) -> tuple[State, Logits]:
        """Reads one frame of each video, `[b, h, w, c]`, for example from a camera.

        The caller passes the state on, starting from `initial_state`: `state, logits = model.step(state, frame)`. The
        logits, `[b, classes]`, equal those of the video up to this frame.

        Raises:
            ValueError: if the batch is empty, or frames have another shape than the CNN's or are not floating point.
        """
        state, output = self.recurrent.cell(state, self.cnn.frames(frame))
        return state, self.head(output)


class FrameAverage(nnx.Module):
    """Video classifier without recurrence: the CNN's mean features over frames, a ReLU layer and a linear head.

    It ignores the order of the frames. For videos of one frame it is a classifier of single frames.

    Args:
        cnn: network that computes the features of a frame.
        hidden: number of units of the ReLU layer.
        classes: number of classes.
        rngs: random streams; the initial parameters of both layers use "params".
    """

    def __init__(self, cnn: FrameCNN, hidden: int, classes: int, *, rngs: nnx.Rngs) -> None:
        self.cnn = cnn
        self.between = nnx.Linear(cnn.linear.out_features, hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None) -> Logits:
        """Computes logits `[b, classes]` of videos `[b, t, h, w, c]`.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; later frames have no influence. Default: all.
            key: not used, since the model has no dropout.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        return self._answer(mean_of_valid(self._seen(videos, lengths), lengths))

    def logits_by_frame(self, videos: ArrayLike, *, lengths: ArrayLike | None = None) -> FrameLogits:
        """Computes logits after each frame of videos `[b, t, h, w, c]`, as if the video ended there.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; default: all.

        Returns:
            Logits `[b, t, classes]`; after the last valid frame they stay the same.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        return self._answer(running_mean(self._seen(videos, lengths), lengths))

    def logits_of_frames(self, videos: ArrayLike) -> FrameLogits:
        """Computes logits of each frame alone, `[b, t, classes]`.

        Raises:
            ValueError: if the batch or the videos are empty, or frames have another shape or are not floating point.
        """
        return self._answer(self.cnn(videos))

    def _seen(self, videos: ArrayLike, lengths: ArrayLike | None) -> Float[Array, "b t d"]:
        """Returns the features of every frame, `[b, t, features]`, zero beyond a video's length."""
        videos, valid = _valid_frames(videos, lengths)
        return zero_where_invalid(self.cnn(videos), valid)

    def _answer(self, seen: Float[Array, "*b d"]) -> Float[Array, "*b classes"]:
        return self.head(nnx.relu(self.between(seen)))


def _valid_frames(videos: ArrayLike, lengths: ArrayLike | None) -> tuple[Array, Bool[Array, "b t"] | None]:
    """Sets frames beyond the lengths to zero, so that they reach no gradient; returns the mask of valid frames too."""
    videos = jnp.asarray(videos)
    if lengths is None or videos.ndim < 2:
        return videos, None
    _, valid = valid_steps(videos, lengths, None)
    return zero_where_invalid(videos, valid), valid
