"""`flax.linen`'s cells by their parameter trees: `SimpleCell`, `LSTMCell`, `OptimizedLSTMCell` and `GRUCell`.

A tree has a dense layer for each gate and product, as `{"ir": {"kernel", "bias"}, "hr": {"kernel"}, …}`.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rowrnn.cells import GRU, LSTM, Cell, Elman
from rowrnn.errors import InputError
from rowrnn.interop.arrays import cell_of, checked, numpy_of

# Of each class the names of its gates in our order, and which products have a bias.
_GATES: dict[type[Cell], tuple[str, ...]] = {Elman: ("",), LSTM: ("i", "f", "g", "o"), GRU: ("r", "z", "n")}
_BIASED: dict[type[Cell], tuple[str, ...]] = {
    Elman: ("i",),
    LSTM: ("hi", "hf", "hg", "ho"),
    GRU: ("ir", "iz", "in", "hn"),
}


def from_linen(params: Mapping[str, Any]) -> Cell:
    """The cell whose weights a tree of a linen cell holds, `variables["params"]` or that of the cell in an `RNN`.

    Raises:
        InputError: if names are missing or unknown, shapes do not fit, or the cell cannot be represented.
    """
    params = params.get("cell", params)
    if not all(isinstance(arrays, Mapping) for arrays in params.values()):
        raise InputError(f"A linen cell's parameters are a tree of dense layers, not {', '.join(sorted(params))}.")
    flat = {f"{layer}/{name}": array for layer, arrays in params.items() for name, array in arrays.items()}
    inputs = {name for name in params if name.startswith("i")}
    kind = next((kind for kind, gates in _GATES.items() if inputs == {f"i{gate}" for gate in gates}), None)
    if kind is None:
        raise InputError(
            f"No cell of linen that is known here, SimpleCell, LSTMCell, OptimizedLSTMCell or GRUCell, has the dense "
            f"layers {', '.join(sorted(params))}."
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


def to_linen(cell: Cell) -> dict[str, dict[str, np.ndarray]]:
    """The tree of parameters of a linen cell; of an LSTM both `LSTMCell` and `OptimizedLSTMCell` take it.

    Raises:
        InputError: if linen has no such cell.
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
