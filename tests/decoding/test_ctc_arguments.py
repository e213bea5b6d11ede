"""CTC decoding adds up in float32 at least, and refuses lengths that are no numbers of steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rowrnn.decoding import ctc

DECODERS = pytest.mark.parametrize("decode", [ctc.best_path, ctc.beam_search])


@DECODERS
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_scores_of_half_precision_are_read_as_the_same_numbers_in_float32(decode, dtype):
    scores = jax.random.normal(jax.random.key(0), (4, 60, 6)).at[..., 5].add(2.0)
    half = scores.astype(dtype)
    found, expected = decode(half), decode(half.astype(jnp.float32))
    assert found.log_probability.dtype == jnp.float32
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@DECODERS
def test_lengths_are_integers(decode):
    logits = jnp.ones((1, 4, 3))
    for lengths in (np.asarray([2.7]), jnp.asarray([2.0]), np.asarray([True])):
        with pytest.raises(TypeError, match=r"Lengths are numbers of steps, integers, not (float|bool)"):
            decode(logits, lengths)
    with pytest.raises(TypeError, match="not float32"):
        jax.jit(decode)(logits, jnp.asarray([2.0]))
    np.testing.assert_array_equal(decode(logits, np.asarray([2], np.uint8)).labels[:, :2], decode(logits[:, :2]).labels)


@DECODERS
def test_lengths_are_lists_in_a_compiled_function_too(decode):
    logits = jax.random.normal(jax.random.key(0), (2, 4, 3))
    for found, expected in zip(jax.jit(decode)(logits, [2, 4]), decode(logits, np.asarray([2, 4])), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
