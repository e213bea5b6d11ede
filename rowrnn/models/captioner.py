"""Image captioner: a small CNN, and a recurrent decoder with attention to its feature map."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from rowrnn.cells import Cell
from rowrnn.cells.convolution import conv
from rowrnn.decoding.sentences import Sentences, SpecialTokens, beam_search, greedy, repeated
from rowrnn.recurrence.arguments import check_any_state, check_rate
from rowrnn.recurrence.scan import scan
from rowrnn.typing import Images, State

SUMMARY = 8  # channels to which the features of a position are reduced for the initial state

Memory = Float[Array, "b positions k"]
Captions = Int[Array, "n t"]


class Captioner(nnx.Module):
    """Image captioner: predicts a caption word by word.

    Four convolutions with ReLU, three of them with stride 2, compute a feature map of an eighth of the image's height
    and width. The decoder's initial state is computed from this map; its input is the embedding of the previous word.

    With attention (Luong et al. 2015, section 3.1, general score, here scaled) the decoder's output h queries the map
    by scaled dot products and a softmax; from the weighted mean c follow the features tanh(W [c; h]) that predict the
    next word. Attention comes after the cell, so one scan computes all steps of a given caption. Without attention the
    features are tanh(W h).

    Args:
        cell: class of a cell over vectors, such as those of `rowrnn.CELLS`.
        hidden: size of the cell's state.
        shape: height, width and channels of an image.
        words: size of the vocabulary.
        longest: maximum number of words of a caption, including its end.
        tokens: special tokens.
        channels: number of channels of the feature map.
        embedding: size of a word's embedding.
        attention: whether the decoder uses attention.
        blind: whether the decoder sees zeros instead of the feature map, as a baseline of the language alone.
        dropout: probability with which a feature that predicts the next word is dropped in training.
        rngs: random streams; the initial parameters use "params".

    Raises:
        ValueError: if a size is not positive, a special token is not in the vocabulary, or `dropout` is not in [0, 1).
    """

    def __init__(
        self,
        cell: type[Cell],
        hidden: int,
        *,
        shape: tuple[int, int, int],
        words: int,
        longest: int,
        tokens: SpecialTokens,
        channels: int = 64,
        embedding: int = 32,
        attention: bool = True,
        blind: bool = False,
        dropout: float = 0.0,
        rngs: nnx.Rngs,
    ) -> None:
        if min(*shape, words, longest, channels, embedding) < 1:
            raise ValueError(
                f"A Captioner needs at least one of everything, not images of {list(shape)}, {words} words, captions "
                f"of {longest}, {channels} channels and an embedding of {embedding}."
            )
        given = [token for token in tokens if token is not None]
        if not all(0 <= token < words for token in given):
            raise ValueError(f"Special tokens are words of the vocabulary, 0 to {words - 1}, not {given}.")
        check_rate("dropout", dropout)
        self.shape, self.longest, self.tokens, self.blind = tuple(shape), longest, tokens, blind
        quarter, half = -(-channels // 4), -(-channels // 2)
        self.convolutions = nnx.List(
            [
                conv(shape[2], quarter, 5, (2, 2), rngs=rngs),
                conv(quarter, half, 3, (2, 2), rngs=rngs),
                conv(half, channels, 3, (2, 2), rngs=rngs),
                conv(channels, channels, 3, rngs=rngs),
            ]
        )
        self.grid = (-(-shape[0] // 8), -(-shape[1] // 8))
        positions = self.grid[0] * self.grid[1]
        self.place = nnx.Param(0.1 * jax.random.normal(rngs.params(), (positions, channels)))
        self.embedding = nnx.Embed(words, embedding, rngs=rngs)
        self.cell = cell(embedding, hidden, rngs=rngs)
        check_any_state(type(self).__name__, self.cell)
        zeros = jax.eval_shape(lambda: self.cell.initialize_carry((1, embedding)))
        self._sizes = tuple(leaf.shape[1] for leaf in jax.tree.leaves(zeros))
        self.summary = nnx.Linear(channels, SUMMARY, rngs=rngs)
        self.first = nnx.Linear(positions * SUMMARY, sum(self._sizes), rngs=rngs)
        features = self.cell.outputs
        self.question = nnx.Linear(features, channels, rngs=rngs) if attention else None
        self.combined = nnx.Linear(features + channels if attention else features, features, rngs=rngs)
        self.dropout = nnx.Dropout(dropout)
        self.head = nnx.Linear(features, words, rngs=rngs)

    def __call__(self, images: Images) -> Captions:
        """Captions images `[b, h, w, c]` greedily; returns words `[b, longest]`, padded after the end.

        Raises:
            ValueError: if images have another shape or dtype, or the batch is empty.
        """
        return self.greedy(images).words

    def logits(self, images: Images, captions: Captions, *, key: Array | None = None) -> Float[Array, "b t words"]:
        """Computes the logits of every word of given captions from the words before it (teacher forcing).

        Args:
            images: floating-point images `[b, h, w, c]`.
            captions: integers `[b, t]`, with `t` at most `longest`.
            key: random key of dropout, in training.

        Returns:
            Logits `[b, t, words]`.

        Raises:
            ValueError: if images or captions have another shape or dtype, the batch is empty, or words known outside
                `jax.jit` are not in the vocabulary.
        """
        memory, outputs = self._read(images, captions)
        features, _ = self._features(memory, outputs)
        return self.head(self.dropout(features, deterministic=key is None, rngs=key))

    def attention(self, images: Images, captions: Captions) -> Float[Array, "b t gh gw"]:
        """Computes the attention weights for every word of given captions.

        Args:
            images: floating-point images `[b, h, w, c]`.
            captions: integers `[b, t]`, with `t` at most `longest`.

        Returns:
            Weights `[b, t, gh, gw]` over the positions of the feature map; they sum to 1 for each word.

        Raises:
            ValueError: as `logits`, and if the model has no attention.
        """
        if self.question is None:
            raise ValueError("This Captioner has no attention to show.")
        memory, outputs = self._read(images, captions)
        _, shares = self._features(memory, outputs)
        return shares.reshape(*shares.shape[:2], *self.grid)

    def start(self, images: Images) -> tuple[Memory, State]:
        """Computes the feature map `[b, positions, channels]` and the decoder's state before the first word.

        Raises:
            ValueError: if images have another shape or dtype, or the batch is empty.
        """
        images = jnp.asarray(images)
        if images.ndim != 4 or images.shape[1:] != self.shape or not jnp.issubdtype(images.dtype, jnp.floating):
            raise ValueError(
                f"This Captioner takes floating-point images [b, {', '.join(map(str, self.shape))}], not "
                f"{images.dtype} of shape {list(images.shape)}."
            )
        if images.shape[0] == 0:
            raise ValueError("This Captioner takes at least one image; the batch is empty.")
        x = images
        for convolution in self.convolutions:
            x = nnx.relu(convolution(x))
        x = x.reshape(x.shape[0], -1, x.shape[-1]) + self.place[...][None]
        memory = jnp.zeros_like(x) if self.blind else x
        leaves = self.first(nnx.relu(self.summary(memory)).reshape(memory.shape[0], -1))
        leaves = jnp.split(jnp.tanh(leaves), [sum(self._sizes[: n + 1]) for n in range(len(self._sizes) - 1)], axis=1)
        zeros = self.cell.initial_state(self.cell.project(self.embedding(jnp.zeros(x.shape[:1], jnp.int32))))
        return memory, jax.tree.unflatten(jax.tree.structure(zeros), leaves)

    def step(self, memory: Memory, state: State, word: Int[Array, "b"]) -> tuple[State, Float[Array, "b words"]]:
        """Reads one word and predicts the next.

        Args:
            memory: feature map from `start`, `[b, positions, channels]`.
            state: state from `start` or from the previous step.
            word: previous words, integers `[b]`; the first is `tokens.begin`.

        Returns:
            The next state and log-probabilities of the next word, `[b, words]`.
        """
        state, output = self.cell(state, self.embedding(word))
        features, _ = self._features(memory, output[:, None])
        return state, jax.nn.log_softmax(self.head(features[:, 0]))

    # Compiled, so that a call outside `jax.jit` is not traced and compiled each time.
    @partial(jax.jit, inline=True)
    def greedy(self, images: Images) -> Sentences:
        """Captions images `[b, h, w, c]` greedily, see `rowrnn.decoding.sentences.greedy`.

        Raises:
            ValueError: if images have another shape or dtype, or the batch is empty.
        """
        memory, state = self.start(images)
        return greedy(partial(self.step, memory), state, self.tokens, self.longest)

    @partial(jax.jit, static_argnames=("width", "length_power"), inline=True)
    def beam(self, images: Images, width: int, *, length_power: float = 0.0) -> Sentences:
        """Captions images `[b, h, w, c]` by beam search, see `rowrnn.decoding.sentences.beam_search`.

        Args:
            images: floating-point images.
            width: number of hypotheses.
            length_power: power of the length by which log-probabilities are divided for the ranking.

        Returns:
            The `width` best captions of each image, best first.

        Raises:
            ValueError: if `width` is below 1, images have another shape or dtype, or the batch is empty.
        """
        if width < 1:
            raise ValueError(f"A beam has a width of at least 1, not {width}.")
        memory, state = self.start(images)
        # All hypotheses share the feature map: it is not part of the state, which beam search reorders.
        step = partial(self.step, repeated(memory, width))
        return beam_search(step, state, self.tokens, self.longest, width=width, length_power=length_power)

    def _read(self, images: Images, captions: Captions) -> tuple[Memory, Any]:
        """Returns the feature map and the decoder's outputs `[b, t, outputs]`, each from the words before it."""
        memory, state = self.start(images)
        captions = jnp.asarray(captions)
        fit = captions.ndim == 2 and len(captions) == len(memory) and 1 <= captions.shape[1] <= self.longest
        if not fit or not jnp.issubdtype(captions.dtype, jnp.integer):
            raise ValueError(
                f"This Captioner takes captions [b, t] of at most {self.longest} words, integers, one for each image, "
                f"not {captions.dtype} of shape {list(captions.shape)} for {len(memory)} images."
            )
        words = self.embedding.num_embeddings
        if not isinstance(captions, jax.core.Tracer) and not ((captions >= 0) & (captions < words)).all():
            raise ValueError(
                f"Words are numbers from 0 to {words - 1}; these run from {captions.min()} to {captions.max()}."
            )
        begin = jnp.full_like(captions[:, :1], self.tokens.begin)
        before = jnp.concatenate([begin, captions[:, :-1]], axis=1)
        outputs, _ = scan(self.cell, self.embedding(before), initial_state=state)
        return memory, outputs

    def _features(self, memory: Memory, outputs: Float[Array, "b t outputs"]) -> tuple[Array, Array]:
        """Returns the features that predict the next word, and attention weights `[b, t, positions]`."""
        if self.question is None:
            return jnp.tanh(self.combined(outputs)), jnp.zeros((*outputs.shape[:2], 0))
        score = jnp.einsum("btc,bpc->btp", self.question(outputs), memory) / memory.shape[-1] ** 0.5
        shares = jax.nn.softmax(score)
        context = jnp.einsum("btp,bpc->btc", shares, memory)
        return jnp.tanh(self.combined(jnp.concatenate([context, outputs], axis=-1))), shares
