"""Classifiers of videos: what a small CNN sees in each frame, read in order by a cell, or averaged without order."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Bool, Float

from rowrnn.cells import Cell
from rowrnn.cells.convolution import conv
from rowrnn.models.row_classifier import mean_of_valid, running_mean
from rowrnn.recurrence.arguments import valid_steps
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.sequence import Recurrent
from rowrnn.typing import Logits, Outputs, State

FrameLogits = Float[Array, "b t classes"]

GAIN = 8.0  # A frame is mostly black: amplified to a root mean square of about 1, without which learning waits long.


class FrameCNN(nnx.Module):
    """What is in a frame, as features: two convolutions of stride 2 with ReLU, and a linear layer.

    There is no pooling, which would forget where within its window something is, and no norm, which would take its size
    from a thing that comes nearer.

    Args:
        shape: height, width and channels of a frame.
        channels: output channels of the second convolution; the first has half of them.
        features: number of features.
        rngs: source of the initial parameters.

    Raises:
        ValueError: if a size is not positive; when called, if there is no video, or videos have another rank, no frame
            or frames of another shape, or are not floating point.
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
        """Features `[b, t, features]` of videos `[b, t, h, w, c]`."""
        videos = jnp.asarray(videos)
        if videos.ndim != 5 or 0 in videos.shape[:2] or videos.shape[2:] != self.shape:
            raise ValueError(
                f"Videos have shape [b, t, {self._sides()}] here, b and t at least 1, not {list(videos.shape)}."
            )
        seen = self.frames(videos.reshape(-1, *self.shape))
        return seen.reshape(*videos.shape[:2], -1)

    def frames(self, frames: ArrayLike) -> Float[Array, "b d"]:
        """Features `[b, features]` of frames `[b, h, w, c]`."""
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
    """A CNN on each frame, any cell over what it saw, one linear head.

    Args:
        cnn: what looks at a frame.
        cell: any cell over vectors of `rowrnn.cells` that reads as many features as the CNN sees.
        classes: number of classes.
        rngs: source of the head's initial parameters.

    Raises:
        ValueError: if the cell reads another number of features; when called, if a video has another rank, no frame,
            or frames of another shape than the CNN's.
    """

    def __init__(self, cnn: FrameCNN, cell: Cell, classes: int, *, rngs: nnx.Rngs) -> None:
        seen = cnn.linear.out_features
        if cell.num_feature_axes != 1 or cell.features != seen:
            raise ValueError(
                f"The CNN sees {seen} features in a frame: a cell that reads {cell.features} does not fit."
            )
        self.cnn = cnn
        self.recurrent = Recurrent(cell)
        self.head = nnx.Linear(cell.outputs, classes, rngs=rngs)

    def __call__(self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None) -> Logits:
        """Logits `[b, classes]` after the last frame of videos `[b, t, h, w, c]`; nothing is random with a `key`.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; those behind have no influence. All where not given.
            key: not used.
        """
        return self.head(self._outputs(videos, lengths)[:, -1])

    def logits_by_frame(self, videos: ArrayLike, *, lengths: ArrayLike | None = None) -> FrameLogits:
        """Logits after each frame, `[b, t, classes]`: the answer had the video ended there.

        Behind the last valid frame its answer stays.
        """
        return self.head(self._outputs(videos, lengths))

    def _outputs(self, videos: ArrayLike, lengths: ArrayLike | None) -> Outputs:
        videos, _ = _valid_frames(videos, lengths)
        outputs, _ = self.recurrent(self.cnn(videos), lengths=lengths, hold_outputs=True)
        return outputs

    def initial_state(self, frame: ArrayLike) -> State:
        """State before the first frame, for a batch of frames `[b, h, w, c]`."""
        cell = self.recurrent.cell
        return cell.initial_state(cell.project(self.cnn.frames(frame)))

    def step(self, state: State, frame: ArrayLike) -> tuple[State, Logits]:
        """One frame of each video, `[b, h, w, c]`, as it arrives from a camera: its logits `[b, classes]`.

        The caller carries the state from `initial_state` on: `state, logits = model.step(state, frame)`. The logits
        are those of the whole video up to here.
        """
        state, output = self.recurrent.cell(state, self.cnn.frames(frame))
        return state, self.head(output)


class FrameAverage(nnx.Module):
    """The same without memory or order: features averaged over the frames, a layer with ReLU and the head.

    Of videos of one frame it is a classifier of single frames.

    Args:
        cnn: what looks at a frame.
        hidden: units between the average and the head.
        classes: number of classes.
        rngs: source of the initial parameters of both layers.

    Raises:
        ValueError: when called, as `VideoClassifier`.
    """

    def __init__(self, cnn: FrameCNN, hidden: int, classes: int, *, rngs: nnx.Rngs) -> None:
        self.cnn = cnn
        self.between = nnx.Linear(cnn.linear.out_features, hidden, rngs=rngs)
        self.head = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None) -> Logits:
        """Logits `[b, classes]` of videos `[b, t, h, w, c]`; lengths as of `VideoClassifier`, nothing is random."""
        return self._answer(mean_of_valid(self._seen(videos, lengths), lengths))

    def logits_by_frame(self, videos: ArrayLike, *, lengths: ArrayLike | None = None) -> FrameLogits:
        """Logits after each frame, `[b, t, classes]`: the answer had the video ended there.

        Behind the last valid frame its answer stays.
        """
        return self._answer(running_mean(self._seen(videos, lengths), lengths))

    def logits_of_frames(self, videos: ArrayLike) -> FrameLogits:
        """Logits of each frame on its own, `[b, t, classes]`."""
        return self._answer(self.cnn(videos))

    def _seen(self, videos: ArrayLike, lengths: ArrayLike | None) -> Float[Array, "b t d"]:
        """Features of every frame, zeros behind a video's length."""
        videos, valid = _valid_frames(videos, lengths)
        return zero_where_invalid(self.cnn(videos), valid)

    def _answer(self, seen: Float[Array, "*b d"]) -> Float[Array, "*b classes"]:
        return self.head(nnx.relu(self.between(seen)))


def _valid_frames(videos: ArrayLike, lengths: ArrayLike | None) -> tuple[Array, Bool[Array, "b t"] | None]:
    """Videos with zeros behind their lengths, and which frames are valid: what lies behind reaches no gradient."""
    videos = jnp.asarray(videos)
    if lengths is None or videos.ndim < 2:
        return videos, None
    _, valid = valid_steps(videos, lengths, None)
    return zero_where_invalid(videos, valid), valid
