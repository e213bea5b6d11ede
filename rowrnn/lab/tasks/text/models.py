"""Language models that differ in one thing: what passes from one symbol to the next."""

from flax import nnx

from rowrnn.cells import CELLS
from rowrnn.models.language_model import LanguageModel
from rowrnn.sequence import Residual, Stack, Transformer

MODELS = {
    "lstm": "LSTM",
    "gru": "GRU",
    "min_gru": "minGRU",
    "lru": "LRU",
    "rg_lru": "RG-LRU",
    "slstm": "sLSTM",
    "mlstm": "mLSTM",
    "transformer": "Transformer",
}
"""Titles of the models by name."""
HEADS = 4


def build(
    name: str, width: int, symbols: int, *, blocks: int, expansion: int, dropout: float, rngs: nnx.Rngs
) -> LanguageModel:
    """Builds a language model of residual blocks.

    Args:
        name: one of `MODELS`: the cell in each block, or attention.
        width: number of features between the blocks, and size of each cell's state.
        symbols: number of different symbols.
        blocks: number of blocks.
        expansion: number of units between the linear maps of a block, relative to `width`.
        dropout: probability with which a feature of a sum is dropped in training.
        rngs: random streams.
    """
    how = {"expansion": expansion, "dropout": dropout, "rngs": rngs}
    if name == "transformer":
        layer = Transformer(width, width, blocks=blocks, heads=HEADS, causal=True, **how)
    else:
        layer = Stack([Residual(CELLS[name](width, width, rngs=rngs), **how) for _ in range(blocks)])
    return LanguageModel(layer, symbols, dropout=dropout, rngs=rngs)
