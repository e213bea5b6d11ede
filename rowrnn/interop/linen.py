"""Weights of `flax.linen`'s cells, as parameter trees, also of cells in an `RNN` or a `Bidirectional`.

The cells are `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell`, `GRUCell`, `MGUCell` and `ConvLSTMCell`.

A tree has a dense layer for each gate and product, such as `{"ir": {"kernel", "bias"}, "hr": {"kernel"}, …}` for the
reset gate; for a `ConvLSTMCell` it has one convolution of the input and one of the state, each for all gates. An
`MGUCell` is read as a GRU whose reset and update gates have the same weights.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rowrnn.cells import GRU, LSTM, Cell, ConvLSTM, Elman
from rowrnn.errors import InputError
from rowrnn.interop.arrays import cell_of, checked, numpy_of
from rowrnn.sequence import Bidirectional

# For each class the names of its gates in the order of rowrnn, and the dense layers that have a bias.
_GATES: dict[type[Cell], tuple[str, ...]] = {Elman: ("",), LSTM: ("i", "f", "g", "o"), GRU: ("r", "z", "n")}
_BIASED: dict[type[Cell], tuple[str, ...]] = {
    Elman: ("i",),
    LSTM: ("hi", "hf", "hg", "ho"),
    GRU: ("ir", "iz", "in", "hn"),
}


def from_linen(params: Mapping[str, Any]) -> Any:
    """Makes a cell from the parameter tree of a linen cell, or a `Bidirectional` layer from that of a `Bidirectional`.

    The parameters do not show everything: a `Bidirectional` is assumed to concatenate its outputs, linen's default, and
    a `ConvLSTMCell` to have padding "SAME" and strides of 1.

    Args:
        params: `variables["params"]` of a cell, or of an `RNN` or a `Bidirectional` of cells.

    Raises:
        InputError: if names are missing or unknown, shapes do not fit, or rowrnn has no such cell.
    """
    if set(params) == {"forward_rnn", "backward_rnn"}:
        return Bidirectional(*(_cell(params[f"{way}_rnn"]) for way in ("forward", "backward")))
    return _cell(params)


def _cell(params: Mapping[str, Any]) -> Any:
    params = params.get("cell", params)
    if not all(isinstance(arrays, Mapping) for arrays in params.values()):
        raise InputError(f"A linen cell's parameters are a tree of dense layers, not {', '.join(sorted(params))}.")
    if set(params) == {"ih", "hh"}:
        return _conv_lstm(params)
    if {"if", "hf", "in", "hn"} == set(params):
        params = {"ir": params["if"], "iz": params["if"], "hr": params["hf"], "hz": params["hf"]} | {
            name: params[name] for name in ("in", "hn")
        }
    flat = {f"{layer}/{name}": array for layer, arrays in params.items() for name, array in arrays.items()}
    inputs = {name for name in params if name.startswith("i")}
    kind = next((kind for kind, gates in _GATES.items() if inputs == {f"i{gate}" for gate in gates}), None)
    if kind is None:
        raise InputError(
            f"No cell of linen that is known here, SimpleCell, LSTMCell, OptimizedLSTMCell, GRUCell or MGUCell, "
            f"has the dense layers {', '.join(sorted(params))}."
        )
    gates = _GATES[kind]
    first = f"i{gates[0]}/kernel"
    if first not in flat:
        raise InputError(f"These are not the weights of a linen cell: {first} is missing.")
    if np.ndim(flat[first]) != 2:
        raise InputError(f"{first} has shape {list(np.shape(flat[first]))}, expected two axes.")
    features, hidden = np.shape(flat[first])
    expected: dict[str, tuple[int, ...]] = {}
    for gate in gates:
        expected |= {f"i{gate}/kernel": (features, hidden), f"h{gate}/kernel": (hidden, hidden)}
    expected |= {f"{layer}/bias": (hidden,) for layer in _BIASED[kind]}
    arrays = checked(f"a linen cell of {kind.__name__}", flat, expected)
    zeros = np.zeros(hidden, arrays[first].dtype)

    def side_by_side(product: str) -> np.ndarray:
        return np.concatenate([arrays[f"{product}{gate}/kernel"] for gate in gates], axis=1)

    def biases(product: str) -> np.ndarray:
        return np.concatenate([arrays.get(f"{product}{gate}/bias", zeros) for gate in gates])

    kernels = {"input_kernel": side_by_side("i"), "recurrent_kernel": side_by_side("h")}
    if kind is GRU:
        return cell_of(GRU, features, hidden, **kernels, bias=biases("i"), candidate_bias=arrays["hn/bias"])
    return cell_of(kind, features, hidden, **kernels, bias=biases("i") + biases("h"))


def _conv_lstm(params: Mapping[str, Any]) -> ConvLSTM:
    flat = {f"{layer}/{name}": np.asarray(array) for layer, arrays in params.items() for name, array in arrays.items()}
    kernel = flat.get("ih/kernel", np.zeros(()))
    if kernel.ndim != 4 or kernel.shape[-1] % 4:
        raise InputError(
            f"A ConvLSTMCell over images has a kernel [height, width, channels, 4 times features], not {kernel.shape}."
        )
    *sides, features, columns = kernel.shape
    expected = {"ih/kernel": kernel.shape, "hh/kernel": (*sides, columns // 4, columns)}
    biases = [name for name in ("ih/bias", "hh/bias") if name in flat]
    checked("a linen ConvLSTMCell", flat, expected | dict.fromkeys(biases, (columns,)))

    def in_our_order(array: np.ndarray) -> np.ndarray:
        i, g, f, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, f, g, o], axis=-1)

    bias = in_our_order(sum((flat[name] for name in biases), np.zeros(columns, kernel.dtype)))
    bias[columns // 4 : columns // 2] += 1  # linen adds 1 to the forget gate at every step.
    kernels = {"input_kernel": in_our_order(kernel), "recurrent_kernel": in_our_order(flat["hh/kernel"])}
    return cell_of(ConvLSTM, features, columns // 4, tuple(sides), **kernels, bias=bias)


def to_linen(cell: Cell) -> dict[str, dict[str, np.ndarray]]:
    """Returns the weights of a cell as the parameter tree of a linen cell.

    Args:
        cell: an `Elman` for `SimpleCell`, an `LSTM` for `LSTMCell` or `OptimizedLSTMCell`, or a `GRU` for `GRUCell`.

    Raises:
        InputError: if the cell is of another class.
    """
    kind = type(cell)
    if kind not in _GATES:
        raise InputError(f"linen has no cell of {kind.__name__}.")
    gates = _GATES[kind]
    tree: dict[str, dict[str, np.ndarray]] = {}
    for product, name in (("i", "input_kernel"), ("h", "recurrent_kernel")):
        for gate, kernel in zip(gates, np.split(numpy_of(cell, name), len(gates), axis=1), strict=True):
            tree[f"{product}{gate}"] = {"kernel": kernel}
    product = "h" if kind is LSTM else "i"
    for gate, bias in zip(gates, np.split(numpy_of(cell, "bias"), len(gates)), strict=True):
        tree[f"{product}{gate}"]["bias"] = bias
    if kind is GRU:
        tree["hn"]["bias"] = numpy_of(cell, "candidate_bias")
    return tree
