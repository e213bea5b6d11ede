"""Captioning: loss, scores, decoding and measures, of scenes of digits and of pictures that people have described."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Int

from rowrnn.errors import InputError
from rowrnn.lab.data import Augmentation, Dataset, Split, as_float
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.tasks.captions import language
from rowrnn.lab.tasks.captions.examples import Scenes, scenes
from rowrnn.lab.tasks.captions.measures import bleu4, slots
from rowrnn.models import Captioner
from rowrnn.typing import Images

MEASURE = "exact_match"
UNCHANGED = Augmentation()
ToFloats = Callable[[Any], Any]
"""Conversion of uint8 images to floating-point images as a model takes them."""


class Described(NamedTuple):
    """Pictures with their captions, each picture with one or more.

    Args:
        images: `[n, h, w, c]`, uint8, or floating point as a model takes them.
        captions: word indices, `[n, k, longest]`, see `rowrnn.lab.tasks.captions.vocabulary.Encoded`.
        counts: number of captions of each picture, `[n]`.
    """

    images: Any
    captions: Any
    counts: Any


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
    made = scenes(scene_key, batch.images, batch.labels)
    nats, words = word_losses(model, made.images, made.captions, dropout_key)
    return nats.mean(where=words), {}


def loss_of_described(
    model: Captioner,
    batch: Described,
    key: Array,
    *,
    to_floats: ToFloats = as_float,
    augmentation: Augmentation = UNCHANGED,
    outside: ArrayLike = 0.0,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Returns the cross-entropy in nats, averaged over all words of one caption of each picture.

    Args:
        model: the captioner.
        batch: pictures; of the captions of each, one is drawn.
        key: source of randomness of the draw, the changes and dropout.
        to_floats: conversion of images.
        augmentation: random changes of the images; captions that say left and right stay true.
        outside: value, after `to_floats`, of pixels from outside an image.
    """
    drawing, changing, dropping = jax.random.split(key, 3)
    counts = jnp.asarray(batch.counts)
    drawn = jax.random.randint(drawing, counts.shape, 0, counts)
    captions = jnp.take_along_axis(jnp.asarray(batch.captions), drawn[:, None, None], axis=1)[:, 0]
    images = augmentation(jnp.asarray(to_floats(batch.images)), changing, outside)
    nats, words = word_losses(model, images, captions, dropping)
    return nats.mean(where=words), {}


def word_losses(
    model: Captioner, images: Images, captions: Int[Array, "b t"], key: Array | None = None
) -> tuple[Float[Array, "b t"], Bool[Array, "b t"]]:
    """Returns the cross-entropy in nats of each word of given captions, and which places have a word."""
    nats = optax.softmax_cross_entropy_with_integer_labels(model.logits(images, captions, key=key), captions)
    return nats, captions != model.tokens.pad


def likelihood(model: Captioner, batch: Described, *, to_floats: ToFloats = as_float) -> Float[Array, "b"]:
    """Returns the mean log-probability in nats of a word of each picture's captions; higher is better.

    Hardly a caption of people is reproduced word by word: this selects weights where `exact` cannot.
    """
    images, captions = jnp.asarray(to_floats(batch.images)), jnp.asarray(batch.captions)
    nats, words = jax.lax.map(lambda of_one: word_losses(model, images, of_one), jnp.moveaxis(captions, 1, 0))
    return -nats.mean(axis=(0, 2), where=words)


def exact(model: Captioner, batch: Scenes) -> Float[Array, "b"]:
    """Returns 1 for each scene whose caption greedy decoding reproduces exactly, else 0.

    Greedy decoding does so exactly if each correct word is the most probable one after the correct words before it;
    this takes a single pass with the correct caption as input, without decoding.
    """
    logits = model.logits(as_float(batch.images), batch.captions)
    pad = model.tokens.pad
    never = [word for word in (pad, model.tokens.unknown) if word is not None]
    likeliest = logits.at[..., jnp.array(never)].set(-jnp.inf).argmax(axis=-1)
    return ((likeliest == batch.captions) | (batch.captions == pad)).all(axis=1).astype(jnp.float32)


LENGTH_POWER = 0.7
"""Power of the length by which the log-probability of a caption is divided, of own pictures."""


def decode(
    model: Captioner, batch: Scenes | Described, *, beam: int, length_power: float, to_floats: ToFloats = as_float
) -> tuple[Int[Array, "b longest"], Int[Array, "b longest"]]:
    """Returns the captions of images by greedy decoding, and the best ones by beam search.

    Args:
        model: the captioner.
        batch: scenes or pictures.
        beam: number of captions that beam search keeps after each word.
        length_power: beam search ranks captions by log-probability divided by this power of their length.
        to_floats: conversion of images.
    """
    images = jnp.asarray(to_floats(batch.images))
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
        **measure_texts(texts, true),
        "slots": {slot: interval([of_seed[slot] for of_seed in of_slots]) for slot in of_slots[0]},
    }


def measure_texts(said: Sequence[Sequence[str]], truth: Sequence[str | Sequence[str]]) -> dict[str, Any]:
    """Compares captions as text with one or several references each.

    Args:
        said: generated captions of each seed, words separated by spaces.
        truth: for each image the reference, or several references.

    Returns:
        `exact_match`, the share of captions that equal one of their references in every word, and `bleu4`: mean and
        interval over seeds of each.
    """
    references = [[true] if isinstance(true, str) else true for true in truth]
    exact = [np.mean([ours in true for ours, true in zip(of_seed, references, strict=True)]) for of_seed in said]
    return {MEASURE: interval(exact), "bleu4": interval([bleu4(of_seed, references) for of_seed in said])}
