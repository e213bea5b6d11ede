"""Compares what the pages compute with JAX, after `node build.js --tests`: python page/tests/parity.py FOLDER

Of every bundled classifier that reads rows, hidden states and probabilities after every row of 1,000 test images; of
every bundled reader of lines, with its kernels rounded as on the page, the probabilities at every strip of lines; and
of models of other forms, with random weights. Exits with 1 if they differ by more than 1e-5. Of random pictures, what
is done to them before a model sees them: where Python rounds a tie in float32, a grey value may be another one.
"""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rowrnn.cells import GRU, LSTM
from rowrnn.lab.data.mnist import load_bundled
from rowrnn.lab.page import classifier_page, lines_page
from rowrnn.models import Classifier, LineReader
from rowrnn.models.line_reader import HANDWRITING
from rowrnn.saving.card import Card
from rowrnn.saving.model_file import bundled, load
from rowrnn.saving.preprocessing import Preprocessing

TESTS = Path(__file__).parents[1] / "dist" / "tests"
IMAGES, APART = 1_000, 1e-5
PICTURES = 20  # in which a digit is looked for
WIDTHS = (1, 4, 83, 640)  # of lines


def of_images(name: str, model: Classifier, card: Card, folder: Path) -> float:
    """Returns the largest difference of hidden states and of probabilities of a classifier."""
    how = card.needed_preprocessing()
    images = np.asarray(load_bundled().test.images[:IMAGES])
    if images.shape[1:] != (*how.size, how.channels):
        images = np.random.default_rng(2).integers(0, 256, (20, *how.size, how.channels), np.uint8)
    found = _read("reading.mjs", name, classifier_page.stored(name, model, card, 0), images, (), folder)
    hidden, classes = model.rows.cell.hidden, len(card.classes)
    found = found.reshape(len(images), images.shape[1], hidden + classes)
    floats = how.to_floats(images)
    outputs, _ = model.rows(floats)
    probabilities = jax.nn.softmax(model.logits_by_row(floats))
    return max(np.abs(found[..., :hidden] - outputs).max(), np.abs(found[..., hidden:] - probabilities).max())


def of_lines(name: str, model: LineReader, card: Card, folder: Path) -> float:
    """Returns the largest difference of probabilities of a reader of lines."""
    rng = np.random.default_rng(0)
    # Strokes that are smooth: half of a line is paper.
    lines = [np.maximum(0, rng.normal(0, 90, (model.height, width))).clip(0, 255).astype(np.uint8) for width in WIDTHS]
    content = lines_page.content(name, model, card)
    found = _read("reading_lines.mjs", name, content, np.concatenate([line.ravel() for line in lines]), WIDTHS, folder)
    rounded = lines_page.as_on_page(model)
    floats = [card.needed_preprocessing().to_floats(line[None, :, :, None]) for line in lines]
    expected = [np.asarray(jax.nn.softmax(rounded(line))).ravel() for line in floats]
    return float(np.abs(found - np.concatenate(expected)).max())


def of_pictures(folder: Path) -> int:
    """Returns by how many grey values pictures that are prepared differ at most."""
    rng = np.random.default_rng(1)
    hows = [Preprocessing((28, 28), like_mnist=True)] * PICTURES
    for fit in ("stretch", "pad", "crop"):
        for channels in (1, 3):
            colours = {"fit": fit, "channels": channels, "invert": channels == 1, "background": 40}
            hows += [Preprocessing((17, 23), **colours), Preprocessing((31, 12), levels=(20, 200), **colours)] * 5
    hows += [Preprocessing((20, None), invert=True)] * 5
    pictures = [rng.integers(0, 256, (*rng.integers(2, 60, 2), 4)).astype(np.uint8) for _ in hows]
    for picture in pictures:
        picture[..., 3] = 255
    cases = [
        {"how": how.to_json(), "height": picture.shape[0], "width": picture.shape[1]}
        for how, picture in zip(hows, pictures, strict=True)
    ]
    given, bytes_file, out = (folder / f"pictures.{suffix}" for suffix in ("json", "bytes", "out"))
    given.write_text(json.dumps(cases))
    bytes_file.write_bytes(b"".join(picture.tobytes() for picture in pictures))
    subprocess.run(["node", TESTS / "preparing.mjs", given, bytes_file, out], check=True)
    expected = [how.to_bytes(picture[None]).ravel() for how, picture in zip(hows, pictures, strict=True)]
    apart = np.fromfile(out, np.uint8).astype(int) - np.concatenate(expected)
    return int(np.abs(apart).max())


def made() -> dict[str, tuple[Classifier | LineReader, Card]]:
    """Returns models of forms that no bundled one has, with random weights: pooled over rows, of colours, one way."""
    rngs, classes = nnx.Rngs(0), tuple("abc")
    of_rows, of_colours = Preprocessing((28, 28), channels=1), Preprocessing((9, 7), channels=3)
    of_strips = Preprocessing((24, None), channels=1, invert=True)
    one_way = {"both_ways": False, "layers": 2, "channels": (4, 6, 8), "rngs": rngs}
    deep = {**HANDWRITING, "layers": 1, "rngs": rngs}
    found = {
        "mean": (Classifier(LSTM(28, 9, rngs=rngs), 3, pooling="mean", rngs=rngs), of_rows),
        "colours": (Classifier(GRU(21, 5, rngs=rngs), 3, rngs=rngs), of_colours),
        "one_way": (LineReader(24, 3, 7, cell=GRU, **one_way), of_strips),
        "deep": (LineReader(24, 3, 7, cell=LSTM, **deep), of_strips),
    }
    rng = np.random.default_rng(3)
    cards = {name: Card(classes=classes, alphabet=classes, preprocessing=how) for name, (_, how) in found.items()}

    def drawn(leaf: jax.Array) -> jax.Array:
        return jnp.asarray(rng.normal(0, 0.4, leaf.shape), jnp.float32)

    return {name: (jax.tree.map(drawn, model), cards[name]) for name, (model, _) in found.items()}


def _read(script: str, name: str, content: object, images: np.ndarray, widths: tuple, folder: Path) -> np.ndarray:
    """Returns the numbers that a script of the page's tests writes."""
    model, images_file, out = (folder / f"{name}.{suffix}" for suffix in ("json", "images", "numbers"))
    model.write_text(json.dumps(content))
    images_file.write_bytes(images.tobytes())
    subprocess.run(["node", TESTS / script, model, *map(str, widths), images_file, out], check=True)
    return np.fromfile(out, np.float32)


def main(folder: Path) -> None:
    """Compares every bundled model that a page can show, and those that are made."""
    folder.mkdir(parents=True, exist_ok=True)
    apart = {}
    for name, (model, card) in ({name: load(name) for name in bundled()} | made()).items():
        if isinstance(model, Classifier):
            apart[name] = of_images(name, model, card, folder)
        if isinstance(model, LineReader):
            apart[name] = of_lines(name, model, card, folder)
    for name, by in apart.items():
        print(f"{name}: apart by {by:.1e} at most")
    grey_values = of_pictures(folder)
    print(f"pictures that are prepared: apart by {grey_values} grey values at most")
    if grey_values > 1:
        sys.exit("Pictures are prepared otherwise than in Python.")
    if not apart or max(apart.values()) > APART:
        sys.exit(f"The pages and JAX are apart by more than {APART:.0e}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
