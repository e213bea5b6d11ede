"""Writes what the tests of the pages open: the pages, drawings that people made, lines, and what Python says of them.

python page/tests/files.py FOLDER
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import rowrnn  # noqa: E402
from rowrnn.decoding import ctc  # noqa: E402
from rowrnn.lab.data.labelled import shaped  # noqa: E402
from rowrnn.lab.data.listing import Item  # noqa: E402
from rowrnn.lab.page.lines_page import as_on_page  # noqa: E402
from rowrnn.lab.page.writing import write_page  # noqa: E402
from rowrnn.lab.predict.command import Wish, tell  # noqa: E402
from rowrnn.lab.predict.lines import logits_of  # noqa: E402
from tests.helpers.drawings import drawings  # noqa: E402

MODELS = ("mnist_row_lstm", "mnist_row_gru")
READER = "french_lines"
TEXTS = ("le 3 janvier 1952", "une petite maison, et un grand jardin", "Ils sont partis")


def main(folder: Path) -> None:
    """Writes the files."""
    folder.mkdir(parents=True, exist_ok=True)
    print(write_page(folder / "classifier.html", MODELS))
    print(write_page(folder / "lines.html", [READER]))
    files = []
    for number, (digit, picture) in enumerate(drawings()):
        files.append(folder / f"{number:02}-{digit}.png")
        picture.save(files[-1])
    said: dict[str, list] = {}
    for model in MODELS:
        answers = tell(model, [str(file) for file in files], Wish())
        said[model] = [answer.answer for answer in answers]
    files_of_lines = [line(folder, number) for number in range(len(TEXTS))]
    lines = [[file.name, best_path(file)] for file in files_of_lines]
    (folder / "predicted.json").write_text(json.dumps({"files": [file.name for file in files], **said, "lines": lines}))


def line(folder: Path, number: int) -> Path:
    """Writes a line of print as a picture, each of another height."""
    font = ImageFont.load_default(30 + 9 * number)
    left, top, right, bottom = font.getbbox(TEXTS[number])
    picture = Image.new("L", (int(right - left) + 16, int(bottom - top) + 12), 255)
    ImageDraw.Draw(picture).text((8 - left, 6 - top), TEXTS[number], 0, font)
    picture.save(folder / f"line-{number}.png")
    return folder / f"line-{number}.png"


def best_path(file: Path) -> str:
    """Returns the text of the most probable path of the reader, with kernels rounded as on its page."""
    model, card = rowrnn.load(READER)
    logits, steps = logits_of(as_on_page(model), shaped(card.needed_preprocessing(), Item(file.name, file))[..., 0])
    found = ctc.best_path(logits, steps)
    return "".join(card.alphabet[label] for label in found.labels[0, : int(found.lengths[0])].tolist())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
