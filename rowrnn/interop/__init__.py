"""Conversion of weights between rowrnn and torch, Keras, `flax.linen` and `flax.nnx`.

Weights are given as a state dict (torch), a list of arrays (Keras), a parameter tree (`flax.linen`) or a module
(`flax.nnx`); torch and Keras need not be installed. `load` and `save` read and write safetensors files with torch's
parameter names. A layer that the other library cannot represent raises `InputError`.
"""

from rowrnn.interop.files import load, save
from rowrnn.interop.keras import from_keras, to_keras
from rowrnn.interop.linen import from_linen, to_linen
from rowrnn.interop.nnx import from_nnx, to_nnx
from rowrnn.interop.torch import from_torch, to_torch

__all__ = [
    "from_keras",
    "from_linen",
    "from_nnx",
    "from_torch",
    "load",
    "save",
    "to_keras",
    "to_linen",
    "to_nnx",
    "to_torch",
]
