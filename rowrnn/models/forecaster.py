"""A forecaster of videos: a cell over maps sees how patches move, and moves them on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells import ConvCell
from rowrnn.models.block_matching import Maps, mismatches, patches, surroundings
from rowrnn.recurrence.scan import scan
from rowrnn.typing import State

Frame = Float[Array, "b h w c"]
Ahead = Float[Array, "b ahead h w c"]

UNITS = 64  # of the layer between state and prediction


class ForecasterState(NamedTuple):
    """What a forecaster carries from frame to frame: the state of its cell, and the frame before."""

    cell: State
    frame: Frame


class Forecaster(nnx.Module):
    """Predicts each next frame of a video, and from its own predictions those after.

    A patch of a frame, and how badly it fits the frame before at each of some shifts (`mismatches`: what block matching
    looks at), are what the cell reads at the patch's place. Of its state follow, at each place, some kernels of up to
    `reach` pixels in every direction, normalized and separable, which move the surroundings of the patch (dynamic
    filters: De Brabandere et al. 2016; "DNA" of Finn et al. 2016), and for each pixel the share of each kernel.

    Args:
        cell: class of a cell over maps, `ConvLSTM` or `ConvGRU`.
        hidden: channels of its state.
        shape: height, width and channels of a frame.
        patch: pixels of a side of a patch, which divides height and width.
        features: channels that the cell reads.
        reach: most pixels by which something moves from frame to frame, even.
        motions: kernels at each place: how many things may move there differently.
        rngs: source of the initial parameters.

    Raises:
        ValueError: if a size is not positive, patches do not divide the frame or are odd, or the reach is odd.
    """

    def __init__(
        self,
        cell: type[ConvCell],
        hidden: int,
        shape: tuple[int, int, int] = (64, 64, 1),
        *,
        patch: int = 8,
        features: int = 32,
        reach: int = 4,
        motions: int = 2,
        rngs: nnx.Rngs,
    ) -> None:
        height, width, channels = self.shape = tuple(shape)
        if min(*shape, patch, features, reach, motions) < 1:
            raise ValueError(
                f"A Forecaster needs at least one pixel, channel, feature and motion, not frames of {list(shape)}, "
                f"patches of {patch}, {features} features, a reach of {reach} and {motions} motions."
            )
        if height % patch or width % patch or patch % 2 or reach % 2:
            raise ValueError(
                f"A Forecaster needs even patches that divide its frames and an even reach, not patches of {patch} in "
                f"frames of {height}x{width} and a reach of {reach}."
            )
        self.patch, self.reach, self.motions = patch, reach, motions
        pixels = patch * patch * channels
        self.embed = nnx.Linear(pixels + (reach + 1) ** 2, features, rngs=rngs)
        self.cell = cell(features, hidden, rngs=rngs)
        self.between = nnx.Linear(self.cell.outputs + features, UNITS, rngs=rngs)
        # Small: at the start every kernel is a blur, and every share the same.
        small = nnx.initializers.normal(0.01)
        self.kernels = nnx.Linear(UNITS, motions * 2 * (2 * reach + 1), kernel_init=small, rngs=rngs)
        self.shares = nnx.Linear(UNITS, motions * patch * patch, kernel_init=small, rngs=rngs)

    def __call__(self, frames: ArrayLike, ahead: int = 10) -> Ahead:
        """The frames that follow, `[b, ahead, h, w, c]`.

        Args:
            frames: those given, `[b, t, h, w, c]`, in [0, 1].
            ahead: number of frames to predict.

        Raises:
            ValueError: if there is no frame, frames have another size than the model's or are not floating point, or
                no frame is asked for.
        """
        return self.predictions(frames, ahead)[:, -ahead:]

    def predictions(self, frames: ArrayLike, ahead: int = 10) -> Ahead:
        """A prediction of each frame after the first, `[b, t - 1 + ahead, h, w, c]`.

        Those of the frames given are made from what came before, those after from the given ones and predictions.

        Raises:
            ValueError: as when called.
        """
        frames = self._checked(frames, "b, t")
        if frames.shape[1] < 1 or ahead < 1:
            raise ValueError(
                f"A Forecaster needs at least one frame and predicts at least one, not {ahead} from {frames.shape[1]}."
            )
        before = jnp.concatenate([jnp.zeros_like(frames[:, :1]), frames[:, :-1]], axis=1)
        seen = self._seen(before, frames)
        outputs, state = scan(self.cell, seen)
        first = self._moved(outputs, seen, frames)

        def step(carry: tuple[ForecasterState, Frame], _: None) -> tuple[tuple[ForecasterState, Frame], Frame]:
            state, predicted = self.step(*carry)
            return (state, predicted), predicted

        # Its intermediate values are made again for the gradient: they are many, and quickly made.
        step = jax.checkpoint(step, prevent_cse=False)
        _, more = jax.lax.scan(step, (ForecasterState(state, frames[:, -1]), first[:, -1]), length=ahead - 1)
        return jnp.concatenate([first, jnp.swapaxes(more, 0, 1)], axis=1)

    def initial_state(self, frame: ArrayLike) -> ForecasterState:
        """State before the first frame, for frames `[b, h, w, c]`.

        Raises:
            ValueError: as `step`.
        """
        blank = jnp.zeros_like(self._checked(frame, "b"))
        return ForecasterState(self.cell.initial_state(self.cell.project(self._seen(blank, blank))), blank)

    def step(self, state: ForecasterState, frame: ArrayLike) -> tuple[ForecasterState, Frame]:
        """Reads a frame `[b, h, w, c]` as it arrives: the next state, and a prediction of the frame that follows.

        Raises:
            ValueError: if the frame has another size than the model's or is not floating point.
        """
        frame = self._checked(frame, "b")
        seen = self._seen(state.frame, frame)
        inner, output = self.cell(state.cell, seen)
        return ForecasterState(inner, frame), self._moved(output, seen, frame)

    def _checked(self, frames: ArrayLike, axes: str) -> Float[Array, "*b h w c"]:
        """Frames with these axes before their own, in the parameters' dtype where that is the wider."""
        frames = jnp.asarray(frames)
        whole = frames.ndim == 3 + len(axes.split(",")) and frames.shape[-3:] == self.shape
        if not whole or not jnp.issubdtype(frames.dtype, jnp.floating):
            raise ValueError(
                f"This Forecaster takes floating-point frames [{axes}, {', '.join(map(str, self.shape))}], not "
                f"{frames.dtype} of shape {list(frames.shape)}."
            )
        return frames.astype(jnp.result_type(frames, self.embed.kernel[...]))

    def _seen(self, before: Float[Array, "*b h w c"], frame: Float[Array, "*b h w c"]) -> Maps:
        """What the cell reads."""
        moved = jax.lax.stop_gradient(mismatches(before, frame, self.patch, self.reach))
        return nnx.relu(self.embed(jnp.concatenate([patches(frame, self.patch), moved], axis=-1)))

    def _moved(self, output: Maps, seen: Maps, frame: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
        """The frame as the kernels move it."""
        *b, height, width, channels = frame.shape
        side, taps = self.patch, 2 * self.reach + 1
        x = nnx.relu(self.between(jnp.concatenate([output, seen], axis=-1)))
        kernels = nnx.softmax(self.kernels(x).reshape(-1, 2, self.motions, taps), axis=-1)
        shares = nnx.softmax(self.shares(x).reshape(-1, self.motions, side, side), axis=1)
        # A kernel over rows or columns of the surroundings is a banded matrix: products of matrices are fast.
        wide = side + 2 * self.reach
        offset = np.arange(wide)[None, :] - np.arange(side)[:, None]
        taps_of = jnp.asarray(offset[None] == np.arange(taps)[:, None, None], frame.dtype).reshape(taps, side * wide)
        bands = (kernels @ taps_of).reshape(-1, 2, self.motions * side, wide)
        around = surroundings(frame.reshape(-1, height, width, channels), side, self.reach)
        moved = bands[:, 0] @ around.reshape(-1, wide, wide * channels)
        # ... and across, of every motion and channel on its own.
        moved = jnp.swapaxes(moved.reshape(-1, self.motions, side, wide, channels), 3, 4)
        moved = moved.reshape(-1, self.motions, side * channels, wide)
        across = bands[:, 1].reshape(-1, self.motions, side, wide)
        moved = (moved @ jnp.swapaxes(across, 2, 3)).reshape(-1, self.motions, side, channels, side)
        mixed = (moved * shares[:, :, :, None]).sum(axis=1)
        grid = jnp.swapaxes(mixed, 2, 3).reshape(*b, height // side, width // side, side, side, channels)
        return jnp.swapaxes(grid, -4, -3).reshape(frame.shape)
