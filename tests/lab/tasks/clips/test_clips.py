"""Clips: padding, statistics and random changes against NumPy; loss against its formula; the words of the pictures."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from matplotlib import pyplot as plt

from rowrnn import program
from rowrnn.cells import GRU
from rowrnn.errors import InputError
from rowrnn.lab.data import as_float
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.clips import pictures, task
from rowrnn.lab.tasks.clips.augmentation import ClipAugmentation
from rowrnn.lab.tasks.clips.examples import Clips, KeptClips, channel_statistics, evenly_spaced, padded
from rowrnn.lab.training import Source
from rowrnn.models import FrameAverage, FrameCNN, VideoClassifier
from rowrnn.sequence.stack import stack
from tests.helpers.cases import thinned

LENGTHS = (3, 5, 1, 4)


def clips(lengths=LENGTHS, size=(8, 6, 3), seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (length, *size), np.uint8) for length in lengths]


def test_clips_of_different_lengths_become_one_array():
    given = clips()
    made = padded(given, [2, 0, 1, 1])
    assert made.frames.shape == (4, 5, 8, 6, 3)
    assert made.frames.dtype == np.uint8
    for frames, length, clip in zip(made.frames, made.lengths, given, strict=True):
        np.testing.assert_array_equal(frames[:length], clip)
        assert (frames[length:] == 0).all()
    assert made.lengths.tolist() == list(LENGTHS)
    assert made.labels.tolist() == [2, 0, 1, 1]
    # Of a clip that is too long, the middles of equal parts.
    cut = padded(given, [2, 0, 1, 1], frames=2)
    np.testing.assert_array_equal(cut.frames[1], given[1][[1, 3]])
    assert cut.lengths.tolist() == [2, 2, 1, 2]
    assert evenly_spaced(9, 3).tolist() == [1, 4, 7]
    assert evenly_spaced(2, 3).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: padded([], []), "at least one clip, and a label for each, not 0 and 0"),
        (lambda: padded(clips(), [1]), "not 4 and 1"),
        (lambda: padded(clips((3, 0)), [1, 1]), "Clip 2 of 2 has no frames"),
        (lambda: padded([*clips((2,)), *clips((2,), (8, 7, 3))], [1, 1]), r"frames of \[8, 7, 3\], .* \[8, 6, 3\]"),
        (lambda: padded(clips(), [0] * 4, frames=0), "at least 1 frame, not 0"),
        (lambda: ClipAugmentation(shift=-1), "random shift of a clip is finite and at least 0"),
        (lambda: ClipAugmentation(drop_frames=1.0), r"drop frames of a clip is in \[0, 1\), not 1.0"),
        (lambda: ClipAugmentation(contrast=1.0), r"contrast of a clip is in \[0, 1\)"),
        (lambda: ClipAugmentation(stretch=float("nan")), "random stretch"),
    ],
)
def test_what_cannot_be_meant_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


def test_statistics_are_those_of_the_pixels_without_padding():
    given = clips()
    given = [np.concatenate([clip[..., :2], np.full_like(clip[..., :1], 7)], axis=-1) for clip in given]
    mean, std = channel_statistics(iter(given))
    pixels = np.concatenate([clip.reshape(-1, 3) for clip in given]) / 255
    np.testing.assert_allclose(mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, [*pixels[:, :2].std(axis=0), 1.0], rtol=1e-9)


def test_clips_on_disk_are_those_in_memory():
    given, labels = clips(), [2, 0, 1, 1]
    kept, whole = KeptClips(given, labels, 3), padded(given, labels, frames=3)
    assert isinstance(kept, Source)
    assert len(kept) == 4
    for shape, array in zip(kept.shapes(), whole, strict=True):
        assert (shape.shape, shape.dtype) == (array.shape, array.dtype)
    for found, expected in zip(kept.read([3, 1]), whole, strict=True):
        np.testing.assert_array_equal(found, expected[[3, 1]])


# Random changes: of many copies of a clip, whose padding is not a number.

MANY, STEPS = 400, 7
CLIP = np.random.default_rng(1).uniform(size=(5, 4, 3, 1)).astype(np.float32)


def changed(augmentation, seed=0):
    frames = np.full((MANY, STEPS, 4, 3, 1), np.nan, np.float32)
    frames[:, :5] = CLIP
    apply = jax.jit(lambda frames, key: augmentation(frames, jnp.full(MANY, 5, jnp.int32), key))
    frames, lengths = map(np.asarray, apply(frames, jax.random.key(seed)))
    for clip, length in zip(frames, lengths, strict=True):
        assert (clip[length:] == 0).all()
        assert np.isfinite(clip).all()
    return [clip[:length] for clip, length in zip(frames, lengths, strict=True)]


def test_without_sizes_nothing_changes_but_the_padding():
    for clip in changed(ClipAugmentation()):
        np.testing.assert_array_equal(clip, CLIP)


def test_clips_are_shifted_as_a_whole_and_their_edges_repeated():
    found = set()
    for clip in changed(ClipAugmentation(shift=1)):
        wide = np.pad(CLIP, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
        places = [(y, x) for y in range(3) for x in range(3) if np.array_equal(clip, wide[:, y : y + 4, x : x + 3])]
        assert len(places) == 1
        found.update(places)
    assert len(found) == 9


def test_half_of_the_clips_are_mirrored():
    mirrored = [np.array_equal(clip, CLIP[:, :, ::-1]) for clip in changed(ClipAugmentation(mirror=True))]
    plain = [np.array_equal(clip, CLIP) for clip in changed(ClipAugmentation(mirror=True))]
    assert all(a != b for a, b in zip(mirrored, plain, strict=True))
    assert 0.4 < np.mean(mirrored) < 0.6  # four standard deviations


def test_light_changes_by_one_line_for_a_whole_clip():
    lines = []
    for clip in changed(ClipAugmentation(brightness=0.3, contrast=0.5)):
        slope, offset = np.polyfit(CLIP.ravel(), clip.ravel(), 1)
        np.testing.assert_allclose(clip, slope * CLIP + offset, atol=1e-5)
        lines.append((slope, offset))
    least, most = np.min(lines, axis=0), np.max(lines, axis=0)
    assert (least >= [0.5 - 1e-4, -0.3 - 1e-4]).all()
    assert (most <= [1.5 + 1e-4, 0.3 + 1e-4]).all()
    assert (most - least > [0.9, 0.54]).all()


def places_in_clip(clip):
    """The frames of the clip that these are."""
    return [int(np.flatnonzero((frame == CLIP).all(axis=(1, 2, 3)))[0]) for frame in clip]


def test_frames_are_left_out_in_order_and_one_stays():
    found = [places_in_clip(clip) for clip in changed(ClipAugmentation(drop_frames=0.25))]
    assert all(places == sorted(set(places)) for places in found)
    assert abs(np.mean([len(places) for places in found]) / 5 - 0.75) < 0.04  # four standard deviations
    assert {place for places in found for place in places} == set(range(5))
    found = [places_in_clip(clip) for clip in changed(ClipAugmentation(drop_frames=0.999))]
    assert all(len(places) >= 1 for places in found)
    assert {places[0] for places in found} == set(range(5))


def test_clips_become_longer_and_shorter_evenly():
    found = [places_in_clip(clip) for clip in changed(ClipAugmentation(stretch=1.0))]
    for places in found:
        new = len(places)
        assert places == [int((step + 0.5) * 5 / new) for step in range(new)]
    # From 2.5 frames to 10, as far as the array has room.
    assert {len(places) for places in found} == {3, 4, 5, 6, 7}


# Loss and score.


def model_of(kind, classes=4):
    rngs = nnx.Rngs(0)
    cnn = FrameCNN((8, 6, 3), 4, 5, rngs=rngs)
    if kind == "average":
        return FrameAverage(cnn, 6, classes, rngs=rngs)
    return VideoClassifier(cnn, GRU(5, 6, rngs=rngs), classes, rngs=rngs)


@pytest.mark.parametrize("smoothing", thinned([0.1, 0.0], 2))
@pytest.mark.parametrize("kind", ["average", "cell"])
def test_the_loss_is_the_cross_entropy_with_smoothed_targets(kind, smoothing):
    model, batch = model_of(kind), padded(clips(), [2, 0, 1, 1])
    targets = (1 - smoothing) * np.eye(4)[batch.labels] + smoothing / 4

    def entropy(logits, targets):
        logits = np.asarray(logits, np.float64)
        return -(targets * (logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True)))).sum(axis=-1)

    found, _ = jax.jit(partial(task.loss, smoothing=smoothing))(model, batch, jax.random.key(0))
    # Each clip by itself, without padding.
    alone = jax.jit(lambda clip: model.logits_by_frame(clip)[0])
    ends = [alone(clip[None].astype(np.float32) / 255)[-1] for clip in clips()]
    expected = [entropy(logits, target) for logits, target in zip(ends, targets, strict=True)]
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-5)


def test_padding_has_no_influence_on_loss_and_gradient():
    model, batch = model_of("cell"), padded(clips(), [2, 0, 1, 1])
    augmentation = ClipAugmentation(1, True, 0.1, 0.1, 0.1, 0.2)
    valid = np.arange(5)[None, :] < batch.lengths[:, None]
    noisy = batch._replace(frames=np.where(valid[..., None, None, None], batch.frames, 255).astype(np.uint8))
    of = jax.jit(jax.value_and_grad(lambda model, batch: task.loss(model, batch, key, augmentation=augmentation)[0]))
    key = jax.random.key(0)
    chex.assert_trees_all_equal(of(model, batch), of(model, noisy))


def test_answers_are_those_after_the_last_frame_of_normalized_clips():
    model, batch = model_of("cell"), padded(clips(), [2, 0, 1, 1])

    def to_floats(frames):
        return (frames.astype(jnp.float32) / 255 - 0.4) / 0.2

    alone = jax.jit(lambda clip: model(clip))
    found = jax.jit(partial(task.answer, to_floats=to_floats))(model, batch)
    for clip, logits in zip(clips(), found, strict=True):
        np.testing.assert_allclose(logits, alone(to_floats(clip[None]))[0], atol=1e-5)
    right = jax.jit(partial(task.correct, to_floats=to_floats))(model, batch)
    np.testing.assert_array_equal(right, np.asarray(found).argmax(axis=-1) == batch.labels)


@pytest.mark.parametrize("kind", thinned(["both ways", "average"], 2))
def test_an_answer_after_a_frame_knows_no_later_one(kind):
    rngs = nnx.Rngs(0)
    cnn = FrameCNN((8, 6, 3), 4, 5, context=3, rngs=rngs)
    both = stack(GRU, 5, 6, bidirectional=True, rngs=rngs)
    model = (
        FrameAverage(cnn, 6, 4, rngs=rngs)
        if kind == "average"
        else VideoClassifier(cnn, both, 4, pooling="mean", rngs=rngs)
    )
    given = clips((3, 2))
    batch = padded(given, [2, 0])
    found = jax.jit(task.after_each_frame)(model, as_float(batch.frames), batch.lengths)
    alone = jax.jit(lambda clip: model(clip)[0])
    for clip, of_clip in zip(given, found, strict=True):
        for end in (1, 2, 3):  # beyond the end of a clip it is the whole
            np.testing.assert_allclose(of_clip[end - 1], alone(as_float(clip[None, :end])), atol=1e-5)


@pytest.mark.slow
def test_a_program_answers_bytes_in_batches_of_any_size(tmp_path):
    rngs = nnx.Rngs(0)
    cnn = FrameCNN((8, 6, 3), 4, 5, context=3, rngs=rngs)
    model = VideoClassifier(cnn, stack(GRU, 5, 6, layers=2, rngs=rngs), 4, rngs=rngs)
    batch = padded(clips(), [2, 0, 1, 1])

    def of_bytes(frames, lengths):
        return model(as_float(frames), lengths=lengths)

    program.export(of_bytes, tmp_path / "whole.jax", batch.frames[:1], batch.lengths[:1])
    expected = jax.jit(task.answer)(model, batch)
    found = program.load(tmp_path / "whole.jax")(batch.frames, batch.lengths)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # And frame by frame, here of the two clips that have four frames or more.
    frames = batch.frames[[1, 3], :4].astype(np.float32) / 255
    state = jax.jit(VideoClassifier.initial_state)(model, frames[:, 0])
    program.export(model.step, tmp_path / "step.jax", state, frames[:, 0])
    step: Any = program.load(tmp_path / "step.jax")
    answers = []
    for frame in np.moveaxis(frames, 1, 0):
        state, logits = step(state, frame)
        answers.append(logits)
    np.testing.assert_allclose(answers[-1], jax.jit(model)(frames), atol=1e-5)


# Pictures.


def test_a_film_says_whether_the_answer_is_right():
    probability = np.array([[0.5, 0.4, 0.1], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])
    titles = {1: "two ✓ (80%)", 0: "one → two (80%)", None: "two (80%)"}
    for label, title in titles.items():
        figure = pictures.film(clips((3,))[0], probability, ("one", "two", "three"), label)
        strip, curve = figure.axes
        assert strip.get_title() == title
        drawn = {line.get_label(): np.asarray(line.get_ydata()) for line in curve.get_lines()}
        np.testing.assert_array_equal(drawn["two (true)" if label == 1 else "two"], probability[:, 1])
        plt.close(figure)


def test_all_films_of_a_run_are_drawn_by_model():
    batch = padded(clips(size=(8, 6, 1)), [2, 0, 1, 1])
    arrays = {f"film/{name}": array for name, array in zip(Clips._fields, batch, strict=True)}
    arrays["GRU/probability"] = np.full((4, 5, 3), 1 / 3)
    record = Record("clips", data={"class_names": ["a", "b", "c"]}, summary=[{"model": "GRU"}, {"model": "other"}])
    drawn = pictures.pictures(record, arrays)
    assert list(drawn) == ["film_gru"]
    titles = [axes.get_title() for part in drawn["film_gru"].subfigs for axes in part.axes[:1]]
    assert titles == ["c → a (33%)", "a ✓ (33%)", "b → a (33%)", "b → a (33%)"]
    plt.close(drawn["film_gru"])
