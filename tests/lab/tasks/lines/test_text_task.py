"""Loss and score of lines in groups, against those of the lines one by one."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rowrnn import GRU
from rowrnn.decoding import ctc
from rowrnn.lab.tasks.lines.alphabet import Alphabet
from rowrnn.lab.tasks.lines.augmentation import LineAugmentation
from rowrnn.lab.tasks.lines.examples import Lines
from rowrnn.lab.tasks.lines.groups import grouped_lines
from rowrnn.lab.tasks.lines.measures import edit_distances, label_error_rate
from rowrnn.lab.tasks.lines.task import best_path, ctc_loss, strings
from rowrnn.lab.tasks.lines.text_task import character_accuracy, edit_distance, text_loss
from rowrnn.models.line_reader import LineReader

RNG = np.random.default_rng(0)
IMAGES = [RNG.integers(0, 256, (12, width)).astype(np.uint8) for width in (20, 60, 33, 48)]
TEXTS = ["a", "abba", "bab", "ab"]


@pytest.fixture(scope="module")
def groups():
    return grouped_lines(IMAGES, TEXTS, Alphabet("ab"), groups=2)


@pytest.fixture(scope="module")
def model():
    return LineReader(12, 2, 4, cell=GRU, channels=(2, 3, 4), shortcut=True, rngs=nnx.Rngs(0))


@pytest.mark.slow
@pytest.mark.usefixtures("standard_promotion")
def test_the_loss_is_the_mean_over_all_lines_with_a_part_of_the_shortcut(groups, model):
    with jax.numpy_rank_promotion("allow"):  # optax wants it
        key, none = jax.random.key(1), LineAugmentation()
        of_one, of_shortcut = (
            jax.jit(ctc_loss),
            jax.jit(partial(ctc_loss, lambda *given, **_: model.with_shortcut(*given)[1])),
        )
        late = [of_one(model, lines, key) for lines in groups]
        early = [of_shortcut(lines, key) for lines in groups]

        def loss(**options):
            return jax.jit(partial(text_loss, **options))(model, groups, key)[0]

        plain, both = loss(augmentation=none), loss(augmentation=none, shortcut=0.1)
        changed = loss(augmentation=LineAugmentation(fading=0.9))
    assert plain == pytest.approx(np.mean(late), rel=1e-4)
    assert both == pytest.approx(np.mean(late) + 0.1 * np.mean(early), rel=1e-4)
    assert abs(changed - plain) > 1e-4


def test_edits_are_those_of_rapidfuzz():
    truth, read = (RNG.integers(0, 3, (40, n)).astype(np.int32) for n in (6, 9))
    lengths = [RNG.integers(0, n + 1, 40).astype(np.int32) for n in (6, 9)]
    truths = Lines(None, None, truth, lengths[0])
    readings = ctc.Reading(jnp.asarray(read), jnp.asarray(lengths[1]), jnp.zeros(40))
    np.testing.assert_array_equal(edit_distance(readings, truths), edit_distances(strings(readings), strings(truths)))


def test_the_mean_accuracy_is_one_minus_the_character_error_rate(groups, model):
    truths = [text for lines in groups for text in strings(lines)]
    readings = [text for lines in groups for text in strings(jax.jit(best_path)(model, lines))]
    assert readings != truths
    characters = np.mean([len(text) for text in TEXTS]).item()
    accuracy = jax.jit(partial(character_accuracy, characters=characters))(model, groups)
    assert accuracy.shape == (2,)
    assert accuracy.mean() == pytest.approx(1 - label_error_rate(readings, truths), abs=1e-5)
