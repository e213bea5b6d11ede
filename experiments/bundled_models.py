"""Trains the models that come with rowrnn, and keeps the best seed of each, by validation, with its card.

    python experiments/bundled_models.py mnist_row_lstm mnist_row_gru
    python experiments/bundled_models.py fashion_row_gru pneumonia_row_gru --data-dir ~/tensorflow_datasets
    python experiments/bundled_models.py french_lines --data ~/copiste_lines
    python experiments/bundled_models.py lips --data ~/grid_lips

Each name trains as `rowrnn train TASK` with the arguments below does, to `runs/NAME`; a finished run there is taken as
it is, and an interrupted one goes on. The file is then `rowrnn/saving/bundled/NAME.safetensors`.
"""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

import rowrnn
from rowrnn.lab.experiment.command_line import exit_on_error
from rowrnn.lab.experiment.option_checks import check_names
from rowrnn.lab.own.command import train
from rowrnn.lab.runs.record import RESULTS, read_record
from rowrnn.saving.model_file import BUNDLED


@dataclass(frozen=True)
class Recipe:
    """How a bundled model is made.

    Args:
        task: of `rowrnn train`.
        arguments: of the command; without `--data` where it must be given.
        data: what it is trained on, in words, with credit.
        licence: terms of the weights.
        intended_use: what it is for, and what not.
    """

    task: str
    arguments: Sequence[str]
    data: str
    licence: str
    intended_use: str


DIGITS = ("--data", "mnist", "--params", "30000", "--epochs", "20", "--seeds", "3", "--batch", "64")
FASHION = (
    *("--data", "fashion_mnist", "--params", "90000", "--epochs", "40", "--seeds", "3", "--averaging", "0.999"),
    *("--batch", "128", "--shift", "1", "--rotation", "5", "--shear", "0.05"),
)
HANDWRITING = (
    *("--epochs", "36", "--batch", "12", "--optimizer", "muon", "--learning-rate", "8e-3", "--dropout", "0.2"),
    *("--slant", "0.15", "--elastic", "0.7", "--language-weight", "0.5", "--length-bonus", "1.25"),
)
MNIST = {
    "task": "images",
    "data": "MNIST (LeCun, Cortes and Burges), 60,000 images of handwritten digits",
    "licence": "CC BY-SA 3.0",
    "intended_use": "single handwritten digits, any pen and paper; no letters, and no several digits in a picture",
}
MODELS: dict[str, Recipe] = {
    "mnist_row_lstm": Recipe(arguments=("--model", "lstm", *DIGITS), **MNIST),
    "mnist_row_gru": Recipe(arguments=("--model", "gru", *DIGITS), **MNIST),
    "fashion_row_gru": Recipe(
        "images",
        ("--model", "gru", *FASHION),
        "Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, Zalando SE), 60,000 pictures of clothes, 28x28",
        "MIT",
        "to try a model on grey pictures of single clothes, light on dark; not for photographs",
    ),
    "pneumonia_row_gru": Recipe(
        "images",
        ("--data", "pneumonia_mnist", "--model", "gru", "--params", "30000", "--seeds", "5"),
        "PneumoniaMNIST of MedMNIST v2 (Yang et al. 2023; Kermany et al. 2018), 5,856 chest X-rays of children, 28x28",
        "CC BY 4.0",
        "to try a model on small medical images; not for diagnosis, and not for pictures of other machines or ages",
    ),
    "french_lines": Recipe(
        "lines",
        ("--model", "lstm", "--seeds", "3", *HANDWRITING),
        "Copiste d'un jour 2024 (BAnQ), 5,410 lines of French handwriting by 268 hands",
        "CC BY 4.0",
        "single lines of French handwriting, levelled, dark on light; hands unlike those of the set are read worse",
    ),
    "lips": Recipe(
        "clips",
        ("--model", "gru", "--colour", "grey", "--frames", "12", "--seeds", "3"),
        "GRID corpus (Cooke et al. 2006), lips of one speaker, 51 words",
        "CC BY 4.0",
        "to try a model on clips; it knows one person's lips and 51 words",
    ),
}


def main(
    names: tyro.conf.Positional[tuple[str, ...]],
    data: str | None = None,
    data_dir: Path | None = None,
    output: Path = BUNDLED,
    options: Sequence[str] = (),
) -> None:
    """Trains models and writes them with their cards.

    Args:
        names: names of the models.
        data: folder of the data, of models that are trained on a folder.
        data_dir: directory of TensorFlow Datasets.
        output: folder to write to.
        options: further options of `rowrnn train`.
    """
    check_names("names", names, MODELS)
    for name in names:
        recipe, run = MODELS[name], Path("runs") / name
        given = [*(["--data", data] if data else []), *(["--data-dir", str(data_dir)] if data_dir else [])]
        if not (run / RESULTS).exists():
            train(recipe.task, [*recipe.arguments, *given, *options, "--output", str(run)])
        elif not read_record(run).finished:
            train(recipe.task, ["--resume", str(run)])
        print(keep(run, recipe, output / f"{name}.safetensors"))


def keep(run: Path, recipe: Recipe, file: Path) -> str:
    """Writes the model of the seed with the best validation score; returns a line that says so."""
    (row,) = read_record(run).summary
    seed = best_seed(row)
    model, card = rowrnn.load(run, seed=seed)
    card = dataclasses.replace(
        card,
        data=recipe.data,
        licence=recipe.licence,
        intended_use=recipe.intended_use,
        scores=scores_of(row, seed),
    )
    file.parent.mkdir(exist_ok=True)
    rowrnn.save(model, file, card)
    return f"{file}: seed {seed}, {file.stat().st_size:,} bytes, {card.scores}"


def best_seed(row: Mapping[str, Any]) -> int:
    """Returns the seed, from 0, with the best validation score."""
    (validation,) = (score for name, score in row.items() if name.startswith("validation_"))
    return int(np.argmax(validation["values"]))


def scores_of(row: Mapping[str, Any], seed: int) -> dict[str, float]:
    """Returns the test scores of one seed."""
    scores = {name: value for name, value in row.items() if isinstance(value, Mapping) and "values" in value}
    return {name: value["values"][seed] for name, value in scores.items() if not name.startswith("validation_")}


if __name__ == "__main__":
    with exit_on_error(Path(sys.argv[0]).name):
        tyro.cli(main)
