"""What a scan costs: counted by hand, and predicted from rates that are given."""

import jax.numpy as jnp
import pytest
from flax import nnx

from rowrnn import GRU, LSTM, MinGRU, explain
from rowrnn.recurrence import cost
from rowrnn.recurrence.cost import FORWARD, TRAIN, Cost, Rates


def test_products_and_weights_are_counted():
    # A GRU of 5 units that reads 3 features: three gates, of which each multiplies 3 + 5 numbers for each unit.
    counted = Cost.of(3, sequences=2, steps=7, features=3, hidden=5)
    assert counted == Cost(2, 7, 2 * 14 * 3 * 5 * 8, 4 * 3 * 5 * 8, 14 * 3 * 5)


def test_time_is_that_of_what_takes_longer_and_of_the_gates():
    counted = Cost(sequences=1, steps=10, operations=1000, weight_bytes=80, gate_values=5)
    by_operations, by_reading = Rates(1000.0, 8000.0), Rates(1000.0, 100.0)
    assert counted.seconds(by_operations) == pytest.approx(1 + 100 * 5 / 1000)
    assert counted.seconds(by_operations, TRAIN) == pytest.approx(3 + 320 * 5 / 1000)
    assert not counted.is_bound_by_reading(by_operations)
    assert counted.seconds(by_reading) == pytest.approx(8 + 100 * 5 / 1000)
    assert counted.seconds(by_reading, TRAIN) == pytest.approx(3.75 * 8 + 320 * 5 / 1000)
    assert counted.is_bound_by_reading(by_reading)


def test_rates_are_those_that_predict_what_was_measured():
    many, one = Cost.of(4, 128, 28, 28, 256), Cost.of(4, 1, 28, 28, 256)
    rates = Rates.of_times(many, 5e-3, one, 1e-4)
    assert many.seconds(rates) == pytest.approx(5e-3)
    assert one.seconds(rates) == pytest.approx(1e-4)
    assert one.is_bound_by_reading(rates)


def test_explain_says_what_a_scan_costs(monkeypatch):
    monkeypatch.setattr(cost, "measured_rates", lambda kind, backend, dtype: Rates(1e9, 1e12))
    lines = explain(LSTM(28, 50, rngs=nnx.Rngs(0)), jnp.ones((8, 28, 28)), backend="plain", cost=True).splitlines()
    assert lines == [
        "plain: asked for",
        "products: 0.00699 GFLOP, 28 steps one after the other; bound by operations",
        "weights: 60.94 KiB, read at each step",
        "here: 1 GFLOP/s in products, 1e+03 GB/s of weights",
        "predicted: 11.5 ms forward, 35.3 ms with gradients",
    ]


def test_a_machine_is_measured_once(monkeypatch):
    monkeypatch.setattr(cost, "ROUND_SECONDS", 1e-9)
    cell, x = GRU(4, 6, rngs=nnx.Rngs(0)), jnp.ones((2, 3, 4))
    assert explain(cell, x, backend="fused", cost=True) == explain(cell, x, backend="fused", cost=True)


def test_other_cells_are_refused():
    with pytest.raises(ValueError, match="predicts the cost of Elman, LSTM, GRU, PeepholeLSTM, not of MinGRU"):
        explain(MinGRU(4, 6, rngs=nnx.Rngs(0)), jnp.ones((2, 3, 4)), cost=True)


def test_modes_read_and_compute_more_in_training():
    assert all(train > forward for train, forward in zip(TRAIN, FORWARD, strict=True))
