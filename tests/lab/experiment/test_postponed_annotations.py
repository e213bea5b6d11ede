"""Options of a module that postpones the evaluation of its annotations: checked and grouped like all others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from rowrnn import lab
from rowrnn.errors import InputError
from rowrnn.lab.experiment.options import check_options, values_by_name, with_values


@dataclass(frozen=True)
class Options:
    """A size, and the options of the training."""

    hidden: lab.Count = 3
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(epochs=2)


def test_the_options_of_a_group_stand_beside_the_others():
    values = values_by_name(with_values(Options(), epochs=5))
    assert (values["hidden"], values["epochs"]) == (3, 5)


def test_each_is_checked():
    with pytest.raises(InputError, match="--hidden is 0; expected at least 1"):
        check_options(Options(hidden=0))
    with pytest.raises(InputError, match=r"--learning-rate is -1\.0; expected a number above 0"):
        check_options(with_values(Options(), learning_rate=-1.0))
