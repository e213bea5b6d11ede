"""What a saved model is for, what it takes and answers, and what it can do."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from rowrnn.errors import InputError
from rowrnn.saving.preprocessing import Preprocessing
from rowrnn.saving.series_columns import SeriesColumns

SCHEMA = 1
"""Number of the form of a card; a card with a higher one was written by a newer version."""


@dataclasses.dataclass(frozen=True)
class Card:
    """Description of a saved model.

    Args:
        task: what the model does: "images", "lines", "clips", "captions", "boxes", "masks", "frames",
            "text" or "series"; "" for anything else.
        title: its name in a sentence.
        preprocessing: what is done to an image before the model sees it; None where it takes arrays as they are.
        inputs: the arrays that the model takes, as "float32[b,28,28,1]"; letters are free sizes.
        classes: names of the classes, in the order of the scores.
        alphabet: characters that a line reader tells apart, in the order of the scores; the blank is not one.
        right_to_left: whether the lines that it reads run from right to left.
        language_texts: texts of which a line reader's language model is made, for the search of the best text.
        beam: strings that the search of a line reader or captioner keeps after each step.
        language_order: characters of the language model's longest n-grams.
        language_weight: factor of the language model's log-probabilities in that search.
        length_bonus: what that search adds for each character.
        vocabulary: words of a captioner, or symbols of a language model, in the order of their ids.
        unit: what a symbol of a language model is, "character" or "word".
        context: number of symbols that a language model read at once in training.
        frames_per_second: of the clips that it was trained on.
        most_frames: frames of the longest clips that it was trained on; of longer ones it gets so many, evenly spaced.
        given: number of frames from which a forecaster of videos predicted the next ones in training.
        ahead: number of frames that it predicted.
        least_score: score from which on a box of a detector counts as an object.
        series: columns that a forecaster of time series reads; None for other models.
        data: what it was trained on, in words.
        licence: terms under which it may be used.
        scores: what was measured, by name: numbers, or dicts of them.
        parameters: number of parameters.
        intended_use: what it is meant for, and what not.
        rowrnn: version of rowrnn that wrote the card; "" for the one that saves it.
        schema: number of the form of the card.

    Raises:
        InputError: if the schema is newer than this version knows.
    """

    task: str = ""
    title: str = ""
    preprocessing: Preprocessing | None = None
    inputs: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    alphabet: tuple[str, ...] = ()
    right_to_left: bool = False
    language_texts: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    beam: int = 10
    language_order: int = 5
    language_weight: float = 0.0
    length_bonus: float = 0.0
    vocabulary: tuple[str, ...] = ()
    unit: str = ""
    context: int | None = None
    frames_per_second: float | None = None
    most_frames: int | None = None
    given: int | None = None
    ahead: int | None = None
    least_score: float = 0.5
    series: SeriesColumns | None = None
    data: str = ""
    licence: str = ""
    scores: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    parameters: int | None = None
    intended_use: str = ""
    rowrnn: str = ""
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.schema > SCHEMA:
            raise InputError(
                f"The card has the schema {self.schema}, written by rowrnn {self.rowrnn or '(unknown)'}; this version "
                f"reads schemas up to {SCHEMA}: update rowrnn."
            )

    def needed_preprocessing(self) -> Preprocessing:
        """Returns the preprocessing.

        Raises:
            InputError: if there is none.
        """
        if self.preprocessing is None:
            raise InputError(
                "The model's card does not say what is done to a picture first: give rowrnn.save a card with a "
                "preprocessing."
            )
        return self.preprocessing

    def to_json(self) -> dict[str, Any]:
        """Returns the fields in terms of JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Card":
        """Returns the card that `to_json` described.

        An unknown field is refused, not skipped: it may say what must be done to an image, and whoever skips it gets
        wrong answers without a word. From the first release on, new fields come with a new schema.

        Raises:
            InputError: if the schema is newer than this version knows, or a field is unknown or of a wrong type.
        """
        if isinstance(fields.get("schema"), int) and fields["schema"] > SCHEMA:
            return cls(rowrnn=str(fields.get("rowrnn", "")), schema=fields["schema"])  # Refused by name.
        known = [field.name for field in dataclasses.fields(cls)]
        if unknown := sorted(set(fields) - set(known)):
            raise InputError(f"A card has no field {', '.join(unknown)}; its fields are {', '.join(known)}.")
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
        }
        if isinstance(preprocessing := fields.get("preprocessing"), Mapping):
            values["preprocessing"] = Preprocessing.from_json(preprocessing)
        if isinstance(series := fields.get("series"), Mapping):
            values["series"] = SeriesColumns.from_json(series)
        for field in dataclasses.fields(cls):
            if field.name in values and not _fits(values[field.name], getattr(cls(), field.name), field.name):
                raise InputError(f"The field {field.name} of a card cannot be {fields[field.name]!r}.")
        return cls(**values)


def _fits(value: Any, default: Any, name: str) -> bool:
    """Returns whether a value read from JSON is of the kind that a field has."""
    match name:
        case "preprocessing":
            return value is None or isinstance(value, Preprocessing)
        case "series":
            return value is None or isinstance(value, SeriesColumns)
        case "frames_per_second" | "most_frames" | "context" | "given" | "ahead" | "parameters":
            return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(isinstance(part, str) for part in value)
    if isinstance(default, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, Mapping if isinstance(default, Mapping) else type(default))
