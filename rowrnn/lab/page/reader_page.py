"""The page on which a drawing is read row by row: models and examples put into the template that `page/` builds."""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rowrnn.atomic_file import whole_file
from rowrnn.cells import GRU, LSTM
from rowrnn.errors import InputError, reason
from rowrnn.lab.data.mnist import load_bundled
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.predict.files import items_of
from rowrnn.models import Classifier
from rowrnn.saving.card import Card
from rowrnn.saving.model_file import load

TEMPLATE = Path(__file__).with_name("template.html")
KINDS: dict[type, str] = {LSTM: "lstm", GRU: "gru"}
MOST_EXAMPLES, LONGEST = 24, 400  # examples on a page, and pixels of a side of one


def write_page(
    out: Path, models: Sequence[str], *, name: str | None = None, seed: int = 0, examples: Sequence[str] = ()
) -> str:
    """Writes the page of one or several models, which read the same drawing beside each other.

    Args:
        out: file to write, HTML.
        models: directories of runs, files of models, or names of bundled ones: classifiers that read rows with an LSTM
            or a GRU, and take the same pictures.
        name: name of the models, where runs keep several.
        seed: which of the runs' seeds, from 0.
        examples: files, folders or patterns of pictures to choose from; where not given and the models read digits, a
            digit of MNIST's test images of each class.

    Returns:
        What was written, in words.

    Raises:
        InputError: if a model is of another kind, two do not go together, a picture cannot be read, or the file cannot
            be written.
    """
    loaded = [load(model, name, seed) for model in models]
    kept = [stored(model, *pair, number) for number, (model, pair) in enumerate(zip(models, loaded, strict=True))]
    cards = [card for _, card in loaded]
    for model, card in zip(models[1:], cards[1:], strict=True):
        if (card.preprocessing, card.classes) != (cards[0].preprocessing, cards[0].classes):
            raise InputError(
                f"{model} takes other pictures than {models[0]}, or tells other classes apart: models on one page read "
                "the same drawing. Write a page for each."
            )
    content = {"models": kept, "examples": _examples(cards[0], examples)}
    # In a script element only "<" could end it.
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    about = " ".join(_about(title["title"], card) for title, card in zip(kept, cards, strict=True))
    page = TEMPLATE.read_text(encoding="utf-8")
    for mark, part in (("{{EMBEDDED}}", text), ("{{ABOUT}}", _escaped(about))):
        page = page.replace(mark, part)
    try:
        with whole_file(out) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({reason(error)}).") from error
    titles = " and ".join(one["title"] for one in kept)
    return f"{out}: {titles}, {out.stat().st_size:,} bytes. Open it in a browser; it needs no network."


def stored(path: str, model: Any, card: Card, number: int) -> dict[str, Any]:
    """Returns a model as the page reads it."""
    cell: Any = model.rows.cell if type(model) is Classifier else None
    if type(cell) not in KINDS or card.preprocessing is None:
        what = type(model).__name__ if cell is None else f"{type(model).__name__} with a {type(cell).__name__}"
        raise InputError(
            f"{path} is a {what}: a page shows classifiers that read the rows of pictures with an LSTM or a GRU, as "
            "rowrnn train images --model lstm makes, or mnist_row_lstm, which comes with rowrnn."
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
        "arrays": {name: _base64(np.asarray(array, "<f4")) for name, array in arrays.items()},
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
    return {"label": label, **size, "bytes": _base64(np.asarray(picture, np.uint8))}


def _about(title: str, card: Card) -> str:
    scores = [f"{100 * value:.2f} % of its test images" for score, value in card.scores.items() if score == "accuracy"]
    words = [
        f"{title}: {card.data}" if card.data else title,
        *scores,
        f"licence {card.licence}" if card.licence else "",
    ]
    return f"{'; '.join(word for word in words if word)}."


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")
