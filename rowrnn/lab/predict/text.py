"""Answers about text: how it goes on."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.predict.answer import LENGTH, TEMPERATURE, Answer
from rowrnn.lab.tasks.text.symbols import Symbols
from rowrnn.lab.tasks.text.task import written
from rowrnn.saving import Card


def answer(
    model: Any, card: Card, items: Sequence[Item], *, length: int = LENGTH, temperature: float = TEMPERATURE
) -> list[Answer]:
    """Returns how each text goes on; one that cannot be read gets an answer with the error.

    Args:
        model: a language model.
        card: its card.
        items: texts in UTF-8.
        length: number of symbols to write.
        temperature: below 1 the model writes what is probable, at 0 the most probable symbol.
    """
    symbols, answers = Symbols(card.vocabulary, card.unit or "character"), []  # pyrefly: ignore[bad-argument-type]
    if len(symbols) != model.head.out_features or card.context is None:
        raise InputError(
            f"The model knows {model.head.out_features} symbols, and its card names {len(symbols)} and a context of "
            f"{card.context}: give rowrnn.save the card of this model."
        )
    for number, item in enumerate(items):
        try:
            prompt = _prompt(symbols, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        key = jax.random.key(number)
        found, log_probs = written(model, prompt, length, key, temperature=temperature, context=card.context)
        text, probability = symbols.decode(found), float(np.exp(log_probs.mean()))
        answers.append(Answer(item.name, text, probability, details={"prompt": symbols.decode(prompt)}))
    return answers


def _prompt(symbols: Symbols, item: Item) -> np.ndarray:
    """Returns the numbers of a text.

    Raises:
        InputError: if it cannot be read, is empty, or has what the model does not know.
    """
    try:
        text = item.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{item.name} is no text in UTF-8 ({error.reason}).") from None
    if not text:
        raise InputError(f"{item.name} is empty; expected text that the model goes on with.")
    numbers = symbols.encode(text)
    if unknown := symbols.unknown(text):
        some = ", ".join(map(repr, unknown[:5]))
        raise InputError(f"{item.name} has {some}, which the model does not know: leave it out or replace it.")
    return numbers
