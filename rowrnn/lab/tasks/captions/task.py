"""Captioning of scenes of digits: loss, score, decoding and measures."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from rowrnn.errors import InputError
from rowrnn.lab.data import Dataset, Split, as_float
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.captions import language
from rowrnn.lab.tasks.captions.examples import Scenes, scenes
from rowrnn.lab.tasks.captions.measures import bleu4, exact_match, slots
from rowrnn.models import Captioner

MEASURE = "exact_match"


def check_digits(data: Dataset) -> None:
    """Checks that scenes can be made of the images of a data set.

    Raises:
        InputError: if the images are not square and grey, or have more classes than there are names of digits.
    """
    height, width, channels = data.shape
    if height != width or channels != 1 or data.classes > len(language.DIGITS):
        raise InputError(
            f"Scenes are made of square grey images of at most {len(language.DIGITS)} classes, not of {data.classes} "
            f"classes of {height}x{width}x{channels} in {data.name}. Take --data mnist."
        )


def loss(model: Captioner, batch: Split, key: Array) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the cross-entropy in nats, averaged over all words of the captions.

    Args:
        model: the captioner.
        batch: images and labels of digits, of which new scenes are made.
        key: source of randomness of scenes and dropout.
    """
    scene_key, dropout_key = jax.random.split(key)
    images, captions = scenes(scene_key, batch.images, batch.labels)
    logits = model.logits(images, captions, key=dropout_key)
    of_words = optax.softmax_cross_entropy_with_integer_labels(logits, captions)
    words = captions != language.PAD
    mean = of_words.mean(where=words)
    return mean, {}


def exact(model: Captioner, batch: Scenes) -> Float[Array, "b"]:
    """Returns 1 for each scene whose caption greedy decoding reproduces exactly, else 0.

    Greedy decoding does so exactly if each correct word is the most probable one after the correct words before it;
    this takes a single pass with the correct caption as input, without decoding.
    """
    logits = model.logits(as_float(batch.images), batch.captions)
    likeliest = jnp.where(jnp.arange(logits.shape[-1]) == language.PAD, -jnp.inf, logits).argmax(axis=-1)
    return ((likeliest == batch.captions) | (batch.captions == language.PAD)).all(axis=1).astype(jnp.float32)


def decode(
    model: Captioner, batch: Scenes, *, beam: int, length_power: float
) -> tuple[Int[Array, "b longest"], Int[Array, "b longest"]]:
    """Returns the captions of scenes by greedy decoding, and the best ones by beam search.

    Args:
        model: the captioner.
        batch: scenes.
        beam: number of captions that beam search keeps after each word.
        length_power: beam search ranks captions by log-probability divided by this power of their length.
    """
    images = as_float(batch.images)
    return model(images), model.beam(images, beam, length_power=length_power).words[:, 0]


def measure(captions: Int[np.ndarray, "seeds n longest"], truth: Int[np.ndarray, "n longest"]) -> dict[str, Any]:
    """Compares captions with the references.

    Args:
        captions: generated captions of each seed.
        truth: references.

    Returns:
        `exact_match`, `bleu4` and, for each kind of statement, `slots`: mean and interval over seeds of each.
    """
    texts, true = [language.decode(of_seed) for of_seed in captions], language.decode(truth)
    of_slots = [slots(of_seed, true) for of_seed in texts]
    return {
        MEASURE: interval(exact_match(captions, truth).mean(axis=1)),
        "bleu4": interval([bleu4(of_seed, true) for of_seed in texts]),
        "slots": {slot: interval([of_seed[slot] for of_seed in of_slots]) for slot in of_slots[0]},
    }
