"""Which of the options of data each task of own files has: those that would do nothing are not offered."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro

from rowrnn.lab.data.shaping import Shaping
from rowrnn.lab.experiment.data_options import DataOptions, Size
from rowrnn.lab.experiment.options import TrainingOptions

T = TypeVar("T")
Hidden = Annotated[T, tyro.conf.Suppress, tyro.conf.Fixed]
"""An option that is not on the command line, nor in its help."""


@dataclass(frozen=True)
class ImageData(DataOptions):
    """Pictures with classes, of a data set or of own files."""

    data: str = ""
    """The data: a folder of pictures or parquet tables; a file .npz; mnist; a TensorFlow Datasets name; or hf:NAME."""
    text_column: Hidden[str | None] = None


@dataclass(frozen=True)
class OwnData(DataOptions):
    """Own files of any task."""

    data: str = ""
    """The data: a folder of files, of parquet tables, or hf:NAME of the Hugging Face hub."""
    data_dir: Hidden[Path | None] = None
    like_mnist: Hidden[bool] = False


@dataclass(frozen=True)
class ClipData(OwnData):
    """Clips with classes."""

    text_column: Hidden[str | None] = None


@dataclass(frozen=True)
class CaptionData(OwnData):
    """Pictures with sentences."""

    data_memory: Hidden[float | None] = None
    label_column: Hidden[str | None] = None


@dataclass(frozen=True)
class MaskData(CaptionData):
    """Pictures with masks, in their own resolution."""

    data: str = ""
    """The data: a folder with images and masks of the same names, or with such folders for each split."""
    size: Hidden[tuple[int, int] | None] = None
    fit: Hidden[Literal["pad", "stretch", "crop"]] = "pad"
    split_by: Hidden[str | None] = None
    text_column: Hidden[str | None] = None


@dataclass(frozen=True)
class BoxData(CaptionData):
    """Pictures with boxes."""

    data: str = ""
    """The data: a folder of pictures with metadata.jsonl, or of parquet tables, with a column objects; or hf:NAME."""
    size: Size = None
    """Height and width of the pictures, in pixels; where not given, the median of their own, at most 320 a side."""
    text_column: Hidden[str | None] = None


@dataclass(frozen=True)
class FilmData(OwnData):
    """Films without labels."""

    data: str = ""
    """The films: a folder of clips, or of such for each split; or a file .npz, uint8 [n, frames, height, width]."""
    size: Size = None
    """Height and width of the frames, in pixels; where not given, the median of their own, at most 320 a side."""
    levels: tuple[int, int] = (0, 255)
    """Values from 0 to 255 that become black and white."""
    split_by: Hidden[str | None] = None
    label_column: Hidden[str | None] = None
    text_column: Hidden[str | None] = None

    def shaping(self) -> Shaping:
        return dataclasses.replace(super().shaping(), levels=self.levels)


@dataclass(frozen=True)
class LineData(CaptionData):
    """Lines of text, which keep their aspect and are grey."""

    size: Hidden[tuple[int, int] | None] = None
    fit: Hidden[Literal["pad", "stretch", "crop"]] = "pad"
    colour: Hidden[Literal["auto", "grey", "colour"]] = "auto"


@dataclass(frozen=True)
class TextData(LineData):
    """Text alone."""

    data: str = ""
    """The text: a file, or a folder of .txt files, those of a split named after it, as train.txt."""
    split_by: Hidden[str | None] = None
    text_column: Hidden[str | None] = None


@dataclass(frozen=True)
class SeriesData(TextData):
    """A table over time."""

    data: str = ""
    """The table: a CSV file with a header."""


@dataclass(frozen=True)
class OwnTraining(TrainingOptions):
    """A training on all own files."""

    train_images: Hidden[int | None] = None
