"""Calls of what videos, captions and lines of handwriting are made, seen and measured with; options of all scripts."""

from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from experiments import captions, directions, lines, memory, mnist_rows, pixels
from experiments import gestures as gestures_script
from experiments import moving_digits as moving_script
from rowrnn import CELLS
from rowrnn.cells import ConvGRU
from rowrnn.decoding import ctc
from rowrnn.decoding.sentences import SpecialTokens
from rowrnn.lab.data import Split
from rowrnn.lab.experiment.options import check_options, values_by_name, with_values
from rowrnn.lab.tasks.captions.examples import fixed_scenes, scenes
from rowrnn.lab.tasks.captions.language import WORDS, encode
from rowrnn.lab.tasks.captions.measures import bleu4, slots
from rowrnn.lab.tasks.frames.measures import squared_error, ssim
from rowrnn.lab.tasks.frames.moving_digits import moving_digits
from rowrnn.lab.tasks.gestures.examples import gestures
from rowrnn.lab.tasks.lines.examples import write
from rowrnn.lab.tasks.lines.measures import label_error_rate
from rowrnn.models import Captioner, FrameAverage, FrameCNN, VideoClassifier
from rowrnn.models.forecaster import Forecaster
from rowrnn.models.line_reader import LineReader
from tests.slow.calls import (
    arrays,
    calls,
    counts,
    floats,
    integers,
    mistakes,
    positive,
    rates,
    rngs,
    traced,
    words,
)

DIGITS, LABELS = (5, 4, 4, 1), (5,)
pixels_of = mistakes.map(lambda mistake: np.int32 if mistake else np.uint8)
mostly = mistakes.flatmap(lambda mistake: counts if mistake else st.integers(1, 4))
key = jax.random.key(0)


@calls(arrays(DIGITS, pixels_of), counts)
def make_gestures(images, frames):
    traced(lambda: gestures(key, images, frames))


@calls(arrays(DIGITS, pixels_of), arrays(LABELS, integers), mostly, st.tuples(mostly, mostly), st.none() | mostly)
def make_lines(images, labels, number, digits, room):
    traced(lambda: write(key, images, labels, lines=number, digits=digits, room=room))


@calls(arrays(DIGITS, pixels_of), mostly, mostly, st.sampled_from([4, 5, 6, 3, -1]))
def make_moving_digits(images, digits, frames, size):
    traced(lambda: moving_digits(key, images, digits=digits, frames=frames, size=size))


@calls(arrays((5, 14, 14, 1), pixels_of), arrays(LABELS, integers))
def make_scenes(images, labels):
    traced(lambda: scenes(key, images, labels))


@calls(arrays((5, 14, 14, 1), pixels_of), arrays(LABELS, integers), st.integers(-2, 2), weight=0.1)
def make_fixed_scenes(images, labels, count):
    fixed_scenes(key, Split(images, labels), count)


text = st.lists(st.sampled_from([*WORDS, "seven", "a"]) | st.text(max_size=3), max_size=25).map(" ".join)
texts = st.lists(text, max_size=4)
as_many = st.lists(st.tuples(text, text), min_size=1, max_size=4).map(lambda pairs: list(zip(*pairs, strict=True)))


@calls(texts)
def encode_captions(of):
    encode(of)


@calls(as_many | st.tuples(texts, texts), weight=0.5)
def measure_captions(both):
    said, truth = both
    bleu4(said, truth)
    slots(said, truth)


strings = st.lists(st.lists(st.integers(-1, 9), max_size=4), max_size=3)


@calls(strings, strings)
def measure_strings(readings, truths):
    label_error_rate(readings, truths)


@calls(arrays((1, 2, 8, 8, 1), floats), arrays((1, 2, 8, 8, 1), floats), weight=0.5)
def measure_videos(predicted, true):
    squared_error(predicted, true)
    ssim(predicted, true)


CNN = FrameCNN((4, 4, 1), 2, 3, rngs=rngs())
VIDEOS = VideoClassifier(CNN, CELLS["gru"](3, 2, rngs=rngs()), 2, rngs=rngs())
AVERAGE = FrameAverage(CNN, 2, 2, rngs=rngs())


@calls(st.sampled_from([VIDEOS, AVERAGE]), arrays((2, 3, 4, 4, 1), floats))
def classify_videos(model, videos):
    traced(lambda: model(videos))
    traced(lambda: model.logits_by_frame(videos))


@calls(arrays((2, 4, 4, 1), floats))
def classify_frames(frame):
    traced(lambda: VIDEOS.step(VIDEOS.initial_state(frame), frame))


@calls(st.tuples(mostly, mostly, mostly), mostly, counts)
def make_frame_cnn(shape, channels, features):
    traced(lambda: FrameCNN(shape, channels, features, rngs=rngs()))


def captioner(**sizes):
    given: dict[str, Any] = {"shape": (8, 8, 1), "words": 6, "longest": 4, "channels": 4, "embedding": 2, **sizes}
    return Captioner(CELLS["gru"], 2, tokens=SpecialTokens(0, 1, 2), **given, rngs=rngs())


CAPTIONER = captioner()


@calls(st.fixed_dictionaries({}, optional=dict.fromkeys(("words", "longest", "channels", "embedding"), counts)), rates)
def make_captioner(sizes, rate):
    traced(lambda: captioner(**sizes, dropout=rate))


@calls(arrays((2, 8, 8, 1), floats), arrays((2, 4), integers))
def read_captions(images, of):
    traced(lambda: CAPTIONER.logits(images, of))


@calls(arrays((2, 8, 8, 1), floats), counts, rates)
def search_captions(images, width, power):
    traced(lambda: CAPTIONER.beam(images, width, length_power=power))


@calls(mostly, mostly, mostly, st.lists(mostly, min_size=3, max_size=5) | st.lists(counts, max_size=6), rates)
def make_line_reader(height, classes, hidden, channels, rate):
    traced(lambda: LineReader(height, classes, hidden, cell=CELLS["gru"], channels=channels, dropout=rate, rngs=rngs()))


READER = LineReader(8, 3, 2, cell=CELLS["gru"], channels=(1, 1, 2, 2, 2), rngs=rngs())
FOLLOWER = LineReader(8, 3, 2, cell=CELLS["gru"], both_ways=False, channels=(1, 1, 2, 2, 2), rngs=rngs())


@calls(arrays((2, 8, 9, 1), floats), arrays((2,), integers))
def read_lines(images, widths):
    traced(lambda: READER(images, widths))


@calls(st.sampled_from([READER, FOLLOWER]), arrays((2, 8, 4, 1), floats))
def follow_lines(reader, strip):
    traced(lambda: reader.step(reader.initial_state(strip), strip))


@calls(arrays((2, 3, 4), floats), st.none() | arrays((2,), integers), counts)
def decode_lines(logits, lengths, beam):
    traced(lambda: ctc.best_path(logits, lengths))
    traced(lambda: ctc.beam_search(logits, lengths, beam=beam))


@calls(st.sampled_from([(4, 4, 1), (4, 8, 3)]) | st.tuples(counts, counts, positive), mostly, mostly, mostly)
def make_forecaster(shape, patch, features, reach):
    traced(lambda: Forecaster(ConvGRU, 2, shape, patch=patch, features=features, reach=reach, rngs=rngs()))


FORECASTER = Forecaster(ConvGRU, 2, (4, 4, 1), patch=2, features=2, reach=2, rngs=rngs())


@calls(arrays((2, 3, 4, 4, 1), floats), counts)
def forecast(frames, ahead):
    traced(lambda: FORECASTER(frames, ahead))


scripts = st.sampled_from([mnist_rows, directions, memory, pixels, gestures_script, captions, lines, moving_script])
# What tyro lets through: values of the types that the options have.
of_types: dict[Any, Any] = {int: st.integers(-3, 2**34), float: st.floats(), str: words}


@calls(scripts.flatmap(lambda script: st.tuples(st.just(script), options_of(script))), weight=3)
def check_script(drawn):
    script, values = drawn
    options = with_values(script.Options(), **values)
    check_options(options)
    options.training.recipe()


def options_of(script):
    defaults = values_by_name(script.Options())
    kinds = {name: type(default) for name, default in defaults.items() if name != "filler"}
    chosen = {name: of_types[kind] for name, kind in kinds.items() if kind in of_types}
    return st.fixed_dictionaries({}, optional=chosen)
