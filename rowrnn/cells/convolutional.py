"""Convolutional cells, ConvLSTM and ConvGRU: the equations of `LSTM` and `GRU` with convolutions as products."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, DTypeLike, Float

from rowrnn.cells.cell import Cell, expand_leading
from rowrnn.cells.convolution import convolve
from rowrnn.cells.gated import GRU, LSTM, apply_dropout

Maps = Float[Array, "*b h w c"]
GateMaps = Float[Array, "*b h w gates"]
Padding = tuple[tuple[int, int], tuple[int, int]]


class ConvCell(Cell):
    """Convolutional cell: inputs `[..., h, w, features]`, state and output `[..., h, w, hidden]`.

    Padding is "same" and the stride 1, so input and state have the same height and width. Kernels are
    `[kh, kw, features, gates·hidden]` and `[kh, kw, hidden, gates·hidden]`.

    Args:
        features: number of input channels.
        hidden: number of channels of the state.
        kernel: height and width of both kernels, odd; an integer for square ones.
        rngs: random streams; the initial parameters use "params".
        options: further arguments of the cell, such as `dtype`.

    Raises:
        ValueError: if `features`, `hidden` or a side of the kernel is not positive, or a side of the kernel is even.
    """

    num_feature_axes = 3
    recurrent_kernel: nnx.Param
    map_recurrence: ClassVar[str]
    """Name of the recurrence in `rowrnn.machine.kernels` with the equations of exactly this class, if there is one: the
    gates of an LSTM or GRU of `project` and of a convolution with `recurrent_kernel` and `recurrent_padding`."""

    def __init__(
        self, features: int, hidden: int, kernel: tuple[int, int] | int = (3, 3), *, rngs: nnx.Rngs, **options: Any
    ) -> None:
        kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
        if min(kernel) < 1 or not all(side % 2 for side in kernel):
            raise ValueError(f"{type(self).__name__} needs a kernel of odd sides, not {kernel}.")
        self.kernel = kernel
        super().__init__(features, hidden, rngs=rngs, **options)

    def project(self, x: Maps) -> GateMaps:
        """Computes the input half of every gate, for all steps at once: `[..., h, w, features] → [..., h, w,
        gates·hidden]`.
        """
        product = _convolved(x, self.input_kernel[...], _around(self.kernel))
        return product + expand_leading(self.bias[...], product)

    def recur(self, hidden: Maps, dropout_mask: Maps | None = None) -> GateMaps:
        """Computes the recurrent half of every gate: `[..., h, w, hidden] → [..., h, w, gates·hidden]`."""
        return _convolved(apply_dropout(hidden, dropout_mask), self.recurrent_kernel[...], self.recurrent_padding)

    @property
    def recurrent_padding(self) -> Padding:
        """Number of zeros (above, below) and (left, right) of a state, whose recurrent product keeps its size."""
        return _around(self.kernel)

    def _input_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Float[Array, "kh kw c gates"]:
        return self._kernel_init(self.kernel, self.features, rngs, dtype)

    def _recurrent_init(self, rngs: nnx.Rngs, dtype: DTypeLike) -> Float[Array, "kh kw c gates"]:
        return self._kernel_init(self.kernel, self.hidden, rngs, dtype)

    def _kernel_init(
        self, size: tuple[int, int], channels: int, rngs: nnx.Rngs, dtype: DTypeLike
    ) -> Float[Array, "kh kw c gates"]:
        shape = (*size, channels, len(self.gate_names) * self.hidden)
        return nnx.initializers.lecun_normal()(rngs.params(), shape, dtype)


class ConvLSTM(ConvCell, LSTM):
    """Convolutional LSTM (Shi et al. 2015), without peepholes. The state is an `LSTMState` of maps `[..., h, w,
    hidden]`.

    Arguments are those of `ConvCell` and, as for `LSTM`, `forget_bias`.
    """

    map_recurrence = "lstm"


class ConvGRU(ConvCell, GRU):
    """Convolutional GRU (Ballas et al. 2016), the reset after the product. The state is a map `[..., h, w, hidden]`."""

    map_recurrence = "gru"


def _around(kernel: tuple[int, int]) -> Padding:
    """Returns the padding with which a convolution keeps the size of its maps."""
    high, wide = kernel
    return (high // 2, high // 2), (wide // 2, wide // 2)


def _convolved(x: Maps, kernel: Float[Array, "kh kw c gates"], padding: Padding) -> GateMaps:
    # On a mesh with explicit axes only the first of axes that are merged may be split.
    names = jax.typeof(x).sharding.spec[:-3]
    split = next((axis for axis, name in enumerate(names) if name is not None), None)
    if split is not None:
        x = jnp.moveaxis(x, split, 0)
    kept = [None if split is None else P(names[split], *[None] * (ndim - 1)) for ndim in (4, x.ndim)]
    x, shape = jnp.reshape(x, (-1, *x.shape[-3:]), out_sharding=kept[0]), (*x.shape[:-1], kernel.shape[-1])
    maps = jnp.reshape(convolve(x, kernel, (1, 1), padding), shape, out_sharding=kept[1])
    return maps if split is None else jnp.moveaxis(maps, 0, split)
