"""How much longer does a folder of PNGs take to load than the same images from TensorFlow Datasets?

All images of a prepared set are written as PNGs into class folders. Both are loaded alternately in one process, into
the same `Dataset`: TFDS; the folder when nothing is cached; the folder at the second start.

    python benchmarks/own_data.py --data-dir ~/tensorflow_datasets    minutes; gives the committed results
    rowrnn publish runs/own_data                            renews results/ and the pages from a finished run
"""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark import open_benchmark
from PIL import Image

from rowrnn.lab.data.dataset import Dataset
from rowrnn.lab.data.decoded_cache import decoded
from rowrnn.lab.data.load import load
from rowrnn.lab.data.pictures import read_picture
from rowrnn.lab.data.sources.open import open_listing
from rowrnn.lab.experiment.command_line import run_experiment
from rowrnn.lab.experiment.option_checks import Count

PROTOCOL = {
    "times": "seconds from the call to a `Dataset` on the device, of all images of all splits, in each round",
    "tfds": "rowrnn.lab.data.load.load, from array_record files",
    "folder": "the same images as PNGs in class folders: listed, compared across splits, decoded, the cache written",
    "second start": "the folder again: listed, compared across splits, the decoded cache checked and read",
    "ratio": "median over rounds of the time of the folder ÷ that of TFDS in the same round",
}
WAYS = ("tfds", "folder", "second start")


@dataclass(frozen=True)
class Options:
    """Times the loading of a folder of PNGs against TensorFlow Datasets."""

    data: str = "fashion_mnist"
    """Name of a prepared set of TensorFlow Datasets."""
    data_dir: Path | None = None
    """Directory where it is prepared; default: that of TensorFlow Datasets."""
    rounds: Count = 5
    """Rounds; each way is timed once in each."""
    output: Path = Path("runs/own_data")
    """Directory for results; if it is taken, the next free name is used."""


def main(options: Options, chosen: Mapping[str, bool]) -> None:
    """Times all ways and prints the table."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    with (
        open_benchmark("own_data", PROTOCOL, options, chosen) as benchmark,
        tempfile.TemporaryDirectory() as directory,
    ):
        folder = Path(directory) / "images"
        data = load(options.data, options.data_dir)
        images = write_folder(folder, data)
        before = os.environ.get("XDG_CACHE_HOME")
        try:
            for number in benchmark.track(range(options.rounds)):
                os.environ["XDG_CACHE_HOME"] = str(Path(directory) / f"cache {number}")  # empty
                # The order alternates, since the first one runs with colder caches.
                order = WAYS if number % 2 == 0 else ("folder", "second start", "tfds")
                for way in order:
                    again = (
                        (lambda: load(options.data, options.data_dir)) if way == "tfds" else lambda: of_folder(folder)
                    )
                    seconds[way].append(timed(again))
                benchmark.save(images=images, times=seconds, ratios=ratios(seconds), table=table(seconds))
        finally:
            if before is None:
                del os.environ["XDG_CACHE_HOME"]
            else:
                os.environ["XDG_CACHE_HOME"] = before


def timed(call: Callable[..., Any], *arguments: Any) -> float:
    """Returns the seconds of a call."""
    started = time.perf_counter()
    call(*arguments)
    return time.perf_counter() - started


def write_folder(folder: Path, data: Dataset) -> int:
    """Writes all images of a data set as PNGs into class folders of its splits; returns their number."""
    count = 0
    for split in ("train", "validation", "test"):
        examples: Any = getattr(data, split)
        for name in data.class_names:
            (folder / split / name.replace("/", " or ")).mkdir(parents=True)
        for image, label in zip(np.asarray(examples.images), np.asarray(examples.labels), strict=True):
            array = image[..., 0] if image.shape[-1] == 1 else image
            path = folder / split / data.class_names[label].replace("/", " or ") / f"{count}.png"
            Image.fromarray(array).save(path)
            count += 1
    return count


def of_folder(folder: Path) -> Dataset:
    """Loads the images of a folder as TFDS' are loaded: in memory, checked, on the device."""
    listing = open_listing(folder)
    number = {name: index for index, name in enumerate(listing.classes)}
    arrays = {}
    for split, items in listing.splits.items():
        images = decoded(items, read_picture, "as they are").stacked()
        arrays[split] = images, np.array([number[item.columns["label"]] for item in items])
    train = tuple(np.concatenate(parts) for parts in zip(arrays["train"], arrays["validation"], strict=True))
    return Dataset.from_arrays(folder.name, train, arrays["test"], listing.classes, listing.source)


def ratios(seconds: Mapping[str, list[float]]) -> dict[str, float]:
    """Returns for each way the median over rounds of its time ÷ that of TFDS."""
    return {way: float(np.median(np.divide(seconds[way], seconds["tfds"]))) for way in WAYS}


def table(seconds: Mapping[str, list[float]]) -> list[list[str]]:
    """Returns a header and rows: the median seconds of each way, and its ratio to TFDS."""
    found = ratios(seconds)
    rows = [[way, f"{np.median(seconds[way]):.2f}", f"{found[way]:.2f}"] for way in WAYS]
    return [["", "seconds", "ratio to TFDS"], *rows]


if __name__ == "__main__":
    run_experiment(Options, main, {})
