"""Pictures of a run, drawn from its results and arrays alone: all that these allow."""

from pathlib import Path

import matplotlib.pyplot as plt

from rowrnn.errors import InputError
from rowrnn.plots import captions, memory, orders, rows, training
from rowrnn.plots.style import STYLE
from rowrnn.report import load


def draw(directory: Path) -> list[Path]:
    """Draws every picture of the run in `directory` beside its results, as PNG; returns their paths.

    Raises:
        InputError: if the directory holds no run, or one with nothing to draw.
    """
    results, arrays = load(directory)
    paths = []
    with plt.rc_context(STYLE), plt.ioff():
        for kind in (training, rows, orders, memory, captions):
            for name, figure in kind.pictures(results, arrays).items():
                paths.append(directory / f"{name}.png")
                figure.savefig(paths[-1])
                plt.close(figure)
    if not paths:
        raise InputError(f"The run of {results['experiment']} in {directory} has nothing to draw.")
    return paths
