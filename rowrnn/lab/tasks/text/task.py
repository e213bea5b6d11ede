"""Language modelling: loss, scores, and writing that goes on."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key

from rowrnn.models.language_model import LanguageModel
from rowrnn.sequence.transformer import Transformer

SEGMENT = 1024
"""Symbols that are read at once where the state goes on through a text."""
LOGITS = 2**26
"""Logits that are in memory at once where a text is scored, at most: 256 MiB."""


def loss(
    model: LanguageModel, batch: Int[Array, "b places"], key: Key[Array, ""], *, context: int
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the mean cross-entropy in nats of the symbols in random windows of pieces of text.

    Args:
        model: the language model.
        batch: pieces of `2 · context` symbols.
        key: source of the windows' places and of dropout.
        context: number of symbols that are predicted.
    """
    places_key, drop_key = jax.random.split(key)
    first = jax.random.randint(places_key, (len(batch),), 0, batch.shape[1] - context)
    window = jax.vmap(lambda piece, at: jax.lax.dynamic_slice(piece, (at,), (context + 1,)))(batch, first)
    logits, _ = model(window[:, :-1], key=drop_key)
    return optax.softmax_cross_entropy_with_integer_labels(logits, window[:, 1:]).mean(), {}


def nats(model: LanguageModel, batch: Int[Array, "b places"]) -> Float[Array, "b t"]:
    """Returns the cross-entropy in nats of each symbol but the first, given those before it."""
    logits = jax.eval_shape(model, batch[:1, :-1])[0]
    together = max(1, LOGITS // logits.size)
    if len(batch) <= together:
        return _nats(model, batch)
    return jax.lax.map(lambda piece: _nats(model, piece[None])[0], batch, batch_size=together)


def _nats(model: LanguageModel, batch: Int[Array, "b places"]) -> Float[Array, "b t"]:
    logits, _ = model(batch[:, :-1])
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[:, 1:])


def log_likelihood(model: LanguageModel, batch: Int[Array, "b places"]) -> Float[Array, "b"]:
    """Returns the mean log-likelihood in nats of the symbols in the second half of each piece."""
    of_each = nats(model, batch)
    return -of_each[:, of_each.shape[1] // 2 :].mean(axis=1)


@jax.jit
def _segment(model: LanguageModel, state: Any, segment: Int[Array, "1 places"]) -> tuple[Any, Array]:
    logits, state = model(segment[:, :-1], initial_state=state)
    return state, optax.softmax_cross_entropy_with_integer_labels(logits, segment[:, 1:])[0]


def nats_carried(model: LanguageModel, numbers: Int[np.ndarray, "n"]) -> float:
    """Returns the mean cross-entropy in nats of a text that is read from its beginning to its end.

    Args:
        model: a recurrent language model; its state goes on through the whole text.
        numbers: the symbols.
    """
    state, found = None, []
    for first in range(0, len(numbers) - 1, SEGMENT):
        state, of_each = _segment(model, state, jnp.asarray(numbers[None, first : first + SEGMENT + 1]))
        found.append(np.asarray(of_each))
    return float(np.concatenate(found).mean())


def written(
    model: LanguageModel,
    prompt: Int[np.ndarray, "n"],
    count: int,
    key: Key[Array, ""],
    *,
    temperature: float,
    context: int,
) -> tuple[Int[np.ndarray, "count"], Float[np.ndarray, "count"]]:
    """Goes on writing after a prompt; returns the symbols and the log-probability of each.

    A recurrent model goes on from its state. A Transformer sees as many symbols at most as in its training: it writes
    half of them, and begins anew with the half before. The symbol for what is unknown, 0, is not written.

    Args:
        model: the language model.
        prompt: symbols that are read first.
        count: number of symbols to write.
        key: random key.
        temperature: see `LanguageModel.generate`.
        context: number of symbols that the model read at once in training.
    """
    half, windowed = context // 2, isinstance(model.layer, Transformer)
    at_once = half if windowed else count
    parts, scores = [np.asarray(prompt)], []
    for number, first in enumerate(range(0, count, at_once)):
        seen = np.concatenate(parts)
        seen = seen[-half:] if windowed else seen
        turn = min(at_once, count - first)
        found, of_each = _generate(model, jnp.asarray(seen[None]), turn, jax.random.fold_in(key, number), temperature)
        parts.append(np.asarray(found)[0])
        scores.append(np.asarray(of_each)[0])
    return np.concatenate(parts[1:]), np.concatenate(scores)


@partial(jax.jit, static_argnums=(2, 4))
def _generate(model: LanguageModel, prompts: Any, count: int, key: Any, temperature: float) -> tuple[Array, Array]:
    return model.generate(prompts, count, key, temperature=temperature, never=(0,))
