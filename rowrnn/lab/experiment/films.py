"""Forecasters of films in an experiment: options, data, task, scores, baselines and card."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int
from rich.progress import track

from rowrnn.cells import ConvCell, ConvGRU, ConvLSTM
from rowrnn.errors import InputError
from rowrnn.lab.data import as_float
from rowrnn.lab.data.listing import evenly
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.option_checks import Count
from rowrnn.lab.experiment.study import Setting, Study
from rowrnn.lab.report.columns import Column, Row, format_score, model_table, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.frames.files import FilmSet, films_of
from rowrnn.lab.tasks.frames.measures import critical_success, events, squared_error
from rowrnn.lab.tasks.frames.task import (
    HELD,
    film_baselines,
    film_events,
    film_loss,
    forecast,
    frame_errors,
    held_error,
    negative_mse,
    similarity,
)
from rowrnn.lab.training import Task
from rowrnn.models.forecaster import Forecaster
from rowrnn.saving.card import Card

CELLS: dict[str, type[ConvCell]] = {"lstm": ConvLSTM, "gru": ConvGRU}
SHOWN = 3  # test pieces in the record, evenly spaced
SIMILAR = 50  # test pieces of which SSIM is computed, evenly spaced: it is slow
DRAWS = 10_000  # of films, for intervals
SMALLEST = 1e-12  # squared error that is told from none
PROTOCOL = {
    "error": "squared error of a pixel in [0, 1]",
    "mse": "squared error of a pixel in [0, 1], mean over pixels, predicted frames and test pieces",
    "below_held": "by how much the error of each predicted frame, mean over the test films, is below that of the last "
    "frame held, as a fraction; below_held_films: its 95 % interval over test films, by bootstrap, "
    f"{DRAWS:,} draws of them",
    "success": "critical success index from each threshold on, hits / (hits + misses + false alarms), of all test "
    "pieces together, mean over the predicted frames",
    "ssim": f"scikit-image, windows of 7x7 pixels, data range 2, of at most {SIMILAR} test pieces, first seed",
    "validation": "negative squared error of a frame, summed over its pixels, of the validation pieces; it chooses the "
    "epoch",
    "test": "scored once, at the end, on every test piece",
}


@dataclass(frozen=True)
class FilmOptions:
    """What of a film is read and predicted, and how."""

    given: Count = 6
    """Frames that are given."""
    ahead: Count = 6
    """Frames that are predicted."""
    patch: Count = 8
    """Side of a patch, in pixels; a patch is one position of a cell's input."""
    reach: Count = 4
    """Pixels that things move from one frame to the next, at most; even."""
    motions: Count = 2
    """Different motions within a patch."""
    crop: Count = 112
    """Height and width of the parts of frames that are trained on, at most."""
    thresholds: tuple[float, ...] = (0.25, 0.5)
    """Values in [0, 1] from which on a pixel counts as bright, in the success of the table."""

    def check(self) -> None:
        """Checks what depends on several options.

        Raises:
            InputError: if they do not fit.
        """
        if self.patch % 2 or self.reach % 2 or self.crop % self.patch:
            raise InputError(
                f"--patch is {self.patch}, --reach {self.reach} and --crop {self.crop}; expected an even patch and "
                "reach, and parts that are a multiple of the patch."
            )
        names = [f"{threshold:g}" for threshold in self.thresholds]
        rising = list(self.thresholds) == sorted(self.thresholds) and len(set(names)) == len(names)
        if not names or not rising or not all(0 < threshold < 1 for threshold in self.thresholds):
            given = " ".join(map(str, self.thresholds))
            raise InputError(f"--thresholds are {given!r}; expected values between 0 and 1, the lowest first.")


def half_way(ahead: int) -> int:
    """Returns the place of the predicted frame half way to the last one."""
    return (ahead - 1) // 2


def _below(row: Row) -> str:
    return format_score(row["below_held"][half_way(len(row["below_held"]))], 1)


def _success(place: int) -> Callable[[Row], str]:
    def shown(row: Row) -> str:
        score: Any = [*row["success"].values()][place]
        return "-" if score is None else format_score(score, 1)

    return shown


COLUMNS: tuple[Column, ...] = (
    score_column("error\nx 1,000", "mse", 3, 1000.0),
    ("half way\nbelow held %", _below),
    ("success,\nlow %", _success(0)),
    ("success,\nhigh %", _success(-1)),
    score_column("SSIM", "ssim", 3, 1.0),
)


class FilmStudy(Study[Any]):
    """A study of forecasters of films; its options have a group `film` of `FilmOptions`.

    Its first columns are `COLUMNS`.
    """

    protocol = PROTOCOL

    def __init__(self, options: Any, data: FilmSet) -> None:
        super().__init__(options, data)
        self.film: FilmOptions = options.film
        self.reach = {"given": self.film.given, "ahead": self.film.ahead}

    @classmethod
    def check(cls, options: Any) -> None:
        options.film.check()

    @classmethod
    def load(cls, options: Any) -> FilmSet:
        source, film = options.training.source, options.film
        how = {"length": film.given + film.ahead, "multiple": film.patch}
        data = films_of(source.data, source.shaping(), source.budget(), **how)
        terminal().print(data.source, markup=False)
        return data

    def contender(self, name: str, **how: Any) -> Contender:
        """Returns a forecaster with a cell of `CELLS` as a contender."""
        unit = max(SMALLEST, held_error(self.data.train.frames, self.film.given))
        loss = partial(film_loss, **self.reach, crop=self.film.crop, unit=unit)
        task = Task(loss, self.score, self.data.train, self.data.validation, "negative_mse", ".1f")
        return Contender(name, CELLS[name].__name__, partial(self.build, name), task, **how)

    def score(self, model: Any, batch: Any) -> Any:
        """Returns the negative squared error of a frame of each piece."""
        return negative_mse(model, batch.frames, **self.reach)

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> Forecaster:
        """Builds a forecaster whose state has `width` channels."""
        how = {"patch": self.film.patch, "reach": self.film.reach, "motions": self.film.motions}
        return Forecaster(CELLS[name], width, self.data.shape, **how, rngs=rngs)

    def setting(self) -> Setting:
        frames, given = np.asarray(self.data.test.frames), self.film.given
        similar, errors, counts, similarities = {*evenly(len(frames), SIMILAR)}, {}, {}, {}
        pieces = track(frames, "Baselines", console=terminal(), transient=True, disable=not terminal().is_terminal)
        for number, video in enumerate(pieces):
            true = np.asarray(as_float(video[None, given:]))
            for name, predicted in film_baselines(video, **self.reach).items():
                errors.setdefault(name, []).append(squared_error(predicted, true)[0] / true[0, 0].size)
                counts.setdefault(name, []).append(np.asarray(events(predicted, true, self.film.thresholds))[0])
                if number in similar:
                    value = similarity(predicted, video[None], given=given)
                    similarities.setdefault(name, []).append(value)
        self.held = self._by_film(np.array(errors[HELD]))
        arrays: dict[str, Any] = {"video": frames[evenly(len(frames), SHOWN)]}
        self.baselines = {}
        for name, of_pieces in errors.items():
            scores, of_name = self._scores(np.array(of_pieces)[None], np.array(counts[name])[None])
            self.baselines[name] = {**scores, "ssim": interval([np.mean(similarities[name])])}
            arrays |= {f"{name}/{kind}": array for kind, array in of_name.items()}
        return Setting({"baselines": self.baselines}, arrays)

    def _scores(
        self, errors: Float[np.ndarray, "seeds n ahead"], counts: Int[np.ndarray, "seeds n ahead thresholds 2"]
    ) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Returns scores and arrays from the errors of a pixel and the events of each test piece."""
        of_films = np.stack([self._by_film(of_seed) for of_seed in errors])
        below = 1 - of_films.mean(axis=1) / np.maximum(self.held.mean(axis=0), SMALLEST)
        success = critical_success(counts)
        scores = {
            "mse": interval(errors.mean(axis=(1, 2))),
            "below_held": [interval(of_frame) for of_frame in below.T],
            "below_held_films": bootstrapped(of_films.mean(axis=0), self.held),
            "success": {f"{bound:g}": _interval(success[:, n]) for n, bound in enumerate(self.film.thresholds)},
        }
        return scores, {"error": errors.mean(axis=1), "error_by_film": of_films.mean(axis=0)}

    def _by_film(self, errors: Float[np.ndarray, "n ahead"]) -> Float[np.ndarray, "films ahead"]:
        """Returns the mean errors of the test pieces of each film."""
        films = np.asarray(self.data.test.films)
        return np.stack([errors[films == film].mean(axis=0) for film in np.unique(films)])

    def examine(self, trial: Trial) -> Examined:
        frames, given = np.asarray(self.data.test.frames), self.film.given
        errors = trial.evaluate(partial(frame_errors, **self.reach), frames) / frames[0, 0].size
        how = {**self.reach, "thresholds": tuple(self.film.thresholds)}
        scores, arrays = self._scores(errors, trial.evaluate(partial(film_events, **how), frames))
        predict, model = jax.jit(partial(forecast, **self.reach)), trial.model()
        similar = frames[evenly(len(frames), SIMILAR)]
        scores["ssim"] = interval([similarity(predict(model, similar), similar, given=given)])
        arrays["predicted"] = np.asarray(predict(model, frames[evenly(len(frames), SHOWN)]))
        example = as_float(frames[:1, :given])
        return Examined(scores, arrays, (example,), call=lambda model, x: model(x, self.film.ahead))

    def table(self, record: Record) -> list[list[str]]:
        """Returns errors and cost of each model, and the errors of each baseline."""
        table = model_table(self.heading, record.summary, self.columns)
        others = ["-"] * (len(self.columns) - len(COLUMNS))
        return [
            *table,
            *([name, *(of_row(row) for _, of_row in COLUMNS), *others] for name, row in self.baselines.items()),
        ]

    def card(self, trial: Trial) -> Card:
        height, width, channels = self.data.shape
        return Card(
            task="frames",
            title=trial.contender.title,
            preprocessing=self.data.preprocessing,
            inputs=(f"float32[b,{self.film.given},{height},{width},{channels}]",),
            frames_per_second=self.data.frames_per_second,
            given=self.film.given,
            ahead=self.film.ahead,
            data=self.data.source,
        )


def _interval(values: Float[np.ndarray, "seeds"]) -> dict[str, Any] | None:
    """Returns the interval of values; None where they are none, since there was no event."""
    return None if np.isnan(values).any() else interval(values)


def bootstrapped(
    errors: Float[np.ndarray, "films ahead"], held: Float[np.ndarray, "films ahead"]
) -> list[list[float]] | None:
    """Returns the 95 % interval of 1 minus the ratio of mean errors, at each frame, over draws of the films.

    Of a single film nothing is known of others: None.
    """
    films = len(errors)
    if films < 2:
        return None
    drawn = np.random.default_rng(0).multinomial(films, np.full(films, 1 / films), DRAWS) / films
    below = 1 - drawn @ errors / np.maximum(drawn @ held, SMALLEST)
    return np.quantile(below, (0.025, 0.975), axis=0).T.tolist()
