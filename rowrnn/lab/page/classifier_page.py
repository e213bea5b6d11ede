"""Classifiers that read rows, and pictures to choose from, as their page reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rowrnn.cells import GRU, LSTM
from rowrnn.errors import InputError
from rowrnn.lab.data.mnist import load_bundled
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.page.arrays import base64_of
from rowrnn.lab.predict.files import items_of
from rowrnn.models import Classifier
from rowrnn.saving.card import Card

KINDS: dict[type, str] = {LSTM: "lstm", GRU: "gru"}
MOST_EXAMPLES, LONGEST = 24, 400  # examples on a page, and pixels of a side of one


def content(models: Mapping[str, tuple[Any, Card]], examples: Sequence[str]) -> dict[str, Any]:
    """Returns classifiers with their cards, by where they come from, and examples in terms of JSON.

    Raises:
        InputError: if a model is of another kind, two do not go together, or a picture cannot be read.
    """
    kept = [stored(path, *pair, number) for number, (path, pair) in enumerate(models.items())]
    (first, (_, card)), *others = models.items()
    for path, (_, other) in others:
        if (other.preprocessing, other.classes) != (card.preprocessing, card.classes):
            raise InputError(
                f"{path} takes other pictures than {first}, or tells other classes apart: models on one page read the "
                "same drawing. Write a page for each."
            )
    return {"models": kept, "examples": _examples(card, examples)}


def stored(path: str, model: Any, card: Card, number: int) -> dict[str, Any]:
    """Returns a model in terms of JSON.

    Raises:
        InputError: if it is no classifier that reads rows with an LSTM or GRU, or takes pictures of no one size.
    """
    cell: Any = model.rows.cell if type(model) is Classifier else None
    if type(cell) not in KINDS or card.preprocessing is None or None in card.preprocessing.size:
        what = type(model).__name__ if cell is None else f"{type(model).__name__} with a {type(cell).__name__}"
        raise InputError(
            f"{path} is a {what}: a page shows readers of lines, and classifiers that read the rows of pictures of one "
            "size with an LSTM or a GRU, as rowrnn train images --model lstm makes, or mnist_row_lstm."
        )
    weights = cell.as_arrays()
    arrays = {
        "input": weights.input_kernel,
        "recurrent": weights.recurrent_kernel,
        "bias": weights.bias,
        "head_kernel": model.head.kernel[...],
        "head_bias": model.head.bias[...],
    }
    if weights.recurrent_bias is not None:
        arrays["candidate_bias"] = weights.recurrent_bias
    return {
        "name": f"model-{number}",
        "title": card.title or path,
        "kind": KINDS[type(cell)],
        "pooling": model.pooling,
        "classes": card.classes,
        "preprocessing": card.preprocessing.to_json(),
        "arrays": {name: base64_of(np.asarray(array, "<f4")) for name, array in arrays.items()},
    }


def _examples(card: Card, names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns pictures to choose from."""
    if names:
        items = items_of(names, "pictures")
        if len(items) > MOST_EXAMPLES:
            raise InputError(f"A page shows at most {MOST_EXAMPLES} examples, and {len(items)} are named.")
        return [_example(item.name, read_picture(item)) for item in items]
    if card.preprocessing is None or not card.preprocessing.like_mnist:
        return []
    test = load_bundled().test
    labels = np.asarray(test.labels)
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    return [_example(f"a {labels[place]}", np.asarray(test.images[place])) for place in firsts]


def _example(label: str, picture: np.ndarray) -> dict[str, Any]:
    height, width, channels = picture.shape
    if max(height, width) > LONGEST:
        raise InputError(
            f"{label} has {height}x{width} pixels; an example on a page has at most {LONGEST} a side: make it smaller."
        )
    size = {"height": height, "width": width, "channels": channels}
    return {"label": label, **size, "bytes": base64_of(np.asarray(picture, np.uint8))}
