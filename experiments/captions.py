"""Can a recurrent decoder describe what stands where, in combinations that it has never seen?

Scenes of one to four small and large digits are described word by word ("a large seven right of a small three"). An
LSTM and a GRU, each behind the same small CNN within one parameter budget, learn it from scenes of training digits; a
decoder that is shown no image says how far the language alone gets. They are tested on scenes of test digits, and on
scenes that contain a combination (digit, relation, digit) that no training scene had.

    python experiments/captions.py            a quarter of an hour on 2 cores
    python experiments/captions.py --full     two hours or more: three seeds, more epochs
    python experiments/captions.py --quick    two minutes: half learnt, and far above blind
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from rowrnn import CELLS
from rowrnn.decoding.sentences import SpecialTokens
from rowrnn.errors import InputError
from rowrnn.lab.budget import solve_width
from rowrnn.lab.data import Dataset, Split, as_float
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.experiment import Experiment, started
from rowrnn.lab.experiment.generation_cost import generation_share
from rowrnn.lab.experiment.model_trial import PROTOCOL as OF_EVERY_TASK
from rowrnn.lab.experiment.option_checks import check_dropout, check_names
from rowrnn.lab.experiment.options import TrainingOptions
from rowrnn.lab.experiment.task import Task
from rowrnn.lab.report.columns import PARAMETERS, format_score, model_table, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.captions.examples import CANVAS, Scenes, fixed_scenes, scenes
from rowrnn.lab.tasks.captions.language import BEGIN, DIGITS, END, LONGEST, PAD, WORDS, decode
from rowrnn.lab.tasks.captions.measures import bleu4, exact_match, slots
from rowrnn.models import Captioner

MARKS = SpecialTokens(PAD, BEGIN, END)
MEASURE = "exact_match"
PARTS = ("seen", "unseen")
SHOWN = 12  # test scenes in the pictures
LOOKED_AT = 2  # of which with attention of each model
PROTOCOL = {
    **OF_EVERY_TASK,
    "validation": "fixed scenes of validation digits without combinations that are held out",
    "selection": "of each seed the weights of the epoch with the best share of captions whose words are all the "
    "likeliest after the right ones, which is that of greedy decoding; the later of equals",
    "test": "scored once, at the end: fixed scenes of the first test digits, exact_match, bleu4 and slots of those "
    "without combinations that are held out, *_unseen of those with at least one, which therefore have at least two "
    "digits, 2.8 on average beside 2.5; greedy decoding, *_beam by beam search",
    "bleu4": "corpus BLEU of words by sacrebleu, tokenize none, smoothing exp, one reference",
    "slots": "what is said in the right turn: number of digits, digit, size, relation",
}


@dataclass(frozen=True)
class Options(TrainingOptions):
    """Decoders describe scenes of digits."""

    cells: tuple[str, ...] = ("lstm", "gru")
    """Cells that decode: lstm, gru or others of rowrnn.CELLS."""
    blind: bool = True
    """Train the first of them without the image too."""
    params: int = 250_000
    """Parameter budget of every model."""
    channels: int = 64
    """Channels of the CNN's map."""
    embedding: int = 32
    """Size of a word's embedding."""
    attention: bool = True
    """Let the decoder look at the map for every word."""
    dropout: float = 0.1
    """Probability with which a feature of the next word is dropped while training."""
    beam: int = 3
    """Beginnings that beam search keeps."""
    length_power: float = 0.0
    """Beam search ranks by log-probability divided by this power of the length."""
    scenes: int = 2_000
    """Scenes of each part of the test, and of validation."""
    epochs: int = 6
    """Passes over the training digits, each the first digit of a scene."""
    seeds: int = 1
    """Models of each kind, trained together, each from its own seed."""
    learning_rate: float = 3e-3
    """Peak learning rate of AdamW."""
    quick: bool = False
    """Preset: the LSTM only, one epoch, fewer scenes in the test."""
    full: bool = False
    """Preset: three seeds, 16 epochs, 5,000 scenes in each part of the test."""


PRESETS = {
    "quick": {"cells": ("lstm",), "epochs": 1, "scenes": 500},
    "full": {"seeds": 3, "epochs": 16, "scenes": 5_000},
}


def main(options: Options) -> None:
    """Trains, tests and draws what the options ask for."""
    check(options)
    data = options.load()
    check_digits(data)
    validation = fixed_scenes(jax.random.key(0), data.validation, options.scenes)
    parts = [fixed_scenes(jax.random.key(1), data.test, options.scenes, unseen=part == "unseen") for part in PARTS]
    test = jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *parts)
    widths = {each: solve_width(partial(captioner, options, *each), options.params) for each in contenders(options)}
    with started("captions", options, data, PROTOCOL, table_of) as experiment:
        for part, scenes_of_part in zip(PARTS, parts, strict=True):
            experiment.arrays[f"scene/{part}/image"] = np.asarray(scenes_of_part.images[:SHOWN])
            experiment.arrays[f"scene/{part}/caption"] = np.asarray(scenes_of_part.captions[:SHOWN])
        for (name, blind), width in widths.items():
            examine(name, blind, width, validation, test, options, data, experiment)


def check(options: Options) -> None:
    """Refuses options that cannot be meant."""
    check_names("cells", options.cells, CELLS)
    options.check("params", "channels", "embedding", "beam", "scenes")
    check_dropout(options.dropout)
    if not options.length_power >= 0:
        raise InputError(f"--length-power is {options.length_power}; expected at least 0.")


def check_digits(data: Dataset) -> None:
    """Refuses images that are no digits of which scenes are made."""
    height, width, channels = data.shape
    if height != width or channels != 1 or data.classes > len(DIGITS):
        raise InputError(
            f"Scenes are made of square grey images of at most {len(DIGITS)} classes, not of {data.classes} "
            f"classes of {height}x{width}x{channels} in {data.name}. Take --dataset mnist."
        )


def contenders(options: Options) -> list[tuple[str, bool]]:
    """Names of the cells, and whether the decoder is blind."""
    return [(name, False) for name in options.cells] + [(options.cells[0], True)] * options.blind


def examine(
    name: str,
    blind: bool,
    width: int,
    validation: Scenes,
    test: Scenes,
    options: Options,
    data: Dataset,
    experiment: Experiment,
) -> None:
    """Trains and tests all seeds of a model."""
    title = ("blind " if blind else "") + CELLS[name].__name__
    make = partial(captioner, options, name, blind, width)
    task = Task(loss, right, data.train, validation, MEASURE)
    trial = experiment.train(title, make, task, about={"width": width})

    def generate(batch: Split, key: Array) -> Any:
        made = scenes(key, batch.images, batch.labels)
        return made.captions if blind else made  # Images that nobody sees are not made in training either.

    share = generation_share(generate, task, options, trial)
    scores: dict[str, Any] = {"generation_share": share}
    arrays = {}
    answers = trial.evaluate(partial(said, options), test)
    for part, suffix, first in zip(PARTS, ("", "_unseen"), (0, options.scenes), strict=True):
        of_part = slice(first, first + options.scenes)
        greedy, by_beam = (captions[:, of_part] for captions in answers)
        truth = np.asarray(test.captions[of_part])
        scores |= {name + suffix: value for name, value in measured(greedy, truth).items()}
        scores[f"{MEASURE}_beam{suffix}"] = interval(exact_match(by_beam, truth).mean(axis=1))
        arrays[f"{part}/said"] = greedy[0, :SHOWN]
        if options.attention and not blind:
            first_seed = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), trial.models)
            images = as_float(test.images[of_part][:LOOKED_AT])
            attention = jax.jit(Captioner.attention)(first_seed, images, jnp.asarray(greedy[0, :LOOKED_AT]))
            arrays[f"{part}/attention"] = np.asarray(attention)
    experiment.add(trial.scored(**scores), arrays, examples=(as_float(test.images[:1]),))


def captioner(options: Options, name: str, blind: bool, width: int, rngs: nnx.Rngs) -> Captioner:
    """A model whose decoder has this cell and width."""
    return Captioner(
        CELLS[name],
        width,
        shape=(CANVAS, CANVAS, 1),
        words=len(WORDS),
        longest=LONGEST,
        marks=MARKS,
        channels=options.channels,
        embedding=options.embedding,
        attention=options.attention,
        blind=blind,
        dropout=options.dropout,
        rngs=rngs,
    )


def loss(model: Captioner, batch: Split, key: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Mean cross-entropy of a word, in nats, over the captions of scenes made of a batch of digits."""
    scene_key, dropout_key = jax.random.split(key)
    images, captions = scenes(scene_key, batch.images, batch.labels)
    logits = model.logits(images, captions, key=dropout_key)
    of_words = optax.softmax_cross_entropy_with_integer_labels(logits, captions)
    words = captions != PAD
    mean = of_words.mean(where=words)
    return mean, {"loss": mean}


def right(model: Captioner, batch: Scenes) -> Float[Array, "b"]:
    """1 where greedy decoding says the caption, else 0.

    It does if and only if every word is the likeliest after the right words before it, which one scan tells.
    """
    logits = model.logits(as_float(batch.images), batch.captions)
    likeliest = jnp.where(jnp.arange(logits.shape[-1]) == PAD, -jnp.inf, logits).argmax(axis=-1)
    return ((likeliest == batch.captions) | (batch.captions == PAD)).all(axis=1).astype(jnp.float32)


def said(options: Options, model: Captioner, batch: Scenes) -> tuple[Array, Array]:
    """Captions by greedy decoding, and the best of beam search, both `[b, longest]`."""
    images = as_float(batch.images)
    return model(images), model.beam(images, options.beam, length_power=options.length_power).words[:, 0]


def measured(captions: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Measures of captions `[seeds, n, longest]` against the right ones, each over the seeds."""
    texts, true = [decode(of_seed) for of_seed in captions], decode(truth)
    of_slots = [slots(of_seed, true) for of_seed in texts]
    return {
        MEASURE: interval(exact_match(captions, truth).mean(axis=1)),
        "bleu4": interval([bleu4(of_seed, true) for of_seed in texts]),
        "slots": {slot: interval([of_seed[slot] for of_seed in of_slots]) for slot in of_slots[0]},
    }


SLOTS = {"count": "count %", "digit": "digit %", "size": "size %", "relation": "relation %"}
COLUMNS = (
    score_column("exact match %", MEASURE),
    score_column("unseen\ncombinations %", f"{MEASURE}_unseen"),
    score_column("BLEU-4 %", "bleu4"),
    *((heading, partial(lambda slot, row: format_score(row["slots"][slot]), slot)) for slot, heading in SLOTS.items()),
    PARAMETERS,
)


def table_of(results: Mapping[str, Any]) -> list[list[str]]:
    """What each model says right, as text."""
    return model_table("model", results["summary"], COLUMNS)


if __name__ == "__main__":
    run_experiment(Options, main, PRESETS)
