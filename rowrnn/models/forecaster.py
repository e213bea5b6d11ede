"""Video forecaster: a convolutional recurrent cell follows how patches move and predicts how they move on."""

from functools import partial
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

UNITS = 64  # of the hidden layer between state and prediction


class ForecasterState(NamedTuple):
    """State of a forecaster: the state of its cell, and the previous frame `[b, h, w, c]`."""

    cell: State
    frame: Frame


class Forecaster(nnx.Module):
    """Video forecaster: predicts the next frame, and further frames from its own predictions.

    For each patch of a frame the cell reads the patch and its differences to the previous frame at several shifts
    (`rowrnn.models.block_matching.mismatches`). From the cell's output a small network computes for each patch several
    separable, normalized kernels (dynamic filters, De Brabandere et al. 2016; DNA, Finn et al. 2016), and for each
    pixel the weights with which the results of these kernels are averaged. The kernels are applied to the patch and its
    surroundings.

    Args:
        cell: class of a convolutional cell, `ConvLSTM` or `ConvGRU`.
        hidden: number of channels of the cell's state.
        shape: height, width and channels of a frame. No weight depends on height and width: frames of other sizes are
            taken too, if patches divide them.
        patch: height and width of a patch in pixels, even; divides height and width of a frame.
        features: number of channels that the cell reads.
        reach: maximum displacement from one frame to the next in pixels, even.
        motions: number of kernels of a patch, which is the number of different motions within it.
        rngs: random streams; the initial parameters use "params".

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
        # Small, so that at first all kernels are nearly uniform and have nearly equal weights.
        small = nnx.initializers.normal(0.01)
        self.kernels = nnx.Linear(UNITS, motions * 2 * (2 * reach + 1), kernel_init=small, rngs=rngs)
        self.shares = nnx.Linear(UNITS, motions * patch * patch, kernel_init=small, rngs=rngs)

    def __call__(self, frames: ArrayLike, ahead: int = 10) -> Ahead:
        """Predicts the frames that follow a video.

        Args:
            frames: given frames `[b, t, h, w, c]`, floating-point values in [0, 1].
            ahead: number of frames to predict.

        Returns:
            Predicted frames `[b, ahead, h, w, c]`.

        Raises:
            ValueError: if there is no frame, `ahead` is below 1, or frames have other channels than the model's, sides
                that patches do not divide, or are not floating point.
        """
        return self.predictions(frames, ahead)[:, -ahead:]

    # Compiled, so that a call outside `jax.jit` is not traced and compiled each time.
    @partial(jax.jit, static_argnames="ahead", inline=True)
    def predictions(self, frames: ArrayLike, ahead: int = 10) -> Ahead:
        """Predicts every frame after the first: the given ones too, each from the given frames before it.

        Args:
            frames: given frames `[b, t, h, w, c]`, floating-point values in [0, 1].
            ahead: number of frames to predict after the last given one, from the given frames and its predictions.

        Returns:
            Predicted frames `[b, t - 1 + ahead, h, w, c]`.

        Raises:
            ValueError: if there is no frame, `ahead` is below 1, or frames have other channels than the model's, sides
                that patches do not divide, or are not floating point.
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

        # Intermediate values are recomputed for the gradient: they take much memory and little time.
        step = jax.checkpoint(step, prevent_cse=False)
        _, more = jax.lax.scan(step, (ForecasterState(state, frames[:, -1]), first[:, -1]), length=ahead - 1)
        return jnp.concatenate([first, jnp.swapaxes(more, 0, 1)], axis=1)

    def initial_state(self, frame: ArrayLike) -> ForecasterState:
        """Returns the state before the first frame, for frames `[b, h, w, c]`.

        Raises:
            ValueError: if the frames have other channels than the model's, sides that patches do not divide, or are not
                floating point.
        """
        blank = jnp.zeros_like(self._checked(frame, "b"))
        return ForecasterState(self.cell.initial_state(self.cell.project(self._seen(blank, blank))), blank)

    def step(self, state: ForecasterState, frame: ArrayLike) -> tuple[ForecasterState, Frame]:
        """Reads one frame of each video and predicts the frame that follows, for example from a camera.

        Args:
            state: state from `initial_state` or from the previous step.
            frame: frames `[b, h, w, c]`, floating-point values in [0, 1].

        Returns:
            The next state, and the predicted frames `[b, h, w, c]`.

        Raises:
            ValueError: if the frames have other channels than the model's, sides that patches do not divide, or are not
                floating point.
        """
        frame = self._checked(frame, "b")
        seen = self._seen(state.frame, frame)
        inner, output = self.cell(state.cell, seen)
        return ForecasterState(inner, frame), self._moved(output, seen, frame)

    def _checked(self, frames: ArrayLike, axes: str) -> Float[Array, "*b h w c"]:
        """Checks frames with the leading axes `axes` and promotes them with the dtype of the parameters."""
        frames = jnp.asarray(frames)
        whole = frames.ndim == 3 + len(axes.split(",")) and frames.shape[-1] == self.shape[-1]
        divided = whole and all(side > 0 and side % self.patch == 0 for side in frames.shape[-3:-1])
        if not divided or not jnp.issubdtype(frames.dtype, jnp.floating):
            raise ValueError(
                f"This Forecaster takes floating-point frames [{axes}, h, w, {self.shape[-1]}] whose sides are "
                f"multiples of {self.patch}, not {frames.dtype} of shape {list(frames.shape)}."
            )
        return frames.astype(jnp.result_type(frames, self.embed.kernel[...]))

    def _seen(self, before: Float[Array, "*b h w c"], frame: Float[Array, "*b h w c"]) -> Maps:
        """Returns the input of the cell, `[..., gh, gw, features]`."""
        moved = jax.lax.stop_gradient(mismatches(before, frame, self.patch, self.reach))
        return nnx.relu(self.embed(jnp.concatenate([patches(frame, self.patch), moved], axis=-1)))

    def _moved(self, output: Maps, seen: Maps, frame: Float[Array, "*b h w c"]) -> Float[Array, "*b h w c"]:
        """Applies the kernels that follow from the cell's output and input to a frame."""
        *b, height, width, channels = frame.shape
        side, taps = self.patch, 2 * self.reach + 1
        x = nnx.relu(self.between(jnp.concatenate([output, seen], axis=-1)))
        kernels = nnx.softmax(self.kernels(x).reshape(-1, 2, self.motions, taps), axis=-1)
        shares = nnx.softmax(self.shares(x).reshape(-1, self.motions, side, side), axis=1)
        # Kernels are applied as banded matrices, first down, since matrix products are fast ...
        wide = side + 2 * self.reach
        offset = np.arange(wide)[None, :] - np.arange(side)[:, None]
        taps_of = jnp.asarray(offset[None] == np.arange(taps)[:, None, None], frame.dtype).reshape(taps, side * wide)
        bands = (kernels @ taps_of).reshape(-1, 2, self.motions * side, wide)
        around = surroundings(frame.reshape(-1, height, width, channels), side, self.reach)
        moved = bands[:, 0] @ around.reshape(-1, wide, wide * channels)
        # ... and then across, for each motion and channel.
        moved = jnp.swapaxes(moved.reshape(-1, self.motions, side, wide, channels), 3, 4)
        moved = moved.reshape(-1, self.motions, side * channels, wide)
        across = bands[:, 1].reshape(-1, self.motions, side, wide)
        moved = (moved @ jnp.swapaxes(across, 2, 3)).reshape(-1, self.motions, side, channels, side)
        mixed = (moved * shares[:, :, :, None]).sum(axis=1)
        grid = jnp.swapaxes(mixed, 2, 3).reshape(*b, height // side, width // side, side, side, channels)
        return jnp.swapaxes(grid, -4, -3).reshape(frame.shape)
