"""Weights from and to other libraries, by their state dicts and parameter trees; none of them is imported.

`load` and `save` read and write safetensors files, by torch's names. What one side cannot represent is an `InputError`
that says so.
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
