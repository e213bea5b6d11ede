"""The backend "chunkwise": mLSTM cells, many steps at once.

The gates of an mLSTM see the input alone (Beck et al. 2024, section 2.3), so that what a step finds is a sum over the
steps before it, as in attention. With F_t the sum of log f over the steps of a chunk up to t, and C, n, m the state
before the chunk,

    D_ts = F_t − F_s + i_s  for s ≤ t        m_t = max(F_t + m, max_s D_ts)        S_ts = (q_t · k_s) exp(D_ts − m_t)
    found_t  = Σ_s S_ts v_s + exp(F_t + m − m_t) Cᵀ q_t
    weight_t = Σ_s S_ts     + exp(F_t + m − m_t) n · q_t

and the output is o ⊙ found / max(|weight|, exp(−m_t)): products of matrices within a chunk, and a loop over chunks.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from rowrnn.cells import MLSTM, Cell
from rowrnn.cells.exponential import MLSTMState, inverse
from rowrnn.machine.sharding import place_examples
from rowrnn.recurrence.backend import Backend, Result, ScanCall, no_rounding_reason
from rowrnn.recurrence.masking import expand_to, zero_where_invalid

CHUNK = 64
"""Steps of a chunk."""

HeadState = tuple[Float[Array, "k v"], Float[Array, "k"], Float[Array, ""]]
"""Memory, normalizer and stabilizer of one head of one example."""


def run(cell: Cell, call: ScanCall) -> Result:
    """Computes a call in chunks of `CHUNK` steps."""
    assert isinstance(cell, MLSTM)
    batch, steps = call.x.shape[:2]
    chunk = min(CHUNK, steps)
    count = -(-steps // chunk)
    none = place_examples(jnp.zeros((batch, steps), bool), call.x)
    valid = ~none if call.valid is None else call.valid
    resets = none if call.resets is None else call.resets
    query, key, value, output, i, f = cell.parts(cell.project(zero_where_invalid(call.x, call.valid)))
    # An invalid step writes nothing and forgets nothing.
    i = jnp.where(expand_to(valid, i), i, -jnp.inf)
    log_forget = zero_where_invalid(nnx.log_sigmoid(f), valid)
    resets = jnp.broadcast_to(expand_to(resets, i), i.shape)

    def chunks(a: Array, fill: Any = 0) -> Array:
        """Orders and pads the steps, and puts the chunks first: `[b, t, ...] → [chunks, b, chunk, ...]`."""
        a = a[:, ::-1] if call.reverse else a
        padding = ((0, 0), (0, -steps % chunk), *[(0, 0)] * (a.ndim - 2))
        return jnp.moveaxis(jnp.pad(a, padding, constant_values=fill).reshape(batch, count, chunk, *a.shape[2:]), 1, 0)

    of_heads = jax.vmap(_chunk, in_axes=(0, 1), out_axes=(0, 1))
    of_batch = jax.vmap(of_heads)
    inputs = (chunks(query), chunks(key), chunks(value), chunks(i, -jnp.inf), chunks(log_forget), chunks(resets))
    last, found = jax.lax.scan(of_batch, cell.by_head(call.state), inputs)
    found = jnp.moveaxis(found, 0, 1).reshape(batch, count * chunk, *found.shape[3:])[:, :steps]
    found = output * (found[:, ::-1] if call.reverse else found)
    memory, normalizer, stabilizer = last
    state = MLSTMState(memory.reshape(call.state.memory.shape), normalizer.reshape(batch, cell.hidden), stabilizer)
    return state, zero_where_invalid(found.reshape(batch, steps, cell.hidden), call.valid), None


def _chunk(
    state: HeadState,
    inputs: tuple[
        Float[Array, "t k"],
        Float[Array, "t k"],
        Float[Array, "t v"],
        Float[Array, "t"],
        Float[Array, "t"],
        Bool[Array, "t"],
    ],
) -> tuple[HeadState, Float[Array, "t v"]]:
    """Computes the steps of a chunk of one head.

    Args:
        state: before the chunk.
        inputs: query, key, value, exponent of the input gate, logarithm of the forget gate, and whether the state is
            zero before the step.
    """
    memory, normalizer, stabilizer = state
    query, key, value, i, log_forget, resets = inputs
    # NaN is taken out and put in again where it belongs: products would carry it to earlier steps and through resets.
    broken = jnp.isnan(key.sum(1) + value.sum(1) + i + log_forget)
    key, value, i, log_forget = (zero_where_invalid(a, ~broken) for a in (key, value, i, log_forget))
    # exp(-1000) is zero, and what is added to a larger number is rounded to the size of that.
    log_forget = jnp.maximum(log_forget, -1e3)
    total = jnp.cumsum(log_forget)
    episode = jnp.cumsum(resets)
    # Of steps since a reset the sum begins there. Sums only fall, so that the last reset has the least.
    start = jax.lax.cummin(jnp.where(resets, total - log_forget, jnp.zeros_like(total)))
    kept = total - start + jnp.where(episode == 0, stabilizer, jnp.zeros_like(total))
    steps = jnp.arange(len(i))
    seen = (steps[:, None] >= steps[None]) & (episode[:, None] == episode[None])
    exponents = jnp.where(seen, total[:, None] - total[None] + i[None], -jnp.inf)
    after = jnp.maximum(kept, exponents.max(1))
    written = jnp.exp(exponents - after[:, None])
    carries, carried = episode == 0, jnp.exp(kept - after)
    scores = (query @ key.T) * written
    found = scores @ value + zero_where_invalid(carried[:, None] * (query @ memory), carries)
    weight = scores.sum(1) + zero_where_invalid(carried * (query @ normalizer), carries)
    found = found / jnp.maximum(jnp.abs(weight), inverse(after))[:, None]
    keys = written[-1][:, None] * key
    memory = keys.T @ value + zero_where_invalid(carried[-1] * memory, carries[-1])
    normalizer = keys.sum(0) + zero_where_invalid(carried[-1] * normalizer, carries[-1])
    reached = (seen & broken[None]).any(1)
    last = jax.tree.map(lambda a: jnp.where(reached[-1], jnp.nan, a), (memory, normalizer, after[-1]))
    return last, jnp.where(reached[:, None], jnp.nan, found)


def _unfit(cell: Cell, call: ScanCall) -> str:
    if not isinstance(cell, MLSTM) or type(cell).step is not MLSTM.step:
        return f"{type(cell).__name__} is no mLSTM"
    if call.return_states:
        return "it has no states between the chunks"
    return no_rounding_reason(call)


CHUNKWISE = Backend("chunkwise", unfit=_unfit, run=run, knows_gaps=lambda cell: True)
