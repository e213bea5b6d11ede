"""Sentences from any model that says words one by one: the likeliest word each time, or a beam of likely sentences.

A model is a function `step(state, words [n]) → (state, log_probs [n, words])`: its state, a pytree of arrays with a
leading axis `n`, and the word said last, to log-probabilities of the next one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from rowrnn.recurrence.sharding import vary_alike

State = PyTree[Array]
Step = Callable[[State, Int[Array, "n"]], tuple[State, Float[Array, "n words"]]]


class SpecialTokens(NamedTuple):
    """Words that stand for none: what fills the place after the end, what is said before the first word, and the end.

    Any of them may be one word, as in T5 (`begin` is `pad`) and GPT-2 (all are). In a sentence `pad` is not said,
    unless it is the end; that `begin` is not is for the model to learn.
    """

    pad: int
    begin: int
    end: int


class Sentences(NamedTuple):
    """What was said.

    Args:
        words: each sentence with its end, then `pad`, `[b, longest]`, of a beam `[b, width, longest]`.
        log_probs: log-probability of each sentence, its end included, in nats, `[b]` or `[b, width]`.
        lengths: number of its words, its end included.
    """

    words: Int[Array, "*b longest"]
    log_probs: Float[Array, "*b"]
    lengths: Int[Array, "*b"]


def greedy(step: Step, state: State, marks: SpecialTokens, longest: int) -> Sentences:
    """Says the likeliest word each time, until the end or `longest` words.

    Args:
        step: the model.
        state: before the first word, leading axis `b`.
        marks: as above; `pad` is not said, unless it is the end.
        longest: most words of a sentence, its end included; one that has not ended by then is left without.

    Raises:
        ValueError: if `longest` is below 1.
    """
    best = beam_search(step, state, marks, longest, width=1)
    return jax.tree.map(lambda a: a[:, 0], best)


def beam_search(
    step: Step, state: State, marks: SpecialTokens, longest: int, *, width: int, length_power: float = 0.0
) -> Sentences:
    """The likeliest sentences of a search that goes on with the best `width` beginnings each time, the best first.

    Sentences, ended or not, are ranked by `log_prob / length ** length_power` (Wu et al. 2016, equation 14, without its
    constants); an ended one keeps its rank, and its place while it is among the best. A width of 1 is greedy.

    Args:
        step, state, marks, longest: as of `greedy`.
        width: number of beginnings kept; where there are fewer sentences than that, the rest have a log-probability of
            -inf.
        length_power: 0 ranks by log-probability, 1 by its mean over words.

    Raises:
        ValueError: if `width` or `longest` is below 1.
    """
    if width < 1 or longest < 1:
        raise ValueError(f"A beam needs a width and a longest sentence of at least 1, not {width} and {longest}.")
    b = jax.tree.leaves(state)[0].shape[0]
    # All beginnings are the same at first: only one of them counts.
    first = jnp.broadcast_to(jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf)[None], (b, width))
    sentences = Sentences(jnp.full((b, width, longest), marks.pad), first, jnp.zeros((b, width), jnp.int32))
    said = jnp.full((b, width), marks.begin)
    ended = jnp.zeros((b, width), bool)

    def advance(carry: tuple[State, Array, Array, Sentences], turn: Array) -> tuple[Any, None]:
        state, said, ended, sentences = carry
        state, log_probs = step(state, said.reshape(b * width))
        words = log_probs.shape[-1]
        log_probs = log_probs.reshape(b, width, words)
        # After its end a sentence goes on with padding, which costs nothing; before, padding that is not the end is no
        # word.
        padding = (jnp.arange(words) == marks.pad)[None, None]
        before = log_probs if marks.pad == marks.end else jnp.where(padding, -jnp.inf, log_probs)
        log_probs = jnp.where(ended[..., None], jnp.where(padding, 0.0, -jnp.inf), before)
        log_probs = sentences.log_probs[..., None] + log_probs
        lengths = sentences.lengths[..., None] + jnp.where(ended, 0, 1)[..., None]
        rank = log_probs / lengths.astype(log_probs.dtype) ** length_power
        _, best = jax.lax.top_k(rank.reshape(b, width * words), width)
        parent, word = best // words, best % words
        state = jax.tree.map(lambda a: _chosen(a.reshape(b, width, *a.shape[1:]), parent).reshape(a.shape), state)
        log_probs = jnp.take_along_axis(log_probs.reshape(b, width * words), best, axis=1)
        so_far = _chosen(sentences.words, parent).at[:, :, turn].set(word)
        ended = _chosen(ended, parent) | (word == marks.end)
        return (state, word, ended, Sentences(so_far, log_probs, _chosen(lengths[..., 0], parent))), None

    start = vary_alike((repeated(state, width), said, ended, sentences))
    (*_, sentences), _ = jax.lax.scan(advance, start, jnp.arange(longest))
    return sentences


def repeated(tree: State, width: int) -> State:
    """Arrays `[b, ...]` with each entry `width` times in a row, `[b·width, ...]`: what a step of a beam sees."""
    return jax.tree.map(lambda a: jnp.repeat(a, width, axis=0), tree)


def _chosen(array: Array, parent: Int[Array, "b width"]) -> Array:
    """Of each batch entry those of its beam, `[b, width, ...]`, that are gone on with."""
    return jax.vmap(lambda a, index: a[index])(array, parent)
