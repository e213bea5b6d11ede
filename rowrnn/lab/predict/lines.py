"""Answers about lines of text: the text of each."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from rowrnn.decoding import ctc
from rowrnn.errors import InputError
from rowrnn.lab.data.labelled import shaped
from rowrnn.lab.data.listing import Item
from rowrnn.lab.predict.answer import Answer
from rowrnn.lab.tasks.lines.alphabet import Alphabet
from rowrnn.lab.tasks.lines.text_language import language_prior
from rowrnn.models.line_reader import strips
from rowrnn.saving import Card

ROOM = 64  # columns: widths are rounded up to multiples, so that lines of similar width share a compiled program


def answer(model: Any, card: Card, items: Sequence[Item]) -> list[Answer]:
    """Returns the text of each line; one that cannot be read gets an answer with the error.

    The text is that of the best sum of scores, language model and bonus, as in the scoring of the test set; the
    probability is by the scores, the geometric mean over the characters, of all paths of the text.
    """
    alphabet, answers = Alphabet("".join(card.alphabet), card.right_to_left), []
    prior = language_prior(card.language_texts, alphabet, card.language_order, card.language_weight, card.length_bonus)
    for item in items:
        try:
            image = _line(card, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        logits, steps = logits_of(model, image)
        if logits.shape[-1] != len(card.alphabet) + 1:
            raise InputError(
                f"The model tells {logits.shape[-1] - 1} characters apart, and its card names {len(card.alphabet)}: "
                "give rowrnn.save the card of this model."
            )
        best = ctc.best_path(logits, steps)
        searched = ctc.beam_search(logits, steps, beam=card.beam, **prior)
        text, other = (alphabet.decode(np.asarray(of.labels)[0, : int(of.lengths[0])]) for of in (searched, best))
        log_probability = float(searched.log_probability[0]) / max(1, len(text))
        others = ((other, float(np.exp(float(best.log_probability[0]) / max(1, len(other))))),) if other != text else ()
        answers.append(Answer(item.name, text, float(np.exp(log_probability)), others))
    return answers


def logits_of(model: Any, image: UInt8[np.ndarray, "h w"]) -> tuple[Float[jax.Array, "1 t scores"], jax.Array]:
    """Returns the scores of a line, and its number of steps."""
    height, width = image.shape
    padded = np.zeros((1, height, -(-width // ROOM) * ROOM, 1), np.float32)
    padded[0, :, :width, 0] = image / np.float32(255)
    widths = jnp.array([width], jnp.int32)
    return _logits(model, jnp.asarray(padded), widths), strips(widths)


@jax.jit
def _logits(model: Any, images: Any, widths: Any) -> Any:
    return model(images, widths)


def _line(card: Card, item: Item) -> UInt8[np.ndarray, "h w"]:
    return shaped(card.needed_preprocessing(), item)[..., 0]


def picture_of(model: Any, card: Card, item: Item, answer: Answer) -> Any:
    """Draws a line with its text, and below it where the model says which character, which may be beside its ink."""
    import matplotlib.pyplot as plt  # Imported only where used: it takes long.

    image = _line(card, item)
    logits, steps = logits_of(model, image)
    probability = np.asarray(jax.nn.softmax(logits))[0, : int(steps[0])]
    places, labels = np.arange(len(probability)), probability.argmax(axis=1)
    blank = probability.shape[1] - 1
    figure, (line, read) = plt.subplots(2, 1, figsize=(min(16, max(6, image.shape[1] / 60)), 3), sharex=True)
    line.imshow(image, cmap="gray_r", aspect="auto", vmin=0, vmax=255)
    line.set_yticks([])
    line.grid(visible=False)
    columns = 4 * places + 2
    begins = (labels != blank) & (labels != np.concatenate([[blank], labels[:-1]]))
    sure = probability.max(axis=1)
    for kind, color, name in ((labels != blank, "C0", "a character"), (labels == blank, "lightgrey", "none begins")):
        read.bar(columns[kind], sure[kind], width=4, color=color, label=name)
    for place in places[begins]:
        character = card.alphabet[labels[place]]
        read.text(columns[place], 1.05, "␣" if character.isspace() else character, ha="center", fontsize=9)
    read.set(ylim=(0, 1.3), ylabel="probability", xlabel="column")
    read.legend(title="most probable:", loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)
    figure.suptitle(f"{answer.answer} ({answer.probability:.0%})")
    return figure
