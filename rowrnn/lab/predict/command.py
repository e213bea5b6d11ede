"""The command `rowrnn predict MODEL FILES…`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from rowrnn.atomic_file import whole_file
from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Unreadable
from rowrnn.lab.devices.compiled_programs import keep_compiled_programs
from rowrnn.lab.predict.answer import UNSURE_BELOW, Answer, as_csv, as_json, forecast_of, rows_of, shown
from rowrnn.lab.predict.files import items_of
from rowrnn.lab.runs.file_names import file_name
from rowrnn.saving.card import Card
from rowrnn.saving.model_file import load

MEDIA = {
    **{"images": "pictures", "lines": "pictures", "captions": "pictures", "boxes": "pictures"},
    **{"masks": "pictures", "clips": "clips", "frames": "clips", "text": "texts", "series": "tables"},
}
"""What the files of each task are; the module of its name answers."""
NEEDED = {"clips": "logits_by_frame", "captions": "beam", "boxes": "find", "frames": "predictions", "text": "generate"}
"""Methods by which models of a task are told from others."""
STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True)
class Wish:
    """What is wanted of the answers.

    Args:
        name: name of the model, where a run keeps several.
        seed: which of the run's seeds.
        json: file for the answers as JSON; "-" is the standard output.
        csv: file for the answers as CSV; "-" is the standard output.
        draw: folder for pictures.
        unsure_below: probability below which an answer is marked as unsure.
        length: number of symbols that a text goes on for; the usual one where not given.
        temperature: of writing: below 1 what is probable, at 0 the most probable symbol; the usual one where not given.
    """

    name: str | None = None
    seed: int = 0
    json: Path | None = None
    csv: Path | None = None
    draw: Path | None = None
    unsure_below: float = UNSURE_BELOW
    length: int | None = None
    temperature: float | None = None


def tell(path: str, files: Sequence[str], wish: Wish = Wish()) -> list[Answer]:
    """Asks a model about files, prints or writes its answers, and returns them.

    Args:
        path: the directory of a run, the file of a model, or the name of a bundled one.
        files: files, folders, patterns, or "-" for standard input.
        wish: what is wanted of the answers.

    Raises:
        InputError: if there is no such model, it has no card that says what to do with a file, no file is named or
            there, no file can be read, or the bound is no probability.
    """
    if not 0 <= wish.unsure_below <= 1:
        raise InputError(f"--unsure-below is {wish.unsure_below}; expected a probability from 0 to 1.")
    if wish.json == wish.csv == STANDARD_OUTPUT:
        raise InputError("--json and --csv both are -, the standard output; expected one of them there.")
    if wish.draw is not None:
        place = next(place for place in (wish.draw, *wish.draw.absolute().parents) if place.exists())
        if not place.is_dir():
            raise InputError(f"--draw is {wish.draw}, and {place} is a file; expected a folder for the pictures.")
    keep_compiled_programs()
    model, card = load(path, wish.name, wish.seed)
    module, how = _module_of(path, model, card), _of_writing(wish, card)
    items = items_of(files, MEDIA[card.task])
    answers: list[Answer] = module.answer(model, card, items, **how)
    if all(answer.error for answer in answers):
        raise InputError(" ".join(answer.error for answer in answers[:3]))
    if wish.draw is not None:
        answers = _drawn(module, model, card, items, answers, wish.draw)
    texts = [(wish.json, as_json), (wish.csv, as_csv)]
    for place, text in texts:
        if place is not None:
            _write(place, text(answers, wish.unsure_below))
    if STANDARD_OUTPUT not in (wish.json, wish.csv):
        _print(answers, wish.unsure_below)
    return answers


def _of_writing(wish: Wish, card: Card) -> dict[str, Any]:
    """Returns the options of writing that were given, which a language model alone has.

    Raises:
        InputError: if one is given for another model or is out of its range, or a language model shall draw.
    """
    given = {"length": wish.length, "temperature": wish.temperature}
    given = {name: value for name, value in given.items() if value is not None}
    if card.task != "text":
        if given:
            raise InputError(f"--{next(iter(given))} is for language models, and this is a model for {card.task}.")
        return {}
    if wish.draw is not None:
        raise InputError("--draw is for models that are asked about pictures and clips; there is none of a text.")
    if given.get("length", 1) < 1 or not given.get("temperature", 0) >= 0:
        raise InputError(f"Expected --length of at least 1 and --temperature of at least 0, not {given}.")
    return given


def _module_of(path: str, model: Any, card: Card) -> Any:
    if card.task in NEEDED and not hasattr(model, NEEDED[card.task]):
        raise InputError(
            f"The card of {path} says that it is a model for {card.task}, and it is a {type(model).__name__}, which is "
            "none: give rowrnn.save the card of this model."
        )
    if card.task not in MEDIA:
        raise InputError(
            f"The model {path} has no card that says what to do with a file: train one by rowrnn train, or give its "
            "card to rowrnn.save."
        )
    return import_module(f"rowrnn.lab.predict.{card.task}")


def _write(place: Path, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")  # Names of files may be no UTF-8.
    if place == STANDARD_OUTPUT:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        return
    try:
        with whole_file(place) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise InputError(f"{place} cannot be written ({error.strerror}).") from None


def _print(answers: Sequence[Answer], below: float) -> None:
    from rowrnn.lab.report.tables import plain_table  # Imported only where used.
    from rowrnn.lab.report.terminal import terminal

    console = terminal()  # Standard output takes any text from now on.
    if any("forecast" in answer.details for answer in answers):
        for answer in answers:
            if not answer.error:
                console.print(plain_table(forecast_of(answer), shown(answer.file), padding=1))
    elif all("prompt" in answer.details or answer.error for answer in answers):
        written = [answer for answer in answers if not answer.error]
        for answer in written:
            heading = f"== {shown(answer.file)}\n" if len(written) > 1 else ""
            print(f"{heading}{answer.details['prompt']}{answer.answer}")
    else:
        console.print(plain_table(rows_of(answers, below), words=("file", "answer", "or")))
    for answer in answers:
        if answer.error:
            print(shown(answer.error), file=sys.stderr)


def _drawn(
    module: Any, model: Any, card: Card, items: Sequence[Any], answers: Sequence[Answer], folder: Path
) -> list[Answer]:
    """Writes a picture of each answer, and returns them with its place; those of files of one name are numbered."""
    import matplotlib.pyplot as plt  # Imported only where used: it takes long.

    from rowrnn.lab.report.style import drawing, save_images

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made ({error.strerror}).") from None
    taken: dict[str, int] = {}
    with_pictures = []
    for item, answer in zip(items, answers, strict=True):
        if answer.error:
            with_pictures.append(answer)
            continue
        name = file_name(Path(item.name).stem)
        taken[name] = taken.get(name, 0) + 1
        number = f"-{taken[name]}" if taken[name] > 1 else ""
        picture = folder / f"{name}{number}.png"
        try:
            with drawing():
                figure = module.picture_of(model, card, item, answer)
                figure.savefig(picture)
                plt.close(figure)
            for ending, images in module.images_of(model, card, item).items() if hasattr(module, "images_of") else ():
                save_images(folder / f"{name}{number}{ending}", images)
        except (OSError, Unreadable) as error:  # the answers are told all the same
            why = f" ({error.strerror})." if isinstance(error, OSError) else f": {error}"
            print(f"{picture} cannot be written{why}", file=sys.stderr)
            with_pictures.append(answer)
            continue
        with_pictures.append(replace(answer, details={**answer.details, "drawing": str(picture)}))
    drawn = sum("drawing" in answer.details for answer in with_pictures)
    print(f"{drawn} picture{'s' * (drawn != 1)} in {folder}", file=sys.stderr)
    return with_pictures
