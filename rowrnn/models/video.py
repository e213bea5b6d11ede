"""Classifiers of videos: what a small CNN sees in each frame, read in order by a cell, or averaged without order."""

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from rowrnn.cells import Cell
from rowrnn.convolution import convolve
from rowrnn.sequence import Recurrent
from rowrnn.typing import Images, Logits, State

Frames = Float[Array, "b t h w c"]
FrameLogits = Float[Array, "b t classes"]


class FrameCNN(nnx.Module):
    """What is in a frame, as features: two convolutions of stride 2 with ReLU, a linear layer, normalized.

    Without pooling, which would forget where within its window something is. A frame is mostly black, and what differs
    between two frames is little: the layer norm makes it large enough for the cell behind to learn from.

    Args:
        shape: height, width and channels of a frame.
        channels: output channels of the second convolution; the first has half of them.
        features: number of features.
        rngs: source of the initial parameters.

    Raises:
        ValueError: if a size is not positive; when called, if videos have another rank, no frame or frames of another
            shape, or are not floating point.
    """

    def __init__(self, shape: tuple[int, int, int], channels: int, features: int, *, rngs: nnx.Rngs) -> None:
        if min(*shape, channels, features) < 1:
            raise ValueError(
                f"A FrameCNN needs at least one pixel, channel and feature, not frames of {list(shape)}, {channels} "
                f"channels and {features} features."
            )
        height, width, inputs = self.shape = tuple(shape)
        half = -(-channels // 2)
        how = {"strides": 2, "kernel_init": nnx.initializers.he_normal(), "conv_general_dilated": convolve}
        self.conv1 = nnx.Conv(inputs, half, (5, 5), padding=2, **how, rngs=rngs)
        self.conv2 = nnx.Conv(half, channels, (3, 3), padding=1, **how, rngs=rngs)
        self.linear = nnx.Linear(-(-height // 4) * -(-width // 4) * channels, features, rngs=rngs)
        self.norm = nnx.LayerNorm(features, rngs=rngs)

    def __call__(self, videos: Frames) -> Float[Array, "b t d"]:
        """Features `[b, t, features]` of videos `[b, t, h, w, c]`."""
        if videos.ndim != 5 or videos.shape[1] < 1 or videos.shape[2:] != self.shape:
            raise ValueError(
                f"Videos have shape [b, t, {', '.join(map(str, self.shape))}] here, t at least 1, not "
                f"{list(videos.shape)}."
            )
        frames = videos.reshape(-1, *self.shape)
        x = nnx.relu(self.conv2(nnx.relu(self.conv1(frames))))
        seen = self.norm(self.linear(x.reshape(len(frames), -1)))
        return seen.reshape(*videos.shape[:2], -1)


class VideoClassifier(nnx.Module):
    """A CNN on each frame, any cell over what it saw, one linear head.

    Args:
        cnn: what looks at a frame; its "classes" are the features that the cell reads, after a ReLU.
        cell: any cell over vectors of `rowrnn.cells` with as many features.
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

    def __call__(self, videos: Frames, *, key: Array | None = None) -> Logits:
        """Logits `[b, classes]` after the last frame of videos `[b, t, h, w, c]`; nothing is random with a `key`."""
        outputs, _ = self.recurrent(self.cnn(videos))
        return self.head(outputs[:, -1])

    def logits_by_frame(self, videos: Frames) -> FrameLogits:
        """Logits after each frame, `[b, t, classes]`: the answer had the video ended there."""
        outputs, _ = self.recurrent(self.cnn(videos))
        return self.head(outputs)

    def initial_state(self, frame: Images) -> State:
        """State before the first frame, for a batch of frames `[b, h, w, c]`."""
        cell = self.recurrent.cell
        return cell.initial_state(cell.project(self.cnn(frame[:, None])[:, 0]))

    def step(self, state: State, frame: Images) -> tuple[State, Logits]:
        """One frame of each video, `[b, h, w, c]`, as it arrives from a camera: its logits `[b, classes]`.

        The caller carries the state from `initial_state` on: `state, logits = model.step(state, frame)`. The logits
        are those of the whole video up to here.
        """
        state, output = self.recurrent.cell(state, self.cnn(frame[:, None])[:, 0])
        return state, self.head(output)


class FrameAverage(nnx.Module):
    """The same without memory or order: features averaged over the frames, a layer with ReLU and the head.

    Of videos of one frame it is a classifier of single frames.

    Args:
        cnn: what looks at a frame; its "classes" are the features that are averaged, after a ReLU.
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

    def __call__(self, videos: Frames, *, key: Array | None = None) -> Logits:
        """Logits `[b, classes]` of videos `[b, t, h, w, c]`; nothing is random with a `key`."""
        return self._answer(self.cnn(videos).mean(axis=1))

    def logits_by_frame(self, videos: Frames) -> FrameLogits:
        """Logits after each frame, `[b, t, classes]`: the answer had the video ended there."""
        seen = self.cnn(videos)
        count = jnp.arange(1, seen.shape[1] + 1, dtype=seen.dtype)
        return self._answer(jnp.cumsum(seen, axis=1) / count[None, :, None])

    def logits_of_frames(self, videos: Frames) -> FrameLogits:
        """Logits of each frame on its own, `[b, t, classes]`."""
        return self._answer(self.cnn(videos))

    def _answer(self, seen: Float[Array, "*b d"]) -> Float[Array, "*b classes"]:
        return self.head(nnx.relu(self.between(seen)))
