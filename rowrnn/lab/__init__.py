"""The laboratory: tasks, data sets, training that resumes after an interruption, and the parts of experiment scripts.

It needs the extra `lab`, `pip install 'rowrnn[lab]'`, and Linux or macOS. The names here are those that experiment
scripts import; the packages below define them.
"""

# ruff: noqa: E402 (missing packages are reported before they are imported)
from importlib.util import find_spec

# The packages of the extra `lab` that every experiment needs; the others are imported where they are used.
_PACKAGES = (
    *("optax", "orbax", "tensorflow_datasets", "grain", "PIL", "psutil", "scipy", "tyro", "rich", "matplotlib"),
    *("sacrebleu", "rapidfuzz", "jiwer", "skimage"),
)
_MISSING = [name for name in _PACKAGES if find_spec(name) is None]
if _MISSING:
    raise ModuleNotFoundError(
        f"The laboratory needs {', '.join(_MISSING)}, not installed here. Install it with: pip install 'rowrnn[lab]'",
        name=_MISSING[0],
    )
if find_spec("fcntl") is None:
    raise ImportError(
        "The laboratory runs on Linux and macOS: it locks the directory of a run by fcntl, which is not here. The "
        "library itself, `import rowrnn`, does not need it; on Windows, use WSL.",
        name="fcntl",
    )

from rowrnn.lab.budget import parameters, solve_width
from rowrnn.lab.data import Augmentation, Dataset, Split, as_float
from rowrnn.lab.experiment.classification import (
    CLASSIFIER_PROTOCOL,
    classification_task,
    classifier_card,
    classifier_table,
    score_classifier,
)
from rowrnn.lab.experiment.contender import Contender, Examined, Trial
from rowrnn.lab.experiment.data_options import DataOptions
from rowrnn.lab.experiment.option_checks import (
    AtLeast,
    Count,
    KnownNames,
    OptionalCount,
    Positive,
    Probability,
)
from rowrnn.lab.experiment.options import Group, Regularization, TrainingOptions, Unnamed
from rowrnn.lab.experiment.study import Setting, Study, run, run_study
from rowrnn.lab.report.columns import (
    ANSWERS,
    MEMORY,
    PARAMETERS,
    SECONDS,
    WIDTH,
    Column,
    format_score,
    generation_column,
    model_table,
    score_column,
)
from rowrnn.lab.report.statistics import interval
from rowrnn.lab.runs.record import Record
from rowrnn.lab.training import Task
from rowrnn.lab.training.contracts import Batch, Loss, Metrics, Score
from rowrnn.saving import Card

__all__ = [
    "ANSWERS",
    "CLASSIFIER_PROTOCOL",
    "MEMORY",
    "PARAMETERS",
    "SECONDS",
    "WIDTH",
    "AtLeast",
    "Augmentation",
    "Batch",
    "Card",
    "Column",
    "Contender",
    "Count",
    "DataOptions",
    "Dataset",
    "Examined",
    "Group",
    "KnownNames",
    "Loss",
    "Metrics",
    "OptionalCount",
    "Positive",
    "Probability",
    "Record",
    "Regularization",
    "Score",
    "Setting",
    "Split",
    "Study",
    "Task",
    "TrainingOptions",
    "Trial",
    "Unnamed",
    "as_float",
    "classification_task",
    "classifier_card",
    "classifier_table",
    "format_score",
    "generation_column",
    "interval",
    "model_table",
    "parameters",
    "run",
    "run_study",
    "score_classifier",
    "score_column",
    "solve_width",
]
