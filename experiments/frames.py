"""What comes next in a film?

A ConvLSTM and a ConvGRU read some frames of a film and predict those that follow; beside them stand the last frame
held, the last frame moved along the optical flow, and black. Rain that a radar sees is such a film: `--levels 64 164`
makes the bytes of 0 and 50 dBZ black and white, and the critical success index counts rain from 0.5 and 2 mm an hour
on. With `--given 1` a still begins to move.

    python experiments/frames.py --data FILMS            one seed of each
    python experiments/frames.py --data FILMS --full     three seeds
    python experiments/frames.py --data FILMS --quick    minutes: a small ConvGRU, few frames
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from rowrnn import lab
from rowrnn.lab.experiment.films import CELLS, COLUMNS, FilmOptions, FilmStudy
from rowrnn.lab.own.data_options import FilmData, OwnTraining


@dataclass(frozen=True)
class Options:
    """Trains models to predict the next frames of films."""

    models: Annotated[tuple[str, ...], lab.KnownNames(CELLS)] = tuple(CELLS)
    """Convolutional cells: lstm, gru."""
    params: lab.Count = 73_000
    """Parameter budget of each model, met within 3 %; the channels of its state follow from it."""
    film: lab.Group[FilmOptions] = FilmOptions(ahead=12, thresholds=(0.364, 0.556))
    training: lab.Group[lab.TrainingOptions] = OwnTraining(
        epochs=20, seeds=1, batch=8, optimizer="muon", learning_rate=8e-3, averaging=0.99, source=FilmData()
    )


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"models": ("gru",), "params": 30_000, "given": 4, "ahead": 4, "crop": 64, "epochs": 2},
    "full": {"seeds": 3},
}


class FramesStudy(FilmStudy):
    """Forecasters with a ConvLSTM and a ConvGRU, and baselines."""

    name = "frames"
    columns = (*COLUMNS, lab.PARAMETERS, ("channels", lab.WIDTH[1]), lab.SECONDS, lab.MEMORY)

    def contenders(self) -> Sequence[lab.Contender]:
        return [self.contender(name, budget=self.options.params) for name in self.options.models]


if __name__ == "__main__":
    lab.run(FramesStudy, Options, PRESETS)
