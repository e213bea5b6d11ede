"""Pages that open from a file: models put into the templates that `page/` builds."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError, reason
from rowrnn.lab.page import classifier_page, lines_page
from rowrnn.models import LineReader
from rowrnn.saving.card import Card
from rowrnn.saving.model_file import load

HERE = Path(__file__).parent


def write_page(
    out: Path, models: Sequence[str], *, names: Sequence[str] = (), seed: int = 0, examples: Sequence[str] = ()
) -> str:
    """Writes the page of one or several classifiers, which read the same drawing, or of a reader of lines.

    Args:
        out: file to write, HTML.
        models: directories of runs, files of models, or names of bundled ones: classifiers that read rows with an LSTM
            or a GRU, and take the same pictures; or one reader of lines.
        names: names of models, where a run keeps several: all of them are on the page.
        seed: which of the runs' seeds, from 0.
        examples: files, folders or patterns of pictures to choose from, for classifiers; where not given and they read
            digits, a digit of MNIST's test images of each class.

    Returns:
        What was written, in words.

    Raises:
        InputError: if a model is of another kind, two do not go together, a picture cannot be read, or the file cannot
            be written.
    """
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"{out} is to be a page, and does not end in .html; a second model is given by --beside.")
    if names and not any(Path(model).is_dir() for model in models):
        raise InputError(f"--name chooses models of a run, and {', '.join(models)} is none: leave it out.")
    loaded: dict[str, tuple[Any, Card]] = {}
    for model in models:
        for name in names if names and Path(model).is_dir() else (None,):
            title = model if name is None else f"{name} of {model}"
            if title in loaded:
                raise InputError(f"{title} is named twice; expected different models.")
            loaded[title] = load(model, name, seed)
    readers = [model for model, (reader, _) in loaded.items() if isinstance(reader, LineReader)]
    if readers and (len(loaded) > 1 or examples):
        raise InputError(f"{readers[0]} reads lines: its page has one model, and no examples.")
    if readers:
        template, content = HERE / "lines.html", lines_page.content(readers[0], *loaded[readers[0]])
    else:
        template, content = HERE / "classifier.html", classifier_page.content(loaded, examples)
    titles = [card.title or model for model, (_, card) in loaded.items()]
    about = " ".join(_about(title, card) for title, (_, card) in zip(titles, loaded.values(), strict=True))
    parts = {
        # In a script element only "<" could end it.
        "EMBEDDED": json.dumps(content, separators=(",", ":")).replace("<", "\\u003c"),
        "ABOUT": about.replace("&", "&amp;").replace("<", "&lt;"),
    }
    # At once: what is put in may look like a mark.
    page = re.sub("{{(EMBEDDED|ABOUT)}}", lambda mark: parts[mark[1]], template.read_text(encoding="utf-8"))
    try:
        with whole_file(out) as partial:
            partial.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{out} cannot be written ({reason(error)}).") from error
    return f"{out}: {' and '.join(titles)}, {out.stat().st_size:,} bytes. Open it in a browser; it needs no network."


def _about(title: str, card: Card) -> str:
    right, wrong = (card.scores.get(name) for name in ("test_accuracy", "character_error_rate_beam"))
    words = [
        f"{title} learnt from {card.data.removesuffix('.')}" if card.data else title,
        f"reads {100 * right:.2f} % of the test images right" if isinstance(right, float) else "",
        f"reads {100 * wrong:.2f} % of the characters of the test lines wrong, with a language model"
        if isinstance(wrong, float)
        else "",
        f"licence {card.licence}" if card.licence else "",
    ]
    use = f" For: {card.intended_use.removesuffix('.')}." if card.intended_use else ""
    return f"{'; '.join(word for word in words if word)}.{use}"
