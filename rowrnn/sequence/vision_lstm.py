"""Vision-LSTM over the patches of an image: blocks of mLSTM cells that read in alternating directions."""

from typing import Any, Unpack

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, ArrayLike, Float, Key

from rowrnn.cells import MLSTM
from rowrnn.recurrence.arguments import check_positive, check_rate, check_sequence, valid_steps
from rowrnn.recurrence.masking import zero_where_invalid
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence.noise import split_key
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.sequence.residual import Residual
from rowrnn.typing import Outputs

OPTIONS = ("lengths", "mask")


class VisionLSTM(nnx.Module):
    """Layer over the patches of an image (Alkin et al. 2024): mLSTM cells read them forward and backward by turns.

    A linear map of each patch, to which a vector for its place is added, residual blocks of an mLSTM, every second one
    from the last patch to the first, and a layer normalization. The blocks are `Residual`: the two linear maps of a
    Transformer's block follow the cell, where the paper has them around it, with a short convolution. It is called as a
    recurrent layer is.

    Args:
        features: number of features of a patch.
        width: number of features between the blocks, and of an output.
        longest: number of places that are learned, and so of patches at most.
        blocks: number of blocks.
        heads: number of heads of a cell; each has `⌈width / heads⌉` features.
        expansion: number of units between the linear maps of a block, relative to `width`.
        dropout: probability with which a feature is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive, or `dropout` is not in [0, 1).
    """

    num_feature_axes = 1
    causal = False

    def __init__(
        self,
        features: int,
        width: int,
        *,
        longest: int,
        blocks: int = 4,
        heads: int = 4,
        expansion: int = 2,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        sizes = {"features": features, "width": width, "longest": longest, "blocks": blocks, "heads": heads}
        check_positive("VisionLSTM", **sizes, expansion=expansion)
        check_rate("dropout", dropout)
        self.features, self.outputs, self.longest = features, width, longest
        self.embed = nnx.Linear(features, width, rngs=rngs)
        self.places = nnx.Param(nnx.initializers.normal(0.02)(rngs.params(), (longest, width), jnp.float32))
        inside = heads * -(-width // heads)
        self.blocks = nnx.List()
        for number in range(blocks):
            cell = MLSTM(width, inside, heads=heads, rngs=rngs)
            layer = Recurrent(cell, reverse=number % 2 == 1)
            self.blocks.append(Residual(layer, expansion=expansion, dropout=dropout, rngs=rngs))
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(
        self,
        x: ArrayLike,
        *,
        initial_state: Any = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, None]:
        """Computes the outputs of all patches `[b, t, features]`.

        Args:
            x: patches in their order.
            initial_state: none, since every second block reads backward.
            key: random key of dropout, in training.
            options: the options `lengths` and `mask` of `rowrnn.scan`. Patches that are not valid have no influence.

        Returns:
            Outputs `[b, t, width]`, and None for a state.

        Raises:
            ValueError: if a shape does not fit, there are more patches than places, or another option or a state is
                given.
            TypeError: if `x` is not floating point.
        """
        x = jnp.asarray(x)
        check_sequence(x, self.features, 1)
        given = [name for name, value in options.items() if value is not None and value is not False]
        unknown = [name for name in given if name not in OPTIONS]
        if unknown or initial_state is not None:
            what = ", ".join(unknown) or "a state"
            raise ValueError(f"A VisionLSTM has the options {' and '.join(OPTIONS)} of scan, not {what}.")
        if x.shape[1] > self.longest:
            raise ValueError(f"This VisionLSTM has {self.longest} places, and was given {x.shape[1]} patches.")
        _, valid = valid_steps(x, options.get("lengths"), options.get("mask"))
        places = self.places[...][: x.shape[1]]
        h: Float[Array, "b t width"] = self.embed(zero_where_invalid(x, valid))
        h = h + places[None].astype(h.dtype)
        known: Any = {name: value for name, value in options.items() if name in given}
        for block, of_block in zip(self.blocks, split_key(key, len(self.blocks)), strict=True):
            h, _ = block(h, key=of_block, **known)
        return zero_where_invalid(self.norm(h), valid), None
