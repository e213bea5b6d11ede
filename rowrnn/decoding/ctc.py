"""Decoding of connectionist temporal classification (Graves et al. 2006): scores of every step to strings of labels.

A path has one class or the blank at every step. Removing repetitions and then blanks gives its string; the probability
of a string is the sum over all its paths. The blank is the last class. For training use `optax.ctc_loss`.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from rowrnn.machine.sharding import place_examples, vary_alike
from rowrnn.recurrence.arguments import as_array, known_values
from rowrnn.typing import Integers

NOTHING = -1
"""Padding after a string's last label."""
NEVER = -1e30  # log-probability of impossible events: finite, since ∞ − ∞ is NaN


class Reading(NamedTuple):
    """Decoded strings of labels.

    Args:
        labels: `[b, t]`, padded with -1 after each string's last label.
        lengths: number of labels of each string, `[b]`.
        log_probability: in nats, `[b]`, at least float32: that of the path for `best_path`, of the string for
            `beam_search`.
    """

    labels: Int[Array, "b t"]
    lengths: Int[Array, "b"]
    log_probability: Float[Array, "b"]


def steps_needed(
    labels: Int[Array | np.ndarray, "b n"], lengths: Int[Array | np.ndarray, "b"]
) -> Int[Array | np.ndarray, "b"]:
    """Computes the smallest number of steps with which strings can be produced, `[b]`.

    This is one step for each label and one for the blank between two equal neighbours.

    Args:
        labels: strings, `[b, n]`.
        lengths: number of labels of each string, `[b]`.
    """
    within = np.arange(1, labels.shape[1])[None, :] < lengths[:, None]
    return lengths + ((labels[:, 1:] == labels[:, :-1]) & within).sum(axis=1)


def best_path(logits: ArrayLike, lengths: Integers | None = None) -> Reading:
    """Returns the string of the most probable path (best path decoding).

    Args:
        logits: `[b, t, classes + 1]`, the blank last.
        lengths: number of valid steps, `[b]`; default: all.

    Raises:
        ValueError: if a shape does not fit, or a length known outside `jax.jit` is outside [1, t].
        TypeError: if lengths are not integers.
    """
    log_probs, valid = _checked(logits, lengths)
    blank = log_probs.shape[-1] - 1
    path = jnp.where(valid, log_probs.argmax(axis=-1), blank)
    before = jnp.pad(path[:, :-1], ((0, 0), (1, 0)), constant_values=blank)
    said = (path != blank) & (path != before)
    order = jnp.argsort(~said, axis=1, stable=True)
    labels = jnp.take_along_axis(jnp.where(said, path, NOTHING), order, axis=1).astype(jnp.int32)
    best = jnp.where(valid, log_probs.max(axis=-1), jnp.zeros_like(log_probs[..., 0]))
    return Reading(labels, said.sum(axis=1, dtype=jnp.int32), best.sum(axis=1))


class LanguageModel(NamedTuple):
    """Log-probabilities of the next label as tables, by a state that each label changes: an n-gram model, for example.

    Args:
        first: state before the first label.
        following: state after a state and a label, `[states, classes]`.
        log_probs: log-probability of each label after a state, `[states, classes]`.
        ends: log-probability that the string ends after a state, `[states]`.
    """

    first: int | Int[Array, ""]
    following: Int[Array | np.ndarray, "states classes"]
    log_probs: Float[Array | np.ndarray, "states classes"]
    ends: Float[Array | np.ndarray, "states"]


class _Prior(NamedTuple):
    """What strings are worth before they are read: a language model, its weight, and a bonus for each label."""

    model: LanguageModel | None
    weight: Array
    bonus: Array

    def start(self, beam: int) -> Array:
        """Returns the state of each prefix of a new beam, `[k]`."""
        return jnp.broadcast_to(0 if self.model is None else self.model.first, (beam,)).astype(jnp.int32)

    def of_labels(self, states: Array, classes: int) -> Array:
        """Returns the value of each label after the states, `[k, classes]`."""
        if self.model is None:
            return jnp.broadcast_to(self.bonus, (len(states), classes))
        return self._weighted(self.model.log_probs[states]) + self.bonus

    def after(self, states: Array, labels: Array) -> Array:
        """Returns the states after a label each, `[k]`."""
        return states if self.model is None else self.model.following[states, labels]

    def of_ends(self, states: Array) -> Array:
        """Returns the value of an end after the states, `[k]`."""
        return jnp.zeros_like(self.weight) if self.model is None else self._weighted(self.model.ends[states])

    def _weighted(self, log_probs: Array) -> Array:
        """Returns log-probabilities times the weight; zero for a weight of zero, whose product with -∞ is NaN."""
        return jnp.where(self.weight == 0, jnp.zeros_like(log_probs), self.weight * log_probs)


class _Beam(NamedTuple):
    """Prefixes `[k, t]`, their lengths, log-probabilities of paths ending with the blank or a label, states and priors.

    All but the prefixes are `[k]`. States are those of the language model; a prior is what the prefix is worth by it.
    """

    labels: Array
    lengths: Array
    blank: Array
    label: Array
    state: Array
    prior: Array


def beam_search(
    logits: ArrayLike,
    lengths: Integers | None = None,
    *,
    beam: int = 10,
    language_model: LanguageModel | None = None,
    weight: ArrayLike = 1.0,
    bonus: ArrayLike = 0.0,
) -> Reading:
    """Returns the best string found by prefix beam search: the most probable one, or by a language model too.

    The algorithm is that of Graves 2012, §7.5, and Hannun et al. 2014, algorithm 1. The best string has the largest sum
    of its log-probability by the scores, `weight` times that by the language model, its end included, and `bonus` for
    each label. If the beam holds all prefixes, the search is exact. The log-probability that is returned is that by the
    scores, summed over those paths of the string whose prefixes stayed in the beam.

    Args:
        logits: `[b, t, classes + 1]`, the blank last.
        lengths: number of valid steps, `[b]`; default: all.
        beam: number of prefixes kept after each step.
        language_model: log-probabilities of strings; see `rowrnn.lab.tasks.lines.language_model` for one of texts.
        weight: factor of its log-probabilities, a scalar.
        bonus: addend for each label, a scalar: a language model prefers short strings.

    Raises:
        ValueError: if a shape does not fit, a length known outside `jax.jit` is outside [1, t], the beam is below 1, or
            the language model has another number of classes.
        TypeError: if lengths are not integers.
    """
    if beam < 1:
        raise ValueError(f"A beam search keeps at least 1 prefix, not {beam}.")
    log_probs, valid = _checked(logits, lengths)
    classes = log_probs.shape[2] - 1
    if language_model is not None and np.shape(language_model.log_probs)[1] != classes:
        raise ValueError(
            f"The scores have {classes} classes beside the blank, the language model has "
            f"{np.shape(language_model.log_probs)[1]}: estimate it with the alphabet of the reader."
        )
    dtype, model = log_probs.dtype, language_model
    if model is not None:
        first, following = jnp.asarray(model.first, jnp.int32), jnp.asarray(model.following, jnp.int32)
        model = LanguageModel(first, following, jnp.asarray(model.log_probs, dtype), jnp.asarray(model.ends, dtype))
    prior = _Prior(model, jnp.asarray(weight, dtype), jnp.asarray(bonus, dtype))
    return _search_lines(log_probs, valid, prior, beam=beam)


# Compiled, so that calls outside `jax.jit` are not traced each time.
@partial(jax.jit, static_argnames="beam", inline=True)
def _search_lines(
    log_probs: Float[Array, "b t scores"], valid: Bool[Array, "b t"], prior: _Prior, *, beam: int
) -> Reading:
    batch, steps, _ = log_probs.shape
    first = jnp.arange(beam) == 0
    start = _Beam(
        labels=jnp.full((beam, steps), NOTHING, jnp.int32),
        lengths=jnp.where(first, 0, -2).astype(jnp.int32),  # -2: no prefix extends an unused entry.
        blank=jnp.where(first, 0.0, NEVER).astype(log_probs.dtype),
        label=jnp.full((beam,), NEVER, log_probs.dtype),
        state=prior.start(beam),
        prior=jnp.zeros((beam,), log_probs.dtype),
    )
    starts = jax.tree.map(lambda a: jnp.broadcast_to(a[None], (batch, *a.shape)), start)
    return jax.vmap(_search, in_axes=(0, 0, 0, None))(place_examples(starts, log_probs), log_probs, valid, prior)


def _search(start: _Beam, log_probs: Float[Array, "t scores"], valid: Bool[Array, "t"], prior: _Prior) -> Reading:
    """Searches one sequence with a loop over steps; the beam has a fixed shape."""
    start, log_probs, valid, prior = vary_alike((start, log_probs, valid, prior))

    def step(now: _Beam, inputs: tuple[Array, Array]) -> tuple[_Beam, None]:
        of_step, is_valid = inputs
        then = _stepped(now, of_step, prior)
        return jax.tree.map(lambda a, b: jnp.where(is_valid, a, b), then, now), None

    last, _ = jax.lax.scan(step, start, (log_probs, valid))
    total = jnp.logaddexp(last.blank, last.label)
    best = (total + last.prior + prior.of_ends(last.state)).argmax()
    return Reading(last.labels[best], last.lengths[best], total[best])


def _stepped(now: _Beam, log_probs: Float[Array, "scores"], prior: _Prior) -> _Beam:
    beam, classes = len(now.lengths), len(log_probs) - 1
    of_class, of_blank = log_probs[:classes], log_probs[classes]
    total = jnp.logaddexp(now.blank, now.label)
    last = jnp.take_along_axis(now.labels, jnp.maximum(now.lengths - 1, 0)[:, None], axis=1)[:, 0]
    is_last = jnp.arange(classes)[None, :] == last[:, None]  # The empty prefix ends with -1, which is no class.

    # A label equal to the last one extends a prefix only after a blank.
    longer = of_class[None, :] + jnp.where(is_last, now.blank[:, None], total[:, None])
    stays_blank = total + of_blank
    stays_label = now.label + jnp.where(last < 0, NEVER, of_class[jnp.maximum(last, 0)])

    # If an extended prefix is already in the beam, its paths are added to that entry.
    place = jnp.arange(now.labels.shape[1])
    but_last = jnp.where(place[None, :] == now.lengths[:, None] - 1, NOTHING, now.labels)
    grown = (now.lengths[:, None] == now.lengths[None, :] + 1) & (
        (but_last[:, None, :] == now.labels[None, :, :]).all(axis=-1)
    )  # [k, k]: the first prefix is the second plus one label
    joins = grown[:, :, None] & is_last[:, None, :]  # [k, k, classes]
    arriving = jnp.where(joins, longer[None, :, :], NEVER).max(axis=(1, 2))  # At most one extension equals an entry.
    stays_label = jnp.logaddexp(stays_label, arriving)
    longer = jnp.where(joins.any(axis=0), NEVER, longer)

    of_longer = now.prior[:, None] + prior.of_labels(now.state, classes)
    stays = jnp.logaddexp(stays_blank, stays_label) + now.prior
    candidates = jnp.concatenate([stays, (longer + of_longer).reshape(-1)])
    _, chosen = jax.lax.top_k(candidates, beam)
    is_longer = chosen >= beam
    source = jnp.where(is_longer, (chosen - beam) // classes, chosen)
    added = (chosen - beam) % classes
    labels, lengths, state = now.labels[source], now.lengths[source], now.state[source]
    extension = jnp.maximum(chosen - beam, 0)
    here = is_longer[:, None] & (place[None, :] == lengths[:, None])
    return _Beam(
        labels=jnp.where(here, added[:, None], labels),
        lengths=lengths + is_longer.astype(jnp.int32),
        blank=jnp.where(is_longer, NEVER, stays_blank[source]),
        label=jnp.where(is_longer, longer.reshape(-1)[extension], stays_label[source]),
        state=jnp.where(is_longer, prior.after(state, added), state),
        prior=jnp.where(is_longer, of_longer.reshape(-1)[extension], now.prior[source]),
    )


def _checked(logits: ArrayLike, lengths: Integers | None) -> tuple[Float[Array, "b t scores"], Bool[Array, "b t"]]:
    """Returns log-probabilities and the mask of valid steps."""
    logits = jnp.asarray(logits)
    if logits.ndim != 3 or logits.shape[1] < 1 or logits.shape[2] < 2:
        raise ValueError(
            "Scores to read from have the shape [b, t, classes + 1] with at least one step and one class beside the "
            f"blank, not {list(logits.shape)}."
        )
    batch, steps, _ = logits.shape
    lengths = None if lengths is None else as_array(lengths)
    known = None if lengths is None else known_values(lengths)
    if lengths is not None and lengths.shape != (batch,):
        raise ValueError(f"Expected one length for each of {batch} lines, not {list(lengths.shape)}.")
    if lengths is not None and not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"Lengths are numbers of steps, integers, not {lengths.dtype}.")
    if known is not None and not ((known >= 1) & (known <= steps)).all():
        raise ValueError(
            f"Lines of {steps} steps have lengths from 1 to {steps}; these run from {known.min()} to {known.max()}. "
            "Leave out empty lines."
        )
    within = jnp.full((batch,), steps, jnp.int32) if lengths is None else jnp.asarray(lengths).astype(jnp.int32)
    # Sums over many steps need float32 at least: in bfloat16 the search returns other strings.
    if jnp.issubdtype(logits.dtype, jnp.floating) and jnp.finfo(logits.dtype).bits < 32:
        logits = logits.astype(jnp.float32)
    log_probs = jax.nn.log_softmax(logits, axis=-1)
    return log_probs, place_examples(jnp.arange(steps)[None, :] < within[:, None], logits)
