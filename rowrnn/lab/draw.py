"""Pictures of a run, drawn from its results and arrays alone: all that these allow."""

from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from rowrnn.errors import InputError
from rowrnn.lab.report import learning_curves as training
from rowrnn.lab.report.style import STYLE
from rowrnn.lab.runs.record import load_run
from rowrnn.lab.tasks.captions import pictures as captions
from rowrnn.lab.tasks.classification import order_pictures as orders
from rowrnn.lab.tasks.classification import row_pictures as rows
from rowrnn.lab.tasks.gestures import pictures as gestures
from rowrnn.lab.tasks.lines import pictures as lines
from rowrnn.lab.tasks.memory import pictures as memory
from rowrnn.lab.tasks.moving_digits import pictures as moving_digits

MILLISECONDS = 150  # that a frame of an animation stands


def draw(directory: Path) -> list[Path]:
    """Draws every picture of the run in `directory` beside its results, as PNG, what moves as GIF; returns their paths.

    Raises:
        InputError: if the directory holds no run, or one with nothing to draw.
    """
    results, arrays = load_run(directory)
    paths = []
    with plt.rc_context(STYLE), plt.ioff():
        for kind in (training, rows, orders, memory, gestures, captions, lines, moving_digits):
            for name, figure in kind.pictures(results, arrays).items():
                paths.append(directory / f"{name}.png")
                figure.savefig(paths[-1])
                plt.close(figure)
    for name, frames in moving_digits.animations(results, arrays).items():
        paths.append(directory / f"{name}.gif")
        first, *others = map(Image.fromarray, frames)
        first.save(paths[-1], save_all=True, append_images=others, duration=MILLISECONDS, loop=0)
    if not paths:
        raise InputError(f"The run of {results['experiment']} in {directory} has nothing to draw.")
    return paths
