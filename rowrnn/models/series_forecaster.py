"""Forecasters of time series: one with a layer that reads patches of the past, and a linear one beside it."""

from typing import Any

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import check_rate
from rowrnn.sequence.noise import split_key
from rowrnn.sequence.recurrent import Recurrent

Past = Float[Array, "b steps columns"]
Ahead = Float[Array, "b horizon known"]
Forecast = Float[Array, "b horizon 3"]
ANSWERS = 3
"""Numbers that are said of each step: its expected value, and the lower and the upper quantile."""


class SeriesForecaster(nnx.Module):
    """Forecaster of a series: a layer reads patches of the past, and from its last output come the patches that follow.

    A patch, such as the 24 hours of a day, is one step of the layer, as a row of pixels is (SegRNN, Lin et al. 2023).
    All values of the series count from its last one, so that the model need not learn the level (Zeng et al. 2023). The
    coming patches are computed at once: each from the last output, a vector of its place, and what is known of it.

    Args:
        layer: a layer over vectors, such as `Recurrent`, `Stack` or `Transformer`; a cell is wrapped in `Recurrent`.
        patch: number of steps of a patch.
        horizon: number of steps that are forecast.
        seen: number of further columns that are known of the past only.
        known: number of further columns that are known of the coming steps too, as the hour of the day.
        dropout: probability with which a feature before or after the layer is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range, or the layer is one over images.
    """

    def __init__(
        self,
        layer: Any,
        *,
        patch: int,
        horizon: int,
        seen: int = 0,
        known: int = 0,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        if isinstance(layer, Cell):
            layer = Recurrent(layer)
        if getattr(layer, "num_feature_axes", None) != 1:
            raise ValueError("A forecaster of series has a layer over vectors.")
        _check(patch=patch, horizon=horizon, seen=seen, known=known)
        check_rate("dropout", dropout)
        self.patch, self.horizon, self.columns, self.known = patch, horizon, 1 + seen + known, known
        self.read = nnx.Linear(patch * self.columns, layer.features, rngs=rngs)
        self.layer = layer
        self.norm = nnx.LayerNorm(layer.outputs, rngs=rngs)
        self.last = nnx.Linear(layer.outputs, layer.outputs, rngs=rngs)
        self.places = nnx.Embed(-(-horizon // patch), layer.outputs, rngs=rngs)
        self.ahead = nnx.Linear(patch * known, layer.outputs, use_bias=False, rngs=rngs) if known else None
        self.head = nnx.Linear(layer.outputs, patch * ANSWERS, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(self, past: ArrayLike, ahead: ArrayLike | None = None, *, key: Array | None = None) -> Forecast:
        """Forecasts series, each for itself.

        Args:
            past: `[b, steps, 1 + seen + known]`: the series, then the other columns; the steps are whole patches.
            ahead: the known columns of the coming steps, `[b, horizon, known]`; None where there are none.
            key: random key of dropout, in training.

        Returns:
            Expected value, lower and upper quantile of each coming step, `[b, horizon, 3]`.

        Raises:
            ValueError: if a shape does not fit.
        """
        past, ahead = _checked(past, ahead, self.columns, self.horizon, self.known)
        b, steps, _ = past.shape
        if steps % self.patch:
            raise ValueError(f"A past of whole patches has a multiple of {self.patch} steps, not {steps}.")
        keys = split_key(key, 3)
        level = past[:, -1:, :1]
        x = past.at[:, :, :1].add(-level).reshape(b, steps // self.patch, -1)
        outputs, _ = self.layer(self._drop(self.read(x), keys[0]), key=keys[1])
        patches = self.places.num_embeddings
        found = self.last(self.norm(outputs[:, -1]))[:, None] + self.places(jnp.arange(patches))[None]
        if self.ahead is not None and ahead is not None:
            missing = patches * self.patch - self.horizon
            found += self.ahead(jnp.pad(ahead, ((0, 0), (0, missing), (0, 0))).reshape(b, patches, -1))
        answers = self.head(self._drop(nnx.gelu(found), keys[2])).reshape(b, -1, ANSWERS)
        return answers[:, : self.horizon] + level

    def _drop(self, x: Array, key: Array | None) -> Array:
        return self.dropout(x, deterministic=key is None, rngs=key)


class LinearForecaster(nnx.Module):
    """DLinear (Zeng et al. 2023): the coming values are linear in the past ones, in their trend and in what is left.

    The trend is the moving average over `window` steps, with the first and the last value repeated beyond the ends.
    Other columns than the series are not read.

    Args:
        steps: number of steps of the past.
        horizon: number of steps that are forecast.
        window: number of steps of the moving average, odd.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, *, steps: int, horizon: int, window: int = 25, rngs: nnx.Rngs) -> None:
        _check(steps=steps, horizon=horizon, window=window)
        if window % 2 == 0:
            raise ValueError(f"A moving average has an odd number of steps, not {window}.")
        self.steps, self.horizon, self.window = steps, horizon, window
        self.of_trend = nnx.Linear(steps, ANSWERS * horizon, rngs=rngs)
        self.of_rest = nnx.Linear(steps, ANSWERS * horizon, rngs=rngs)

    def __call__(self, past: ArrayLike, ahead: ArrayLike | None = None, *, key: Array | None = None) -> Forecast:
        """Forecasts series, see `SeriesForecaster`; of `past` the first column is read."""
        del ahead, key
        past = jnp.asarray(past)
        if past.ndim != 3 or past.shape[1] != self.steps:
            raise ValueError(f"This LinearForecaster takes a past [b, {self.steps}, columns], not {list(past.shape)}.")
        series, half = past[:, :, 0], self.window // 2
        sums = jnp.cumsum(jnp.pad(series, ((0, 0), (half, half)), mode="edge"), axis=1)
        sums = jnp.pad(sums, ((0, 0), (1, 0)))
        trend = (sums[:, self.window :] - sums[:, : -self.window]) / self.window
        answers = self.of_trend(trend) + self.of_rest(series - trend)
        return answers.reshape(len(series), self.horizon, ANSWERS)


def _check(**numbers: int) -> None:
    for name, number in numbers.items():
        least = 0 if name in ("seen", "known") else 1
        if number < least:
            raise ValueError(f"A forecaster of series has {name} of at least {least}, not {number}.")


def _checked(
    past: ArrayLike, ahead: ArrayLike | None, columns: int, horizon: int, known: int
) -> tuple[Past, Ahead | None]:
    past = jnp.asarray(past)
    ahead = None if ahead is None else jnp.asarray(ahead)
    fits = past.ndim == 3 and past.shape[2] == columns and past.shape[1] > 0
    expected = (past.shape[0], horizon, known) if known else None
    if not fits or (ahead.shape if ahead is not None else None) != expected:
        raise ValueError(
            f"This SeriesForecaster takes a past [b, steps, {columns}] and "
            f"{f'known columns [b, {horizon}, {known}]' if known else 'no known columns'}, not "
            f"{list(past.shape)} and {None if ahead is None else list(ahead.shape)}."
        )
    return past, ahead
