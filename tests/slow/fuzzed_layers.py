"""Calls of cells, scans, layers, classifiers of images, data, training and interop."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

import rowrnn
from rowrnn import CELLS, Bidirectional, ImageScan, ReNet, RowLSTM, Stack, interop, scan, stack
from rowrnn.image.orders import ORDERS
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Augmentation, Dataset
from rowrnn.lab.training import Checkpoints, Recipe
from rowrnn.models import CNN, Classifier
from tests.slow.calls import (
    arrays,
    booleans,
    calls,
    counts,
    floats,
    integers,
    maybe,
    mistakes,
    numbers,
    positive,
    rates,
    rngs,
    traced,
    words,
)

CELL = {name: cell(3, 2, rngs=rngs()) for name, cell in CELLS.items()}
LAYERS = [
    CELL["gru"],
    Bidirectional(*(CELLS["gru"](2, 1, rngs=rngs()) for _ in range(2))),
    CELLS["gru"](2, 2, rngs=rngs()),
]
PIXELS = CELLS["gru"](1, 2, rngs=rngs())
ROWS = RowLSTM(3, 2, rngs=rngs())
PATCHED = ("pixels", "snake", "down", "across")
X, MARKS = (2, 3, 3), (2, 3)
how = st.fixed_dictionaries(
    {},
    optional={
        "lengths": arrays((2,), integers),
        "mask": arrays(MARKS, booleans),
        "resets": arrays(MARKS, booleans),
        "initial_state": st.one_of(arrays((2, 2), floats), st.tuples(arrays((2, 2), floats), arrays((2, 2), floats))),
        "reverse": st.booleans(),
        "hold_outputs": st.booleans(),
        "return_states": st.booleans(),
        "backend": words | st.just("auto"),
        "checkpoint_every": counts,
    },
)


@calls(st.sampled_from(list(CELL)), arrays(X, floats), how, weight=5)
def run_scan(name, x, options):
    traced(lambda: scan(CELL[name], x, **options))


wild = st.lists(st.integers(-(2**33), 2**33), max_size=3)


@calls(st.lists(st.integers(0, 3), min_size=2, max_size=2) | wild, st.booleans())
def run_scan_of_lengths(lengths, reverse):
    scan(CELL["gru"], np.ones(X, np.float32), lengths=np.asarray(lengths), reverse=reverse)


@calls(st.sampled_from(list(CELLS)), counts, counts)
def make_cell(name, features, hidden):
    traced(lambda: CELLS[name](features, hidden, rngs=rngs()))


@calls(st.sampled_from(list(CELL)), counts)
def make_chrono(name, steps):
    rowrnn.chrono(CELL[name], steps, rngs=rngs())


merges = mistakes.flatmap(lambda mistake: words if mistake else st.sampled_from(["concatenate", "sum", "mean"]))
connections = mistakes.flatmap(lambda mistake: words if mistake else st.sampled_from(["plain", "skip", "residual"]))
kinds = st.sampled_from(["gru", "lstm", "lru"])


@calls(kinds, st.tuples(positive, positive, positive, st.booleans()), merges, connections, rates, weight=2)
def make_stack(name, made, merge, connection, rate):
    features, hidden, layers, both = made
    options = {"bidirectional": both, "merge": merge, "connection": connection, "dropout": rate}
    traced(lambda: stack(CELLS[name], features, hidden, layers=layers, **options, rngs=rngs()))


@calls(arrays(X, floats), maybe(st.lists(arrays((2, 2), floats), max_size=3)), how, connections, weight=2)
def run_stack(x, states, options, connection):
    layer = Stack(LAYERS, connection=connection)
    options = {name: option for name, option in options.items() if name != "reverse"}  # A layer has its direction.
    traced(lambda: layer(x, **{**options, "initial_state": states}))


@calls(arrays((2, 3, 3, 1)))
def run_rows(images):
    traced(lambda: rowrnn.image_rows(images))


@calls(arrays((2, 3, 3, 1), floats), maybe(arrays((2,), integers)))
def run_row_lstm(images, heights):
    traced(lambda: ROWS(images, heights=heights))


@calls(arrays((2, 3), floats))
def run_row_lstm_step(row):
    traced(lambda: ROWS.step(CELL["lstm"].initialize_carry((2, 3)), row))


orders = mistakes.flatmap(lambda mistake: words if mistake else st.sampled_from(list(ORDERS)))
patches = st.sampled_from([(1, 1), (1, 1), (2, 2)]) | st.tuples(counts, counts)


@calls(
    orders,
    maybe(patches),
    arrays((2, 3, 3, 1), floats),
    maybe(arrays((2,), integers)),
    maybe(arrays((2,), integers)),
    weight=3,
)
def run_image_scan(order, patch, images, heights, widths):
    options = {} if patch is None or order not in PATCHED else {"patch": patch}
    cell = PIXELS if order not in ("rows", "columns", "diagonal", "permuted_rows") else CELL["gru"]
    traced(lambda: ImageScan(cell, order, **options)(images, heights=heights, widths=widths))


@calls(patches, arrays((2, 4, 4, 1), floats), maybe(arrays((2,), integers)))
def run_renet(patch, images, heights):
    traced(lambda: ReNet(1, 2, patch, rngs=rngs())(images, heights=heights))


@calls(words | st.sampled_from(["last", "mean"]), rates, arrays((2, 3, 3, 1), floats))
def run_classifier(pooling, rate, images):
    traced(lambda: Classifier(CELL["gru"], 3, pooling=pooling, dropout=rate, rngs=rngs())(images))


@calls(st.just((4, 4, 1)) | st.tuples(counts, counts, counts), counts, arrays((2, 4, 4, 1), floats))
def run_cnn(shape, channels, images):
    traced(lambda: CNN(shape, channels, 3, rngs=rngs())(images))


@calls(st.integers(-10, 10**6), weight=0.2)
def find_width(budget):
    solve_width(lambda width, rngs: CELLS["gru"](3, width, rngs=rngs), budget)


names = st.lists(st.text(max_size=2), max_size=6).map(tuple)


pixels_of = st.sampled_from([np.uint8, np.uint8, np.float32, np.float64, np.int32])


@calls(arrays((4, 3, 3, 1), pixels_of), arrays((4,), integers), arrays((4, 3, 3, 1), pixels_of), names, weight=2)
def make_dataset(train, labels, test, names):
    Dataset.from_arrays("x", (train, labels), (test, labels), names)


@calls(st.lists(numbers, max_size=4))
def make_augmentation(values):
    Augmentation(*values)


@calls(st.lists(numbers, min_size=1, max_size=7))
def make_recipe(values):
    Recipe(*values)


@calls(counts, st.floats(), weight=0.5)
def make_checkpoints(keep, every):
    Checkpoints(Path(), keep, every)


of_torch = [
    f"{name}_l{layer}{way}"
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    for layer in (0, 1)
    for way in ("", "_reverse")
]
of_gru = {"weight_ih_l0": (6, 3), "weight_hh_l0": (6, 2), "bias_ih_l0": (6,), "bias_hh_l0": (6,)}


@calls(st.dictionaries(st.sampled_from([*of_torch, "weight", ""]), arrays((6, 2)) | arrays((6,))))
def read_torch(state_dict):
    interop.from_torch(state_dict)


@calls(st.fixed_dictionaries({name: arrays(shape, floats) for name, shape in of_gru.items()}))
def read_torch_gru(state_dict):
    interop.from_torch(state_dict)


@calls(st.binary(max_size=40), weight=0.5)
def load_weights(data):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.safetensors").write_bytes(data)
        interop.load(Path(folder) / "x.safetensors")
