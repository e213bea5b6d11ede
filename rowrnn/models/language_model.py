"""Language model: predicts each symbol of a text from those before it, and goes on writing."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from rowrnn.cells import Cell
from rowrnn.recurrence.arguments import check_rate
from rowrnn.sequence.noise import split_key
from rowrnn.sequence.recurrent import Recurrent
from rowrnn.sequence.transformer import Transformer

Symbols = Int[Array, "b t"]
Logits = Float[Array, "b t symbols"]


class LanguageModel(nnx.Module):
    """Language model: predicts each symbol of a text from those before it.

    Symbols, such as characters or words, are embedded and read by a layer; from its normalized outputs a linear map
    computes the logits of the next symbol.

    Args:
        layer: a layer over vectors that sees no later step: `Recurrent`, a `Stack` of `Recurrent` or `Residual`, or a
            causal `Transformer`; a cell is wrapped in `Recurrent`.
        symbols: number of different symbols.
        dropout: probability with which a feature that enters or leaves the layer is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if there are fewer than two symbols, `dropout` is not in [0, 1), or the layer sees later
                steps or images.
    """

    def __init__(self, layer: Any, symbols: int, *, dropout: float = 0.0, rngs: nnx.Rngs) -> None:
        if symbols < 2:
            raise ValueError(f"A language model tells at least 2 symbols apart, not {symbols}.")
        if isinstance(layer, Cell):
            layer = Recurrent(layer)
        if getattr(layer, "num_feature_axes", None) != 1 or not layer.causal:
            raise ValueError(
                "A language model has a layer over vectors that sees no later step, as a causal Transformer."
            )
        check_rate("dropout", dropout)
        self.embedding = nnx.Embed(symbols, layer.features, rngs=rngs)
        self.layer = layer
        self.norm = nnx.LayerNorm(layer.outputs, rngs=rngs)
        self.head = nnx.Linear(layer.outputs, symbols, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)

    def __call__(
        self, symbols: Symbols, *, initial_state: Any = None, key: Key[Array, ""] | None = None
    ) -> tuple[Logits, Any]:
        """Computes the logits of the symbol after each, `[b, t, symbols]`, and the layer's state.

        Args:
            symbols: texts, `[b, t]`.
            initial_state: state of the layer after what came before; default: nothing did.
            key: random key of dropout, in training.
        """
        keys = split_key(key, 3)
        x = self._drop(self.embedding(symbols), keys[0])
        outputs, state = self.layer(x, initial_state=initial_state, key=keys[1])
        return self.head(self._drop(self.norm(outputs), keys[2])), state

    def _drop(self, x: Array, key: Array | None) -> Array:
        return self.dropout(x, deterministic=key is None, rngs=key)

    def generate(
        self,
        prompts: Symbols,
        count: int,
        key: Key[Array, ""],
        *,
        temperature: float = 1.0,
        never: tuple[int, ...] = (),
    ) -> tuple[Int[Array, "b count"], Float[Array, "b count"]]:
        """Goes on writing: draws each next symbol from the model's distribution.

        Args:
            prompts: texts that are read first, `[b, t]`, of one symbol at least.
            count: number of symbols that are drawn.
            key: random key.
            temperature: divisor of the logits: below 1 the model writes what is probable, at 0 the most probable
                symbol.
            never: symbols that are not drawn.

        Returns:
            The symbols, `[b, count]`, and the log-probability of each in nats, by the logits that are not divided.

        Raises:
            ValueError: if no symbol is read or drawn, the temperature is negative, or a Transformer is within a block.
        """
        if prompts.shape[1] < 1 or count < 1 or not temperature >= 0:
            raise ValueError(
                "Writing goes on after at least 1 symbol, for at least 1, at a temperature of at least 0; not after "
                f"{prompts.shape[1]}, for {count}, at {temperature}."
            )
        state = None
        if isinstance(self.layer, Transformer):
            state = self.layer.initial_state(self.embedding(prompts[:, 0]), prompts.shape[1] + count)
        logits, state = self(prompts, initial_state=state)
        if any(part is None for part in jax.tree.leaves(state, is_leaf=lambda part: part is None)):
            raise ValueError("A Transformer within a block has no state to go on from: give the model one itself.")

        def step(carry: tuple[Any, Array], key: Array) -> tuple[tuple[Any, Array], tuple[Array, Array]]:
            state, logits = carry
            allowed = logits.at[:, jnp.array(never, jnp.int32)].set(-jnp.inf)
            drawn = jax.random.categorical(key, allowed / temperature) if temperature else allowed.argmax(axis=-1)
            log_probs = jnp.take_along_axis(nnx.log_softmax(logits), drawn[:, None], axis=1)[:, 0]
            after, state = self(drawn[:, None], initial_state=state)
            return (state, after[:, 0]), (drawn, log_probs)

        _, (drawn, log_probs) = jax.lax.scan(step, (state, logits[:, -1]), jax.random.split(key, count))
        return drawn.T, log_probs.T
