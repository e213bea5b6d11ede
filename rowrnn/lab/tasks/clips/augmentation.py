"""Random changes of training clips: place, mirror image, light, and speed."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rowrnn.errors import InputError

Frames = Float[Array, "b t h w c"]


@dataclasses.dataclass(frozen=True)
class ClipAugmentation:
    """Largest random changes of a training clip; each clip draws its own, the same for all of its frames.

    Args:
        shift: largest random shift in both directions, in whole pixels; the edge is repeated.
        mirror: mirror half of the training clips, left to right.
        brightness: largest random change of all values of a clip, in their standard deviations.
        contrast: largest fraction by which the values of a clip grow or shrink about their mean at random.
        drop_frames: probability with which a frame of a training clip is left out.
        stretch: largest fraction by which a clip becomes longer at random, frames repeated, or shorter, frames left
            out; never longer than the array.

    Raises:
        InputError: if a number is out of its range.
    """

    shift: int = 0
    mirror: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    drop_frames: float = 0.0
    stretch: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "brightness", "stretch"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(
                    f"The largest random {name} of a clip is finite and at least 0, not {getattr(self, name)}."
                )
        for name in ("contrast", "drop_frames"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"The {name.replace('_', ' ')} of a clip is in [0, 1), not {getattr(self, name)}.")

    def __call__(self, frames: Frames, lengths: Int[Array, "b"], key: Key[Array, ""]) -> tuple[Frames, Int[Array, "b"]]:
        """Changes each clip at random.

        Args:
            frames: clips `[b, t, h, w, c]`, floating point.
            lengths: number of frames of each clip, `[b]`, from 1 to t.
            key: source of randomness.

        Returns:
            Clips of the same shape, zero after their ends, and their lengths.
        """
        place, mirror, light, dropping, stretching = jax.random.split(key, 5)
        if self.shift:
            frames = _shifted(frames, jax.random.randint(place, (len(frames), 2), 0, 2 * self.shift + 1), self.shift)
        if self.mirror:
            mirrored = jax.random.bernoulli(mirror, shape=(len(frames), 1, 1, 1, 1))
            frames = jnp.where(mirrored, frames[..., ::-1, :], frames)
        if self.brightness or self.contrast:
            bright, contrast = jax.random.uniform(light, (2, len(frames), 1, 1, 1, 1), frames.dtype, -1, 1)
            frames = (1 + self.contrast * contrast) * frames + self.brightness * bright
        steps = frames.shape[1]
        which = jnp.broadcast_to(jnp.arange(steps, dtype=jnp.int32), (len(frames), steps))
        if self.drop_frames:
            drawn = jax.random.uniform(dropping, which.shape)
            which, lengths = _without_dropped(which, lengths, drawn, self.drop_frames)
        if self.stretch:
            drawn = jax.random.uniform(stretching, (len(frames),), minval=-1.0, maxval=1.0)
            which, lengths = _stretched(which, lengths, (1 + self.stretch) ** drawn)
        frames = jnp.take_along_axis(frames, which[..., None, None, None], axis=1)
        beyond = jnp.arange(steps)[None, :] >= lengths[:, None]
        return jnp.where(beyond[..., None, None, None], 0.0, frames), lengths


def _shifted(frames: Frames, start: Int[Array, "b 2"], most: int) -> Frames:
    """Shifts clips whose frames start at a pixel `start` of frames with `most` repeated pixels on all sides."""
    wide = jnp.pad(frames, ((0, 0), (0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    size = frames.shape[1:]
    cut = jax.vmap(lambda clip, first: jax.lax.dynamic_slice(clip, (0, first[0], first[1], 0), size))
    return cut(wide, start)


def _without_dropped(
    which: Int[Array, "b t"], lengths: Int[Array, "b"], drawn: Float[Array, "b t"], rate: float
) -> tuple[Int[Array, "b t"], Int[Array, "b"]]:
    """Leaves out frames that drew a number below the rate, except the one of the largest; returns new lengths too."""
    valid = jnp.arange(which.shape[1])[None, :] < lengths[:, None]
    largest = jnp.where(valid, drawn, -1.0).max(axis=1, keepdims=True)
    kept = valid & ((drawn >= rate) | (drawn == largest))
    order = jnp.argsort(~kept, axis=1, stable=True)
    return jnp.take_along_axis(which, order, axis=1), kept.sum(axis=1, dtype=lengths.dtype)


def _stretched(
    which: Int[Array, "b t"], lengths: Int[Array, "b"], factor: Float[Array, "b"]
) -> tuple[Int[Array, "b t"], Int[Array, "b"]]:
    """Makes clips longer or shorter by a factor: each new frame is the one in the middle of its part of the clip."""
    steps = which.shape[1]
    old = lengths.astype(factor.dtype)
    new = jnp.clip(jnp.round(old * factor), 1, steps)
    middles = (jnp.arange(steps, dtype=factor.dtype)[None, :] + 0.5) * (old / new)[:, None]
    places = jnp.clip(middles.astype(jnp.int32), 0, lengths[:, None] - 1)
    return jnp.take_along_axis(which, places, axis=1), new.astype(lengths.dtype)
