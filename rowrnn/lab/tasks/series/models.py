"""Forecasters that differ in one thing: how they read the past."""

from typing import Any

from flax import nnx

from rowrnn.cells import CELLS
from rowrnn.models.series_forecaster import LinearForecaster, SeriesForecaster
from rowrnn.saving.series_columns import SeriesColumns
from rowrnn.sequence import Residual, Stack, Transformer

MODELS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "min_gru": "minGRU",
    "lru": "LRU",
    "transformer": "Transformer",
    "linear": "DLinear",
}
"""Titles of the models by name."""
HEADS = 4


def build(
    name: str,
    width: int,
    columns: SeriesColumns,
    horizon: int,
    *,
    patch: int,
    blocks: int,
    dropout: float,
    rngs: nnx.Rngs,
) -> SeriesForecaster | LinearForecaster:
    """Builds a forecaster.

    Args:
        name: one of `MODELS`: the cell in each residual block, attention, or a linear map of the past.
        width: number of features between the blocks, and size of each cell's state; of no use to the linear one.
        columns: which columns are read, and how many rows.
        horizon: number of steps that are forecast.
        patch: number of rows that are one step of the layer.
        blocks: number of residual blocks; a Transformer has twice as many.
        dropout: probability with which a feature is dropped in training.
        rngs: random streams.
    """
    if name == "linear":
        return LinearForecaster(steps=columns.lookback, horizon=horizon, rngs=rngs)
    how: dict[str, Any] = {"expansion": 2, "dropout": dropout, "rngs": rngs}
    if name == "transformer":
        layer: Any = Transformer(width, width, blocks=2 * blocks, heads=HEADS, causal=False, **how)
    else:
        layer = Stack([Residual(CELLS[name](width, width, rngs=rngs), **how) for _ in range(blocks)])
    sizes = {"patch": patch, "horizon": horizon, "seen": len(columns.seen), "known": columns.ahead}
    return SeriesForecaster(layer, **sizes, dropout=dropout, rngs=rngs)
