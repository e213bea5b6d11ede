"""Video classifiers: a small CNN on each frame, whose features a layer reads in order, or which are averaged."""

from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Bool, Float

from rowrnn.cells import Cell
from rowrnn.models.frame_cnn import FrameCNN
from rowrnn.models.row_classifier import check_pooling, mean_of_valid, running_mean
from rowrnn.recurrence.arguments import check_cell, check_rate, valid_steps
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.sequence import Bidirectional, Recurrent, Stack, Transformer
from rowrnn.sequence.noise import split_key
from rowrnn.typing import Logits, Outputs, State

FrameLogits = Float[Array, "b t classes"]
Layer = Recurrent | Bidirectional | Stack | Transformer


class VideoState(NamedTuple):
    """What a classifier remembers of a video: the last frames that its CNN needs, and the state of its layer."""

    frames: Float[Array, "b k h w c"]
    layer: State


class VideoClassifier(nnx.Module):
    """Video classifier: a CNN on each frame, a recurrent layer over its features, and a linear head.

    Args:
        cnn: network that computes the features of a frame.
        layer: any cell over vectors of `rowrnn.cells`, a layer of such cells (see `rowrnn.stack`), or a `Transformer`;
            its `features` are those of the CNN.
        classes: number of classes.
        pooling: input of the head: "last" for the output after the last frame, "mean" for the mean over frames.
        dropout: probability with which a feature before or after the layer is dropped in training.
        rngs: random streams; the head's initial parameters use "params".

    Raises:
        ValueError: if the layer's features are not those of the CNN, `pooling` is unknown, or is "last" with a layer
            that reads backward, or `dropout` is not in [0, 1).
        TypeError: if `layer` is neither a layer nor a cell of rowrnn.
    """

    def __init__(
        self,
        cnn: FrameCNN,
        layer: Cell | Layer,
        classes: int,
        *,
        pooling: str = "last",
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        if not isinstance(layer, Layer):
            check_cell("VideoClassifier", layer)
            layer = Recurrent(layer)
        seen = cnn.linear.out_features
        if layer.num_feature_axes != 1 or layer.features != seen:
            raise ValueError(
                f"The CNN sees {seen} features in a frame: a layer that reads {layer.features} does not fit."
            )
        check_pooling("VideoClassifier", pooling)
        if pooling == "last" and not layer.causal:
            raise ValueError("After the last frame, a layer that reads backward has seen only that one: pool by mean.")
        check_rate("dropout", dropout)
        self.cnn = cnn
        self.recurrent = layer
        self.dropout = nnx.Dropout(dropout)
        self.head = nnx.Linear(layer.outputs, classes, rngs=rngs)
        self.pooling = pooling

    def __call__(self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None) -> Logits:
        """Computes logits `[b, classes]` after the last valid frame of videos `[b, t, h, w, c]`.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; later frames have no influence. Default: all.
            key: random key of dropout, in training.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        outputs, head_key = self._outputs(videos, lengths, key)
        return self._answer(outputs[:, -1] if self.pooling == "last" else mean_of_valid(outputs, lengths), head_key)

    def logits_by_frame(
        self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None
    ) -> FrameLogits:
        """Computes logits after each frame of videos `[b, t, h, w, c]`, as if the video ended there.

        A layer that reads backward has seen the whole video at each frame.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; default: all.
            key: random key of dropout, in training.

        Returns:
            Logits `[b, t, classes]`; after the last valid frame they stay the same.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        outputs, head_key = self._outputs(videos, lengths, key)
        return self._answer(outputs if self.pooling == "last" else running_mean(outputs, lengths), head_key)

    def initial_state(self, frame: ArrayLike) -> VideoState:
        """Returns the state before the first frame, for frames `[b, h, w, c]`.

        Raises:
            ValueError: if the batch is empty, frames have another shape than the CNN's or are not floating point, the
                answer is not that after the last frame, or a Transformer has no number of places, `longest`.
        """
        self._check_streams()
        frame = self.cnn.checked(frame)
        seen = self.cnn.frames(frame)
        if isinstance(self.recurrent, Transformer):
            return VideoState(self.cnn.nothing(frame), self.recurrent.initial_state(seen))
        none = jnp.zeros(frame.shape[0], jnp.int32)
        _, state = self.recurrent(seen[:, None], lengths=none)
        return VideoState(self.cnn.nothing(frame), state)

    def step(self, state: VideoState, frame: ArrayLike) -> tuple[VideoState, Logits]:
        """Reads one frame of each video, `[b, h, w, c]`, for example from a camera.

        The caller passes the state on, starting from `initial_state`: `state, logits = model.step(state, frame)`. The
        logits, `[b, classes]`, equal those of the video up to this frame.

        Raises:
            ValueError: if the batch is empty, frames have another shape than the CNN's or are not floating point, or
                the answer is not that after the last frame.
        """
        self._check_streams()
        before, features = self.cnn.step(state.frames, frame)
        outputs, layer = self.recurrent(features[:, None], initial_state=state.layer)
        return VideoState(before, layer), self._answer(outputs[:, 0], None)

    def _outputs(self, videos: ArrayLike, lengths: ArrayLike | None, key: Array | None) -> tuple[Outputs, Array | None]:
        """Returns the outputs of all frames, and a key for the head.

        After the last valid frame they are its output, or zeros for the mean.
        """
        videos, _ = _valid_frames(videos, lengths)
        cnn_key, layer_key, head_key = split_key(key, 3)
        features = self.dropout(self.cnn(videos), deterministic=key is None, rngs=cnn_key)
        hold = self.pooling == "last"
        outputs, _ = self.recurrent(features, lengths=lengths, hold_outputs=hold, key=layer_key)
        return outputs, head_key

    def _answer(self, outputs: Float[Array, "*b outputs"], key: Array | None) -> Float[Array, "*b classes"]:
        return self.head(self.dropout(outputs, deterministic=key is None, rngs=key))

    def _check_streams(self) -> None:
        if self.pooling != "last":
            raise ValueError("A mean over frames needs the whole video: only pooling by last reads frame by frame.")


class FrameAverage(nnx.Module):
    """Video classifier without recurrence: the CNN's mean features over frames, a ReLU layer and a linear head.

    It ignores the order of the frames beyond the context of its CNN. For videos of one frame it is a classifier of
    single frames.

    Args:
        cnn: network that computes the features of a frame.
        hidden: number of units of the ReLU layer.
        classes: number of classes.
        dropout: probability with which a mean feature or a unit is dropped in training.
        rngs: random streams; the initial parameters of both layers use "params".

    Raises:
        ValueError: if `dropout` is not in [0, 1).
    """

    def __init__(self, cnn: FrameCNN, hidden: int, classes: int, *, dropout: float = 0.0, rngs: nnx.Rngs) -> None:
        check_rate("dropout", dropout)
        self.cnn = cnn
        self.between = nnx.Linear(cnn.linear.out_features, hidden, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.head = nnx.Linear(hidden, classes, rngs=rngs)

    def __call__(self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None) -> Logits:
        """Computes logits `[b, classes]` of videos `[b, t, h, w, c]`.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; later frames have no influence. Default: all.
            key: random key of dropout, in training.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        return self._answer(mean_of_valid(self._seen(videos, lengths), lengths), key)

    def logits_by_frame(
        self, videos: ArrayLike, *, lengths: ArrayLike | None = None, key: Array | None = None
    ) -> FrameLogits:
        """Computes logits after each frame of videos `[b, t, h, w, c]`, as if the video ended there.

        Args:
            videos: floating-point videos.
            lengths: number of valid frames of each video, `[b]`; default: all.
            key: random key of dropout, in training.

        Returns:
            Logits `[b, t, classes]`; after the last valid frame they stay the same.

        Raises:
            ValueError: if the batch or the videos are empty, frames have another shape than the CNN's or are not
                floating point, or a length known outside `jax.jit` is outside [0, t].
            TypeError: if lengths are not integers.
        """
        return self._answer(running_mean(self._seen(videos, lengths), lengths), key)

    def logits_of_frames(self, videos: ArrayLike) -> FrameLogits:
        """Computes logits of each frame alone, or with the context of the CNN, `[b, t, classes]`.

        Raises:
            ValueError: if the batch or the videos are empty, or frames have another shape or are not floating point.
        """
        return self._answer(self.cnn(videos), None)

    def _seen(self, videos: ArrayLike, lengths: ArrayLike | None) -> Float[Array, "b t d"]:
        """Returns the features of every frame, `[b, t, features]`, zero beyond a video's length."""
        videos, valid = _valid_frames(videos, lengths)
        return zero_where_invalid(self.cnn(videos), valid)

    def _answer(self, seen: Float[Array, "*b d"], key: Array | None) -> Float[Array, "*b classes"]:
        below, above = split_key(key, 2)
        seen = self.dropout(seen, deterministic=key is None, rngs=below)
        return self.head(self.dropout(nnx.relu(self.between(seen)), deterministic=key is None, rngs=above))


def _valid_frames(videos: ArrayLike, lengths: ArrayLike | None) -> tuple[Array, Bool[Array, "b t"] | None]:
    """Sets frames beyond the lengths to zero, so that they reach no gradient; returns the mask of valid frames too."""
    videos = jnp.asarray(videos)
    if lengths is None or videos.ndim < 2:
        return videos, None
    _, valid = valid_steps(videos, lengths, None)
    return zero_where_invalid(videos, valid), valid
