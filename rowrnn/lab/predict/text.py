"""Answers about text: how it goes on."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Int

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item
from rowrnn.lab.predict.answer import Answer
from rowrnn.lab.tasks.text.symbols import Symbols
from rowrnn.lab.tasks.text.task import written
from rowrnn.saving import Card

LENGTH, TEMPERATURE = 500, 0.8
"""Symbols that a text goes on for, and how daring they are."""


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
    symbols, answers = Symbols(card.vocabulary, card.unit), []  # pyrefly: ignore[bad-argument-type]
    if len(symbols) != model.head.out_features or card.context is None:
        raise InputError(
            f"The model knows {model.head.out_features} symbols, and its card names {len(symbols)} and a context of "
            f"{card.context}: give rowrnn.save the card of this model."
        )
    key = jax.random.key(0)  # The same for every text, whatever others there are.
    for item in items:
        try:
            text, prompt = _prompt(symbols, item)
        except InputError as error:
            answers.append(Answer(item.name, error=str(error)))
            continue
        found, log_probs = written(model, prompt, length, key, temperature=temperature, context=card.context)
        probability = float(np.exp(log_probs.mean()))
        answers.append(Answer(item.name, symbols.decode(found), probability, details={"prompt": text}, comes_next=True))
    return answers


def _prompt(symbols: Symbols, item: Item) -> tuple[str, Int[np.ndarray, "n"]]:
    """Returns a text and the numbers of its symbols.

    Raises:
        InputError: if it cannot be read, is empty, or has characters that the model does not know.
    """
    try:
        text = item.read().decode("utf-8-sig").replace("\r\n", "\n")  # as text is read that is learnt
    except UnicodeDecodeError as error:
        raise InputError(f"{item.name} is no text in UTF-8 ({error.reason}).") from None
    if symbols.unit == "word":
        text = text.rstrip()
    if not text:
        raise InputError(f"{item.name} is empty; expected text that the model goes on with.")
    if symbols.unit == "word":
        return text, _as_within(symbols, text)
    if unknown := symbols.unknown(text):
        some = ", ".join(map(repr, unknown[:5]))
        raise InputError(f"{item.name} has {some}, which the model does not know: leave it out or replace it.")
    return text, symbols.encode(text)


def _as_within(symbols: Symbols, text: str) -> Int[np.ndarray, "n"]:
    """Returns the numbers of words; the first has the white space before it with which it is known, if any."""
    ways = [symbols.encode(before + text) for before in ("", " ", "\n")]
    return next((numbers for numbers in ways if numbers[0]), ways[0])
