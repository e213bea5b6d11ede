"""Weights from and to other libraries, by their state dicts and parameter trees; none of them is imported.

`torch`, `linen`, `nnx` and `keras` translate; `files` reads and writes safetensors. What one side cannot represent is
an `InputError` that says so.
"""

from rowrnn.interop import files, keras, linen, nnx, torch

__all__ = ["files", "keras", "linen", "nnx", "torch"]
