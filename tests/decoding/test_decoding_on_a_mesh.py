"""Decoding of examples that lie on two devices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from rowrnn.decoding import ctc
from rowrnn.decoding.sentences import SpecialTokens, beam_search, greedy
from tests.helpers import oracle
from tests.helpers.meshes import make_mesh

pytestmark = pytest.mark.slow

BATCH = 4
LENGTHS = np.asarray([6, 1, 3, 5])


def on_mesh(decode, x, rest):
    with jax.set_mesh(make_mesh()):
        return jax.jit(decode)(jax.device_put(x, P("d")), jax.device_put(rest, P()))


def in_shard_map(decode, x, rest):
    mapped = jax.shard_map(decode, mesh=make_mesh("Auto"), in_specs=(P("d"), P("d")), out_specs=P("d"))
    return jax.jit(mapped)(x, rest)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("where", [on_mesh, in_shard_map])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["full", "ragged"])
@pytest.mark.parametrize("decode", [ctc.beam_search, ctc.best_path])
def test_strings_on_a_mesh_are_those_on_one_device(decode, lengths, where):
    scores = jnp.asarray(oracle.draw(np.random.default_rng(2), BATCH, 6, 4), jnp.float32)
    assert_same(where(decode, scores, lengths), decode(scores, lengths))


# Words 0 pad, 1 begin, 2 end; the model says 3 or 4 by its state, then the end.
AFTER = jnp.log(jnp.asarray([[0.1, 0.1, 0.1, 0.5, 0.2], [0.1, 0.1, 0.6, 0.1, 0.1]]))


def by_state(state, word):
    first = (word == 1).astype(jnp.float32)[:, None]
    after = jax.nn.one_hot((word > 2).astype(jnp.int32), 2) @ AFTER
    return state, after + 2 * first * state["chooses"] * jax.nn.one_hot(4, 5)[None]


def regardless(state, word):
    return state, jnp.broadcast_to(AFTER[0][None], (len(word), 5))


@pytest.mark.parametrize("where", [on_mesh, in_shard_map])
@pytest.mark.parametrize("step", [by_state, regardless])
@pytest.mark.parametrize("width", [1, 2])
def test_sentences_on_a_mesh_are_those_on_one_device(step, width, where):
    def decode(chooses, rest):
        state, tokens = {"chooses": chooses, "rest": rest}, SpecialTokens(0, 1, 2)
        return greedy(step, state, tokens, 3) if width == 1 else beam_search(step, state, tokens, 3, width=width)

    states, rest = jnp.asarray([[0.0], [1.0], [1.0], [0.0]]), jnp.arange(BATCH)
    expected = decode(states, rest)
    if step is by_state:
        assert expected.words.reshape(BATCH, width, 3)[:, 0, 0].tolist() == [3, 4, 4, 3]
    assert_same(where(decode, states, rest), expected)
