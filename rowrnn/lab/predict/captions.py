"""Answers about pictures in words: the caption of each."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.data.labelled import shaped
from rowrnn.lab.data.listing import Item
from rowrnn.lab.predict.answer import Answer
from rowrnn.lab.tasks.captions.task import LENGTH_POWER
from rowrnn.lab.tasks.captions.vocabulary import Vocabulary, as_written
from rowrnn.saving import Card


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns the caption of each picture; one that cannot be read gets an answer with the error.

    The probability is the geometric mean over the words, so that long captions are not less sure than short ones.
    """
    vocabulary, answers = Vocabulary(card.vocabulary), []
    for item in items:
        try:
            image = shaped(card.needed_preprocessing(), item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        floats = jnp.asarray(card.needed_preprocessing().to_floats(image[None]))
        words, log_probabilities = _captions(model, floats, card.beam)
        said = vocabulary.decode(np.asarray(words)[0])
        texts = list(map(as_written, said))
        lengths = (np.asarray(words)[0] != vocabulary.tokens.pad).sum(axis=1)
        probability = np.exp(np.asarray(log_probabilities)[0] / np.maximum(lengths, 1))
        others = tuple(zip(texts[1:], map(float, probability[1:]), strict=True))
        answers.append(Answer(item.name, texts[0], float(probability[0]), others, details={"words": said[0].split()}))
    return answers


@partial(jax.jit, static_argnums=2)
def _captions(model: Any, images: Any, beam: int) -> tuple[Any, Any]:
    found = model.beam(images, beam, length_power=LENGTH_POWER)
    return found.words, found.log_probs


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws a picture with its caption, and where the model looked for each word."""
    import matplotlib.pyplot as plt  # Imported only where used: it takes long.

    from rowrnn.lab.report.style import show_picture

    image = shaped(card.needed_preprocessing(), item)
    vocabulary = Vocabulary(card.vocabulary)
    said = answer.details["words"]
    words = [vocabulary.words.index(word) for word in said] or [vocabulary.tokens.end]
    looked = model.question is not None
    columns = 1 + (len(words) if looked else 0)
    figure, panels = plt.subplots(1, columns, figsize=(max(5.0, 2.4 * columns), 3.0), squeeze=False)
    for axes in panels[0]:
        show_picture(axes, image)
    panels[0, 0].set_title("the picture", fontsize=9)
    if looked:
        floats = jnp.asarray(card.needed_preprocessing().to_floats(image[None]))
        shares = np.asarray(jax.jit(lambda m, x, w: m.attention(x, w))(model, floats, jnp.array([words])))[0]
        height, width = image.shape[:2]
        for axes, word, share in zip(panels[0, 1:], said, shares, strict=False):
            axes.imshow(share, cmap="magma", alpha=0.6, extent=(-0.5, width - 0.5, height - 0.5, -0.5), vmin=0)
            axes.set_title(word, fontsize=9)
    looking = "\nBright: where it looked for each word." if looked else ""
    figure.suptitle(f"{answer.answer or '(nothing)'} ({answer.probability:.0%}){looking}", fontsize=10)
    return figure
