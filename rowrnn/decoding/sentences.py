"""Autoregressive decoding, greedy or by beam search, with any model that predicts the next word.

A model is a function `step(state, words [n]) → (state, log_probs [n, words])`. It takes its state, a pytree of arrays
with the leading axis `n`, and the previous words, and returns the log-probabilities of the next ones.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from rowrnn.machine.sharding import place_examples, reshape_examples, vary_alike

State = PyTree[Array]
Step = Callable[[State, Int[Array, "n"]], tuple[State, Float[Array, "n words"]]]


class SpecialTokens(NamedTuple):
    """Ids of the special tokens: padding after the end, begin of sentence, end of sentence, unknown word.

    The first three may coincide, as in T5 (`begin` is `pad`) and GPT-2 (all three). In a sentence decoders never choose
    `pad` or, where there is such a word, `unknown`, unless it is also `end`; they do not exclude `begin`.
    """

    pad: int
    begin: int
    end: int
    unknown: int | None = None


class Sentences(NamedTuple):
    """Decoded sentences.

    Args:
        words: sentences with their end, padded with `pad`: `[b, longest]`, from a beam search `[b, width, longest]`.
        log_probs: log-probability of each sentence including its end, in nats, at least float32, `[b]` or `[b, width]`.
        lengths: number of words of each sentence including its end, `[b]` or `[b, width]`.
    """

    words: Int[Array, "*b longest"]
    log_probs: Float[Array, "*b"]
    lengths: Int[Array, "*b"]


def greedy(step: Step, state: State, tokens: SpecialTokens, longest: int) -> Sentences:
    """Decodes greedily: chooses the most probable word at each step, until the end or `longest` words.

    Args:
        step: the model.
        state: state before the first word, with the leading axis `b`.
        tokens: special tokens.
        longest: maximum number of words of a sentence including its end; longer sentences are cut and have no end.

    Raises:
        ValueError: if `longest` is below 1, or `pad`, `end` or `unknown` is no word that the model scores.
    """
    best = beam_search(step, state, tokens, longest, width=1)
    return jax.tree.map(lambda a: a[:, 0], best)


def beam_search(
    step: Step, state: State, tokens: SpecialTokens, longest: int, *, width: int, length_power: float = 0.0
) -> Sentences:
    """Decodes by beam search and returns the best `width` sentences, best first.

    Sentences, ended or not, are ranked by `log_prob / length ** length_power` (Wu et al. 2016, equation 14, without its
    constants). An ended sentence stays in the beam as long as its rank is among the best. A width of 1 is greedy
    decoding. Outside of `jax.jit` every call is compiled anew.

    Args:
        step: the model.
        state: state before the first word, with the leading axis `b`.
        tokens: special tokens.
        longest: maximum number of words of a sentence including its end; longer sentences are cut and have no end.
        width: number of sentences kept at each step; if fewer exist, the remaining ones have log-probability -inf.
        length_power: 0 ranks by log-probability, 1 by log-probability per word.

    Raises:
        ValueError: if `width` or `longest` is below 1, or `pad`, `end` or `unknown` is no word that the model scores.
    """
    if width < 1 or longest < 1:
        raise ValueError(f"A beam needs a width and a longest sentence of at least 1, not {width} and {longest}.")
    # Compiled for this call, since `step` may hold arrays that change; of a loop alone JAX would keep every program.
    return jax.jit(partial(_search, step, tokens, longest, width, length_power), inline=True)(state)


def _search(
    step: Step, tokens: SpecialTokens, longest: int, width: int, length_power: float, state: State
) -> Sentences:
    examples = jax.tree.leaves(state)[0]
    b = examples.shape[0]
    # At first all entries of the beam are equal: only one may count.
    first = jnp.broadcast_to(jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf)[None], (b, width))
    sentences = Sentences(jnp.full((b, width, longest), tokens.pad), first, jnp.zeros((b, width), jnp.int32))
    said = jnp.full((b, width), tokens.begin)
    ended = jnp.zeros((b, width), bool)

    def advance(carry: tuple[State, Array, Array, Sentences], turn: Array) -> tuple[Any, None]:
        state, said, ended, sentences = carry
        state, log_probs = step(state, reshape_examples(said, (b * width,)))
        words = log_probs.shape[-1]
        chosen = [word for word in (tokens.pad, tokens.end, tokens.unknown) if word is not None]
        if not all(0 <= word < words for word in chosen):
            raise ValueError(
                "Padding, end and, if there is one, the unknown word are words that the model scores, 0 to "
                f"{words - 1}, not {', '.join(map(str, chosen))}."
            )
        # Sums over many words need float32 at least.
        log_probs = log_probs.astype(np.promote_types(log_probs.dtype, np.float32))
        log_probs = place_examples(reshape_examples(log_probs, (b, width, words)), examples)
        # After its end a sentence is padded with log-probability 0; before, what is never said is excluded.
        padding = (jnp.arange(words) == tokens.pad)[None, None]
        never = [word for word in (tokens.pad, tokens.unknown) if word is not None and word != tokens.end]
        before = log_probs.at[..., jnp.array(never, jnp.int32)].set(-jnp.inf)
        log_probs = jnp.where(ended[..., None], jnp.where(padding, 0.0, -jnp.inf), before)
        log_probs = sentences.log_probs[..., None] + log_probs
        lengths = sentences.lengths[..., None] + jnp.where(ended, 0, 1)[..., None]
        rank = log_probs / lengths.astype(log_probs.dtype) ** length_power
        _, best = jax.lax.top_k(reshape_examples(rank, (b, width * words)), width)
        parent, word = best // words, best % words
        by_beam = jax.tree.map(lambda a: reshape_examples(a, (b, width, *a.shape[1:])), state)
        state = jax.tree.map(lambda a, like: reshape_examples(_chosen(a, parent), like.shape), by_beam, state)
        log_probs = jnp.take_along_axis(reshape_examples(log_probs, (b, width * words)), best, axis=1)
        so_far = _chosen(sentences.words, parent).at[:, :, turn].set(word)
        ended = _chosen(ended, parent) | (word == tokens.end)
        return (state, word, ended, Sentences(so_far, log_probs, _chosen(lengths[..., 0], parent))), None

    state, said, ended, sentences = place_examples((state, said, ended, sentences), examples)
    start = vary_alike((repeated(state, width), said, ended, sentences))
    (*_, sentences), _ = jax.lax.scan(advance, start, jnp.arange(longest))
    return sentences


def repeated(tree: State, width: int) -> State:
    """Repeats each entry of the leading axis `width` times, `[b, ...] → [b·width, ...]`, for the steps of a beam
    search.
    """

    def repeat(a: Array) -> Array:
        wide = jnp.broadcast_to(a[:, None], (a.shape[0], width, *a.shape[1:]))
        return reshape_examples(wide, (a.shape[0] * width, *a.shape[1:]))

    return jax.tree.map(repeat, tree)


def _chosen(array: Array, parent: Int[Array, "b width"]) -> Array:
    """Selects the parents of each beam, `[b, width, ...]`."""
    return jax.vmap(lambda a, index: a[index])(array, parent)
