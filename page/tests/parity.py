"""Compares what the page computes with JAX: hidden states and probabilities after every row of 1,000 test images.

python page/tests/parity.py FOLDER, after `node build.js --tests`; exits with 1 if they differ by more than 1e-5.
"""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np

from rowrnn.lab.data.mnist import load_bundled
from rowrnn.lab.page.reader_page import stored
from rowrnn.models import Classifier
from rowrnn.saving.model_file import bundled, load

READING = Path(__file__).parents[1] / "dist" / "tests" / "reading.mjs"
IMAGES, APART = 1_000, 1e-5


def apart(name: str, images: np.ndarray, folder: Path) -> dict[str, float]:
    """Returns the largest differences of a bundled model."""
    model, card = load(name)
    files = [folder / f"{name}.{suffix}" for suffix in ("json", "images", "numbers")]
    files[0].write_text(json.dumps(stored(name, model, card, 0)))
    files[1].write_bytes(images.tobytes())
    subprocess.run(["node", READING, *files], check=True)
    hidden, classes = model.rows.cell.hidden, len(card.classes)
    found = np.fromfile(files[2], np.float32).reshape(len(images), images.shape[1], hidden + classes)
    floats = card.needed_preprocessing().to_floats(images)
    outputs, _ = model.rows(floats)
    probabilities = jax.nn.softmax(model.logits_by_row(floats))
    return {
        "hidden": float(np.abs(found[..., :hidden] - outputs).max()),
        "probabilities": float(np.abs(found[..., hidden:] - probabilities).max()),
    }


def main(folder: Path) -> None:
    """Compares every bundled model that the page can show."""
    folder.mkdir(parents=True, exist_ok=True)
    images = np.asarray(load_bundled().test.images[:IMAGES])
    names = [name for name in bundled() if isinstance(load(name)[0], Classifier)]
    worst = 0.0
    for name in names:
        differences = apart(name, images, folder)
        worst = max(worst, *differences.values())
        print(f"{name}: {', '.join(f'{what} {by:.1e}' for what, by in differences.items())}")
    if not names or worst > APART:
        sys.exit(f"The page and JAX are apart by {worst:.1e}, more than {APART:.0e}.")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
