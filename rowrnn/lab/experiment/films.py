"""Forecasters of films in an experiment: data, task, scores, baselines and card."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from rowrnn.cells import ConvCell, ConvGRU, ConvLSTM
from rowrnn.errors import InputError
from rowrnn.lab.data import as_float
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.study import Setting, Study
from rowrnn.lab.report.columns import Column, Row, format_score, model_table, score_column
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.report.terminal import terminal
from rowrnn.lab.runs.record import Record
from rowrnn.lab.tasks.frames.files import FilmSet, films_of
from rowrnn.lab.tasks.frames.measures import critical_success, squared_error
from rowrnn.lab.tasks.frames.task import (
    events,
    film_baselines,
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
HELD = "last frame held"
SHOWN = 3  # test pieces in the record, evenly spaced
SIMILAR = 50  # test pieces of which SSIM is computed, evenly spaced: it is slow
DRAWS = 10_000  # of films, for intervals
PROTOCOL = {
    "mse": "squared error of a pixel in [0, 1], mean over pixels, predicted frames and test pieces",
    "below_held": "by how much the error of each predicted frame is below that of the last frame held, as a fraction; "
    f"below_held_films: the 95 % interval over test films, by bootstrap, {DRAWS:,} draws of them",
    "success": "critical success index from each threshold on, hits / (hits + misses + false alarms), of all test "
    "pieces together, mean over the predicted frames",
    "ssim": f"scikit-image, windows of 7x7 pixels, data range 2, of at most {SIMILAR} test pieces",
    "validation": "negative squared error of a frame, summed over its pixels, of the validation pieces; it chooses the "
    "epoch",
    "test": "scored once, at the end, on every test piece",
}


def half_way(ahead: int) -> int:
    """Returns the place of the predicted frame half way to the last one."""
    return (ahead - 1) // 2


def _below(row: Row) -> str:
    return format_score(row["below_held"][half_way(len(row["below_held"]))], 1)


def _success(place: int) -> Callable[[Row], str]:
    return lambda row: format_score([*row["success"].values()][place], 1)


COLUMNS: tuple[Column, ...] = (
    score_column("error\nx 1,000", "mse", 3, 1000.0),
    ("half way\nbelow held %", _below),
    ("success,\nlow %", _success(0)),
    ("success,\nhigh %", _success(-1)),
    score_column("SSIM", "ssim", 3, 1.0),
)


class FilmStudy(Study[Any]):
    """A study of forecasters of films; its options are those of `rowrnn train frames`.

    Its first columns are `COLUMNS`."""

    protocol = PROTOCOL

    def __init__(self, options: Any, data: FilmSet) -> None:
        super().__init__(options, data)
        self.reach = {"given": options.given, "ahead": options.ahead}
        self.thresholds = tuple(options.thresholds)

    @classmethod
    def check(cls, options: Any) -> None:
        if options.patch % 2 or options.crop % options.patch:
            raise InputError(
                f"--patch is {options.patch} and --crop {options.crop}; expected an even patch, and parts that are a "
                "multiple of it."
            )

    @classmethod
    def load(cls, options: Any) -> FilmSet:
        source, length = options.training.source, options.given + options.ahead
        how = {"length": length, "multiple": options.patch, "levels": tuple(options.levels)}
        data = films_of(source.data, source.shaping(), source.budget(), **how)
        terminal().print(data.source, markup=False)
        return data

    def contender(self, name: str, **how: Any) -> Contender:
        """Returns a forecaster with a cell of `CELLS` as a contender."""
        unit = max(1e-6, held_error(self.data.train.frames, self.options.given))
        loss = partial(film_loss, **self.reach, crop=self.options.crop, unit=unit)
        task = Task(loss, self.score, self.data.train, self.data.validation, "negative_mse", ".1f")
        return Contender(name, CELLS[name].__name__, partial(self.build, name), task, **how)

    def score(self, model: Any, batch: Any) -> Any:
        """Returns the negative squared error of a frame of each piece."""
        return negative_mse(model, batch.frames, **self.reach)

    def build(self, name: str, width: int, rngs: nnx.Rngs) -> Forecaster:
        """Builds a forecaster whose state has `width` channels."""
        options = self.options
        how = {"patch": options.patch, "reach": options.reach, "motions": options.motions}
        return Forecaster(CELLS[name], width, self.data.shape, **how, rngs=rngs)

    def setting(self) -> Setting:
        test, given = self.data.test, self.options.given
        true = np.asarray(as_float(np.asarray(test.frames)[:, given:]))
        self.baselines: dict[str, dict[str, Any]] = {}
        arrays: dict[str, Any] = {"video": test.frames[_some(len(test.frames), SHOWN)]}
        for name, predicted in film_baselines(test.frames, **self.reach).items():
            errors = squared_error(predicted, true) / true[0, 0].size
            by_film = _by_film(errors, np.asarray(test.films))
            success = {_shown(bound): critical_success(predicted, true, bound) for bound in self.thresholds}
            self.baselines[name] = {
                "mse": float(errors.mean()),
                "success": {bound: float(np.nanmean(of_frames)) for bound, of_frames in success.items()},
                "ssim": self._ssim(predicted),
            }
            arrays |= {f"{name}/error": errors.mean(axis=0, keepdims=True), f"{name}/error_by_film": by_film}
            if name == HELD:
                self.held = by_film
            ratio = by_film.mean(axis=0) / np.maximum(self.held.mean(axis=0), 1e-12)
            self.baselines[name]["below_held"] = 1 - float(ratio[half_way(len(ratio))])
        return Setting({"baselines": self.baselines}, arrays)

    def examine(self, trial: Trial) -> Examined:
        data, given = self.data, self.options.given
        pixels = data.shape[0] * data.shape[1] * data.shape[2]
        measure = partial(_errors, **self.reach)
        errors = trial.evaluate(measure, data.test) / pixels
        of_seeds = np.stack([_by_film(of_seed, np.asarray(data.test.films)) for of_seed in errors])
        counted = trial.evaluate(partial(_events, **self.reach, thresholds=self.thresholds), data.test)
        hits, either = np.moveaxis(counted.astype(np.int64).sum(axis=1), -1, 0)
        success = np.nanmean(np.where(either > 0, hits / np.maximum(either, 1), np.nan), axis=1)
        one = jax.tree.map(lambda array: array[0], trial.models)
        predict = jax.jit(partial(forecast, **self.reach))
        some = _some(len(data.test.frames), SIMILAR)
        scores = {
            "mse": interval(errors.mean(axis=(1, 2))),
            "success": {_shown(bound): interval(success[:, n]) for n, bound in enumerate(self.thresholds)},
            "ssim": interval([self._ssim(predict(one, data.test.frames[some]), chosen=True)]),
            "below_held": [interval(of_frame) for of_frame in (1 - of_seeds.mean(axis=1) / self.held.mean(axis=0)).T],
            "below_held_films": bootstrapped(of_seeds.mean(axis=0), self.held),
        }
        shown = predict(one, data.test.frames[_some(len(data.test.frames), SHOWN)])
        arrays = {"error": errors.mean(axis=1), "error_by_film": of_seeds.mean(axis=0), "predicted": np.asarray(shown)}
        example = as_float(data.test.frames[:1, :given])
        return Examined(scores, arrays, (example,), call=lambda model, x: model(x, self.options.ahead))

    def _ssim(self, predicted: Any, *, chosen: bool = False) -> float:
        """Returns the mean SSIM of predicted frames, of all test pieces or of those that are chosen."""
        some = _some(len(self.data.test.frames), SIMILAR)
        frames = self.data.test.frames[some]
        return similarity(predicted if chosen else predicted[some], frames, given=self.options.given)

    def table(self, record: Record) -> list[list[str]]:
        """Returns errors and cost of each model, and the errors of each baseline."""
        table = model_table(self.heading, record.summary, self.columns)
        for name, scores in self.baselines.items():
            below = "-" if name == HELD else f"{100 * scores['below_held']:.1f}"
            low, *_, high = [f"{100 * value:.1f}" for value in scores["success"].values()] * 2
            cells = [name, f"{1000 * scores['mse']:.3f}", below, low, high, f"{scores['ssim']:.3f}"]
            table.append([*cells, *["-"] * (1 + len(self.columns) - len(cells))])
        return table

    def card(self, trial: Trial) -> Card:
        height, width, channels = self.data.shape
        return Card(
            task="frames",
            title=trial.contender.title,
            preprocessing=self.data.preprocessing,
            inputs=(f"float32[b,{self.options.given},{height},{width},{channels}]",),
            frames_per_second=self.data.frames_per_second,
            given=self.options.given,
            ahead=self.options.ahead,
            data=self.data.source,
        )


def _errors(model: Any, batch: Any, *, given: int, ahead: int) -> Any:
    return frame_errors(model, batch.frames, given=given, ahead=ahead)


def _events(model: Any, batch: Any, *, given: int, ahead: int, thresholds: tuple[float, ...]) -> Any:
    return events(model, batch.frames, given=given, ahead=ahead, thresholds=thresholds)


def _shown(bound: float) -> str:
    return f"{bound:g}"


def _some(count: int, most: int) -> Int[np.ndarray, "n"]:
    """Returns at most so many numbers below a count, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))


def _by_film(errors: Float[np.ndarray, "n ahead"], films: Int[np.ndarray, "n"]) -> Float[np.ndarray, "films ahead"]:
    """Returns the mean errors of the pieces of each film."""
    return np.stack([errors[films == film].mean(axis=0) for film in np.unique(films)])


def bootstrapped(errors: Float[np.ndarray, "films ahead"], held: Float[np.ndarray, "films ahead"]) -> list[list[float]]:
    """Returns the 95 % interval of 1 minus the ratio of mean errors, at each frame, over draws of the films."""
    draws = np.random.default_rng(0).integers(0, len(errors), (DRAWS, len(errors)))
    below = 1 - errors[draws].mean(axis=1) / np.maximum(held[draws].mean(axis=1), 1e-12)
    return np.quantile(below, (0.025, 0.975), axis=0).T.tolist()
