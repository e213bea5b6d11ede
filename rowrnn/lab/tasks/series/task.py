"""Forecasting of time series: windows, loss, scores, and the baseline that repeats what was a season ago."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from rowrnn.saving.series_columns import SeriesColumns

QUANTILES = (0.1, 0.9)
"""The lower and the upper quantile of a forecast: between them lie four of five values."""


class Windows(NamedTuple):
    """What a forecaster is given of some windows, each target a series of its own, and what came.

    Args:
        past: `[b · targets, lookback, 1 + seen + ahead]`.
        ahead: what is known of the coming steps, `[b · targets, horizon, ahead]`; None where nothing is.
        truth: the coming values, `[b · targets, horizon]`.
    """

    past: Float[Array, "n lookback columns"]
    ahead: Float[Array, "n horizon known"] | None
    truth: Float[Array, "n horizon"]


def windows(values: Float[Array, "t read"], starts: Int[Array, "b"], columns: SeriesColumns, horizon: int) -> Windows:
    """Cuts windows out of a table.

    Args:
        values: what is read of the table, `SeriesColumns.scaled`.
        starts: first row of each window.
        columns: which columns these are, and how many rows are read.
        horizon: number of coming steps.
    """
    length = columns.lookback + horizon
    cut = jax.vmap(lambda start: jax.lax.dynamic_slice_in_dim(values, start, length))(starts)
    targets = len(columns.targets)
    series = jnp.moveaxis(cut[..., :targets], 2, 1).reshape(-1, length)
    others = jnp.repeat(cut[..., targets:], targets, axis=0)
    past = jnp.concatenate([series[:, : columns.lookback, None], others[:, : columns.lookback]], axis=2)
    ahead = others[:, columns.lookback :, others.shape[2] - columns.ahead :] if columns.ahead else None
    return Windows(past, ahead, series[:, columns.lookback :])


def loss(
    model: Any,
    starts: Int[Array, "b"],
    key: Key[Array, ""],
    *,
    values: Float[Array, "t read"],
    columns: SeriesColumns,
    horizon: int,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean squared error of the expected values plus the losses of both quantiles (Koenker & Bassett 1978).

    Args:
        model: function `(past, ahead, key=...)` to `[n, horizon, 3]`.
        starts: first row of each window.
        key: random key of dropout.
        values: what is read of the table.
        columns: which columns these are.
        horizon: number of coming steps.
    """
    past, ahead, truth = windows(values, starts, columns, horizon)
    answers = model(past, ahead, key=key)
    missed = truth[..., None] - answers
    squared = jnp.square(missed[..., 0]).mean()
    share = jnp.array(QUANTILES, answers.dtype)[None, None]
    pinball = jnp.maximum(share * missed[..., 1:], (share - 1) * missed[..., 1:]).mean(axis=(0, 1)).sum()
    return squared + pinball, {"squared_error": squared}


def errors(
    model: Any, starts: Int[Array, "b"], *, values: Float[Array, "t read"], columns: SeriesColumns, horizon: int
) -> Float[Array, "b 3 horizon"]:
    """Returns for each window and coming step, mean over the targets: squared error, absolute error, and whether the
    value lies between the quantiles.
    """
    past, ahead, truth = windows(values, starts, columns, horizon)
    answers = model(past, ahead)
    missed = truth - answers[..., 0]
    inside = (answers[..., 1] <= truth) & (truth <= answers[..., 2])
    found = jnp.stack([jnp.square(missed), jnp.abs(missed), inside.astype(missed.dtype)], axis=1)
    return found.reshape(len(starts), -1, *found.shape[1:]).mean(axis=1)


def negative_mse(model: Any, starts: Int[Array, "b"], **how: Any) -> Float[Array, "b"]:
    """Returns minus the mean squared error of each window; the options are those of `errors`."""
    return -errors(model, starts, **how)[:, 0].mean(axis=1)


def repeated_season(
    values: Float[np.ndarray, "t read"],
    starts: Int[np.ndarray, "n"],
    columns: SeriesColumns,
    horizon: int,
    season: int,
) -> Float[np.ndarray, "2 horizon"]:
    """Returns squared and absolute error of what was one season ago, again and again, mean over windows and targets.

    Args:
        values: what is read of the table.
        starts: first row of each window.
        columns: which columns these are.
        horizon: number of coming steps.
        season: number of steps of a season, such as the 24 hours of a day; 1 repeats the last value.
    """
    series, last = values[:, : len(columns.targets)].astype(np.float64), starts + columns.lookback
    found = np.zeros((2, horizon))
    for step in range(horizon):
        missed = series[last + step] - series[last - season + step % season]
        found[:, step] = np.square(missed).mean(), np.abs(missed).mean()
    return found
