"""What a scan costs: counted by hand, and predicted from rates that are given."""

import dataclasses

import jax.numpy as jnp
import pytest
from flax import nnx

from rowrnn import GRU, LSTM, MinGRU, explain
from rowrnn.recurrence import cost
from rowrnn.recurrence.cost import Cost, Mode, Rates
from rowrnn.recurrence.native import NATIVE
from tests.helpers.scans import needs_compiler


def test_products_and_weights_are_counted():
    # A GRU of 5 units that reads 3 features: three gates, of which each multiplies 3 + 5 numbers for each unit.
    counted = Cost.of(3, sequences=2, steps=7, features=3, hidden=5)
    assert counted == Cost(7, 2 * 14 * 3 * 5 * 8, 4 * 3 * 5 * 8, 14 * 3 * 5)


def test_time_is_that_of_what_takes_longer_and_of_the_gates():
    counted = Cost(steps=10, operations=1000, weight_bytes=80, gate_values=5)
    by_operations, by_reading = Rates(1000.0, 8000.0), Rates(1000.0, 100.0)
    train = Mode(products=3, reads=4, gate=200)
    assert counted.seconds(by_operations, Mode(1, 1, 100)) == pytest.approx(1 + 100 * 5 / 1000)
    assert counted.seconds(by_operations, train) == pytest.approx(3 + 200 * 5 / 1000)
    assert not counted.is_bound_by_reading(by_operations)
    assert counted.seconds(by_reading, Mode(1, 1, 100)) == pytest.approx(8 + 100 * 5 / 1000)
    assert counted.seconds(by_reading, train) == pytest.approx(4 * 8 + 200 * 5 / 1000)
    assert counted.is_bound_by_reading(by_reading)


def test_rates_are_those_that_predict_what_was_measured():
    many, one = Cost.of(4, 128, 28, 28, 256), Cost.of(4, 1, 28, 28, 256)
    rates = Rates.of_times(many, 5e-3, one, 1e-4)
    assert many.seconds(rates) == pytest.approx(5e-3)
    assert one.seconds(rates) == pytest.approx(1e-4)
    assert one.is_bound_by_reading(rates)


@needs_compiler
def test_explain_says_what_a_scan_costs(monkeypatch):
    monkeypatch.setattr(cost, "measured_rates", lambda kind, backend: Rates(1e9, 1e12))
    lines = explain(LSTM(28, 50, rngs=nnx.Rngs(0)), jnp.ones((8, 28, 28)), cost=True).splitlines()
    # 2 (28 + 50) 4 50 operations for each of 224 rows, and 100 or 320 for each of 200 gate values of a row.
    assert lines == [
        "native: a float32 LSTM on cpu",
        "products: 0.00699 GFLOP, 28 steps one after the other; bound by operations",
        "weights: 60.94 KiB, read at each step",
        "here: 1 GFLOP/s in products, 1e+03 GB/s of weights",
        "predicted: 11.5 ms forward, 35.3 ms with gradients",
    ]


def test_a_machine_is_measured_once(monkeypatch):
    asked = []

    def seconds_of(cell, sequences, scans, backend):
        asked.append(sequences)
        return 1e-3 * sequences

    monkeypatch.setattr(cost, "seconds_of", seconds_of)
    backend = dataclasses.replace(NATIVE, name="counted")
    first = cost.measured_rates(GRU, backend)
    assert cost.measured_rates(GRU, backend) is first
    assert asked == [128, 1]


@needs_compiler
def test_a_scan_is_timed():
    cell = GRU(28, 3, rngs=nnx.Rngs(0))
    assert 0 < cost.seconds_of(cell, 1, 2, NATIVE) < 1


def test_others_are_refused():
    x = jnp.ones((2, 3, 4))
    with pytest.raises(ValueError, match="predicts the cost of Elman, LSTM, GRU, PeepholeLSTM, not of MinGRU"):
        explain(MinGRU(4, 6, rngs=nnx.Rngs(0)), x, cost=True)
    with pytest.raises(ValueError, match="predicts the cost of the backend 'native', and 'plain' computes this scan"):
        explain(GRU(4, 6, rngs=nnx.Rngs(0)), x, backend="plain", cost=True)
