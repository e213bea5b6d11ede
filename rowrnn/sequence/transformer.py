"""Transformer over sequences, also step by step: what recurrent layers are compared with."""

from typing import NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, ArrayLike, DTypeLike, Float, Int, Key

from rowrnn.recurrence.arguments import check_positive, check_rate, check_sequence, valid_steps
from rowrnn.recurrence.masking import forward_fill, zero_where_invalid
from rowrnn.recurrence.scan import ScanOptions
from rowrnn.sequence.noise import split_key
from rowrnn.sequence.residual import FeedForward
from rowrnn.typing import Hidden, Outputs

OPTIONS = ("lengths", "mask", "hold_outputs")

MOST_SCORES = 1 << 26
"""Scores of pairs of steps that are in memory at once, at most, but for those of one sequence: 256 MiB of float32."""
SLOWEST = 10_000.0
"""Steps of the slowest sinusoid of the places, divided by 2π."""


class TransformerState(NamedTuple):
    """What a causal Transformer has read.

    Args:
        keys: of each block, `[b, longest, heads, size]`.
        values: likewise.
        position: number of steps read, `[b]`.
    """

    keys: tuple[Array, ...]
    values: tuple[Array, ...]
    position: Int[Array, "b"]


class Block(nnx.Module):
    """Block of a Transformer with the norms before its parts (Xiong et al. 2020): attention, and two linear maps.

        x = x + A(LN(x))      x = x + W₂ gelu(W₁ LN(x))

    Args:
        width: number of features of a step.
        heads: number of heads; each has `⌈width / heads⌉` features.
        expansion: number of units between the linear maps, relative to `width`.
        dropout: probability with which a feature of either sum is dropped in training.
        rngs: random streams; the initial parameters use "params".
    """

    def __init__(self, width: int, heads: int, expansion: int, dropout: float, *, rngs: nnx.Rngs) -> None:
        self.heads, self.size = heads, -(-width // heads)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.projection = nnx.Linear(width, 3 * heads * self.size, rngs=rngs)
        self.merge = nnx.Linear(heads * self.size, width, rngs=rngs)
        self.feed_forward = FeedForward(width, expansion, dropout, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def project(self, x: Float[Array, "b t width"]) -> tuple[Array, Array, Array]:
        """Computes queries, keys and values, each `[b, t, heads, size]`."""
        projected = self.projection(self.norm(x)).reshape(*x.shape[:2], 3, self.heads, self.size)
        return projected[:, :, 0], projected[:, :, 1], projected[:, :, 2]

    def add(
        self, x: Float[Array, "b t width"], found: Float[Array, "b t heads size"], key: Array | None = None
    ) -> Float[Array, "b t width"]:
        """Adds what attention found, and then the linear maps."""
        keys = split_key(key, 2)
        merged = self.merge(found.reshape(*x.shape[:2], -1))
        x = x + self.dropout(merged, deterministic=key is None, rngs=keys[0])
        return self.feed_forward(x, keys[1])


class Transformer(nnx.Module):
    """Layer of self-attention over sequences (Vaswani et al. 2017), in the form with norms before the parts.

    A linear map of each step and its place, blocks, and a layer normalization. It is called as a recurrent layer is. A
    causal one computes each output from the steps up to it, and can therefore be run step by step too: `step`.

    Args:
        features: number of input features of a step, `d`.
        width: number of features between the blocks, and of an output.
        blocks: number of blocks.
        heads: number of heads of a block.
        expansion: number of units between the linear maps of a block, relative to `width`.
        causal: whether a step sees none that come after it.
        longest: number of places that are learned, and so of steps at most; sinusoids for places if None.
        dropout: probability with which a feature is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive, or `dropout` is not in [0, 1).
    """

    num_feature_axes = 1
    reverse = False

    def __init__(
        self,
        features: int,
        width: int,
        *,
        blocks: int = 2,
        heads: int = 4,
        expansion: int = 4,
        causal: bool = False,
        longest: int | None = None,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        sizes = {"features": features, "width": width, "blocks": blocks, "heads": heads, "expansion": expansion}
        sizes |= {} if longest is None else {"longest": longest}
        check_positive("Transformer", **sizes)
        check_rate("dropout", dropout)
        self.features, self.outputs, self.causal, self.longest = features, width, causal, longest
        self.embed = nnx.Linear(features, width, rngs=rngs)
        drawn = None if longest is None else nnx.initializers.normal(0.02)(rngs.params(), (longest, width), jnp.float32)
        self.places = None if drawn is None else nnx.Param(drawn)
        self.blocks = nnx.List([Block(width, heads, expansion, dropout, rngs=rngs) for _ in range(blocks)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)

    def __call__(
        self,
        x: ArrayLike,
        *,
        initial_state: TransformerState | None = None,
        key: Key[Array, ""] | None = None,
        **options: Unpack[ScanOptions],
    ) -> tuple[Outputs, TransformerState | None]:
        """Computes the outputs of all steps of sequences `[b, t, features]`.

        Args:
            x: sequences.
            initial_state: state of a causal Transformer, from which it goes on step by step.
            key: random key of dropout, in training.
            options: the options `lengths`, `mask` and `hold_outputs` of `rowrnn.scan`. Steps that are not valid are not
                attended to, and have no place; with a state all steps are valid.

        Returns:
            Outputs `[b, t, width]`, and the state after them; None where none was given.

        Raises:
            ValueError: if a shape does not fit, there are more steps than places, another option is given, or a
                state cannot be gone on from.
            TypeError: if `x` is not floating point.
        """
        x = jnp.asarray(x)
        check_sequence(x, self.features, 1)
        given = {name: value for name, value in options.items() if value is not None and value is not False}
        known = OPTIONS if initial_state is None else ()
        unknown = [name for name in given if name not in known]
        if unknown:
            has = f"A Transformer has the options {', '.join(OPTIONS)} of scan" if known else "With a state it has none"
            raise ValueError(f"{has}, not {', '.join(unknown)}.")
        if initial_state is not None:
            room = initial_state.keys[0].shape[1]
            if not self.causal or key is not None or x.shape[1] > room:
                raise ValueError(
                    "A causal Transformer goes on from a state, without a key, for as many steps as the state has room "
                    f"for; this one has causal={self.causal}, {'no' if key is None else 'a'} key, and for a room of "
                    f"{room} it was given {x.shape[1]} steps."
                )
            return self._steps(initial_state, x)
        if self.longest is not None and x.shape[1] > self.longest:
            raise ValueError(f"This Transformer has {self.longest} places, and was given {x.shape[1]} steps.")
        _, valid = valid_steps(x, options.get("lengths"), options.get("mask"))
        h = self.embed(zero_where_invalid(x, valid))
        numbers = jnp.arange(x.shape[1])[None] if valid is None else jnp.maximum(jnp.cumsum(valid, axis=1) - 1, 0)
        h = h + self._places(numbers, h.dtype)
        seen = None if valid is None else valid[:, None, None, :]
        for block, of_block in zip(self.blocks, split_key(key, len(self.blocks)), strict=True):
            query, keys, values = block.project(h)
            h = block.add(h, _attended(query, keys, values, seen, causal=self.causal), of_block)
        outputs = zero_where_invalid(self.norm(h), valid)
        if "hold_outputs" in given and valid is not None:
            outputs = forward_fill(outputs, valid, reverse=False)
        return outputs, None

    def initial_state(self, x: Float[Array, "b d"], steps: int | None = None) -> TransformerState:
        """Returns the state before the first step of a causal Transformer.

        Args:
            x: inputs of one step, `[b, features]`.
            steps: number of steps that there is room for; default: the number of places that are learned.

        Raises:
            ValueError: if the Transformer is not causal, neither says how many steps there are, or they are more than
                the places.
        """
        steps = self.longest if steps is None else steps
        if not self.causal or steps is None:
            raise ValueError("A state is that of a causal Transformer, with a number of steps.")
        if self.longest is not None and steps > self.longest:
            raise ValueError(f"This Transformer has {self.longest} places, and was asked for a state of {steps} steps.")
        dtype = jnp.result_type(x, *jax.tree.leaves(self))
        zeros = [jnp.zeros((x.shape[0], steps, block.heads, block.size), dtype) for block in self.blocks]
        return TransformerState(tuple(zeros), tuple(zeros), jnp.zeros(x.shape[0], jnp.int32))

    def step(self, state: TransformerState, x: Float[Array, "b d"]) -> tuple[TransformerState, Hidden]:
        """Reads one step of each sequence, `[b, features]`; outputs equal those of the whole sequence.

        A step beyond the room of the state takes the place of the last one, and its output is no longer that of the
        whole sequence.
        """
        room = state.keys[0].shape[1]
        at = jnp.minimum(state.position, room - 1)
        h = self.embed(x)
        h = (h + self._places(at, h.dtype))[:, None]
        places = jnp.arange(room)[None]
        here, seen = (places == at[:, None])[..., None, None], (places <= at[:, None])[:, None, None]
        cached = []
        for block, keys, values in zip(self.blocks, state.keys, state.values, strict=True):
            query, key, value = block.project(h)
            keys, values = jnp.where(here, key, keys), jnp.where(here, value, values)
            cached.append((keys, values))
            h = block.add(h, jax.nn.dot_product_attention(query, keys, values, mask=seen))
        keys, values = zip(*cached, strict=True)
        return TransformerState(keys, values, at + 1), self.norm(h)[:, 0]

    def _steps(self, state: TransformerState, x: Float[Array, "b t d"]) -> tuple[Outputs, TransformerState]:
        state, outputs = jax.lax.scan(self.step, state, jnp.swapaxes(x, 0, 1))
        return jnp.swapaxes(outputs, 0, 1), state

    def _places(self, numbers: Int[Array, "*n"], dtype: DTypeLike) -> Float[Array, "*n width"]:
        """Returns the vector of each place: learned, or sines and cosines of wave lengths from 2π to 2π · `SLOWEST`."""
        if self.places is not None:
            return self.places[...][numbers].astype(dtype)
        half = -(-self.outputs // 2)
        rates = jnp.asarray(SLOWEST ** (-2 * np.arange(half) / self.outputs), jnp.promote_types(dtype, jnp.float32))
        angles = jnp.multiply.outer(numbers.astype(rates.dtype), rates)
        waves = jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(*numbers.shape, 2 * half)
        return waves[..., : self.outputs].astype(dtype)


def _attended(
    query: Float[Array, "b t heads size"], keys: Array, values: Array, seen: Array | None, *, causal: bool
) -> Float[Array, "b t heads size"]:
    """Computes attention, where sequences are long for some of them after the others: each takes a matrix of t by t."""
    batch, steps, heads, _ = query.shape

    def attend(query: Array, keys: Array, values: Array, seen: Array | None) -> Array:
        return jax.nn.dot_product_attention(query, keys, values, mask=seen, is_causal=causal)

    if not all(isinstance(size, int) for size in (batch, steps)) or batch * heads * steps**2 <= MOST_SCORES:
        return attend(query, keys, values, seen)

    def of_one(one: tuple[Array, ...]) -> Array:
        query, keys, values, *seen = (part[None] for part in one)
        return attend(query, keys, values, seen[0] if seen else None)[0]

    at_once = max(1, MOST_SCORES // (heads * steps**2))
    given = (
        (query, keys, values)
        if seen is None
        else (query, keys, values, jnp.broadcast_to(seen, (batch, *seen.shape[1:])))
    )
    return jax.lax.map(of_one, given, batch_size=at_once)
