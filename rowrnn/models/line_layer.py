"""What reads the features of a line: recurrent layers, a Transformer, or no memory at all."""

from flax import nnx

from rowrnn.cells import Cell
from rowrnn.sequence import Bidirectional, Recurrent, Stack, Transformer
from rowrnn.sequence.stack import stack

Kind = type[Cell] | type[Transformer] | None
"""A class of cells, the Transformer, or None for a layer without memory."""


def layer_of(
    features: int,
    hidden: int,
    cell: Kind,
    both_ways: bool,
    layers: int,
    dropout: float,
    rngs: nnx.Rngs,
) -> nnx.Linear | Bidirectional | Recurrent | Stack | Transformer:
    """Returns the layer between convolutions and head of a line reader; its arguments are those of `LineReader`."""
    if cell is None:
        return nnx.Linear(features, hidden, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
    if issubclass(cell, Transformer):
        return Transformer(features, hidden, blocks=2 * layers, causal=not both_ways, dropout=dropout, rngs=rngs)
    made = stack(cell, features, hidden, layers=layers, bidirectional=both_ways, dropout=dropout, rngs=rngs)
    return made if layers > 1 else made.layers[0]
