"""Writes what the tests of the page open: the page, the drawings that people made, and what `predict` says of them.

python page/tests/files.py FOLDER
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from rowrnn.lab.page.reader_page import write_page  # noqa: E402
from rowrnn.lab.predict.command import Wish, tell  # noqa: E402
from tests.helpers.drawings import drawings  # noqa: E402

MODELS = ("mnist_row_lstm", "mnist_row_gru")


def main(folder: Path) -> None:
    """Writes the files."""
    folder.mkdir(parents=True, exist_ok=True)
    print(write_page(folder / "page.html", MODELS))
    files = []
    for number, (digit, picture) in enumerate(drawings()):
        files.append(folder / f"{number:02}-{digit}.png")
        picture.save(files[-1])
    said = {}
    for model in MODELS:
        answers = tell(model, [str(file) for file in files], Wish())
        said[model] = [[answer.answer, answer.probability] for answer in answers]
    (folder / "predicted.json").write_text(json.dumps({"files": [file.name for file in files], **said}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
