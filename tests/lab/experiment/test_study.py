"""A study of one's own: what it must say, and what is made of it."""

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from matplotlib.figure import Figure

from rowrnn import lab
from rowrnn.errors import InputError
from rowrnn.lab.errors import Stopped, StorageError
from rowrnn.lab.experiment import study
from rowrnn.lab.experiment.options import with_values
from rowrnn.lab.runs import kept_models
from rowrnn.lab.tasks.classification.task import correct, cross_entropy
from rowrnn.saving import model_file


class OneLayer(nnx.Module):
    """Pixels times weights; a width of hidden units that do nothing but count as parameters."""

    def __init__(self, pixels, classes, width, rngs):
        self.layer = nnx.Linear(pixels, classes, rngs=rngs)
        self.idle = nnx.Param(jax.numpy.zeros(width))

    def __call__(self, images, *, key=None):
        return self.layer(images.reshape(images.shape[0], -1)) + 0 * self.idle[...].sum()


@dataclass(frozen=True)
class Options:
    """A linear classifier."""

    budgets: tuple[int, ...] = (7_950, 8_050)
    training: lab.Group[lab.TrainingOptions] = lab.TrainingOptions(epochs=2, seeds=2, batch=16, train_images=64)


class Mine(lab.Study[Options]):
    """Two models that differ in what does not matter."""

    name = "mine"
    protocol = lab.CLASSIFIER_PROTOCOL
    columns = (lab.score_column("validation %", "validation_accuracy"), lab.PARAMETERS, lab.WIDTH)

    def contenders(self):
        task = lab.classification_task(self.data, lab.Augmentation())
        return [
            lab.Contender(str(budget), f"Budget {budget}", self.build, task, budget=budget, about={"asked": budget})
            for budget in self.options.budgets
        ]

    def build(self, width, rngs):
        return OneLayer(np.prod(self.data.shape), self.data.classes, width, rngs)

    def setting(self):
        return lab.Setting({"shared": [1, 2]}, {"shared": np.arange(3)})

    def examine(self, trial):
        return lab.Examined({"seeds_seen": len(trial.models.layer.bias[...])}, {"bias": trial.model().layer.bias[...]})


@pytest.mark.slow
def test_a_study_of_ones_own_is_trained_saved_tabulated_and_drawn(tmp_path, capsys):
    options = with_values(Options(), output=tmp_path / "run")
    with jax.numpy_dtype_promotion("standard"):  # Schedules of optax multiply floats by step counts.
        directory = lab.run_study(Mine, options, chosen={"quick": False})
    assert directory == tmp_path / "run"
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["experiment"], results["finished"], results["shared"]) == ("mine", True, [1, 2])
    assert results["protocol"].items() >= {"budgets": [7_950, 8_050], "epochs": 2, "quick": False}.items()
    # 784 pixels by ten classes and their biases are 7,850 parameters; the width does the rest.
    assert [(row["parameters"], row["width"]) for row in results["summary"]] == [(7_950, 100), (8_050, 200)]
    assert [(row["asked"], row["seeds_seen"]) for row in results["summary"]] == [(7_950, 2), (8_050, 2)]
    assert results["table"][0] == ["model", "validation %", "para-\nmeters", "width"]
    assert [row[0] for row in results["table"][1:]] == list(results["curves"]) == ["Budget 7950", "Budget 8050"]
    with np.load(tmp_path / "run" / "arrays.npz") as arrays:
        assert set(arrays) == {"shared", "Budget 7950/bias", "Budget 8050/bias"}
    assert [path.name for path in (tmp_path / "run").glob("*.png")] == ["learning_curves.png"]
    assert "Budget 8050" in capsys.readouterr().out


class Unscored(Mine):
    """A study that must not look at its test set."""

    def setting(self):
        raise AssertionError("The test set was looked at.")

    def examine(self, trial):
        raise AssertionError("The test set was looked at.")


@pytest.mark.slow
def test_options_are_chosen_by_validation_scores_alone(tmp_path, standard_promotion):
    run = lab.run_study(Unscored, with_values(Options(budgets=(7_950,)), output=tmp_path / "run", choose=True))
    results = json.loads((run / "results.json").read_text())
    assert results["protocol"]["choose"]
    assert results["finished"]
    (row,), scores = results["summary"], np.array(results["curves"]["Budget 7950"]["validation_accuracy"])
    best = scores.max(axis=0)
    np.testing.assert_allclose(row["validation_accuracy"]["mean"], best.mean(), rtol=1e-6)
    epochs = [2 if last >= first else 1 for first, last in scores.T]
    assert results["table"][0][:3] == ["model", "validation accuracy %", "best epoch"]
    assert results["table"][1][2] == ", ".join(map(str, epochs))
    assert sorted(path.name for path in run.iterdir()) == ["learning_curves.png", "report.md", "results.json"]


class Stopping(Mine):
    """A study that is interrupted while its second model is examined."""

    name = "stopping"
    interrupted = True

    def examine(self, trial):
        if self.interrupted and trial.contender.about["asked"] == 8_050:
            raise Stopped("Stopped by a test.")
        return super().examine(trial)

    def pictures(self, record, arrays):
        figure = Figure()
        figure.suptitle(str(len(arrays)))
        return {"biases": figure}


class OtherData(Stopping):
    """The same study, whose test set has changed."""

    @classmethod
    def load(cls, options):
        data = super().load(options)
        return replace(data, test=data.test.first(9_000))


@pytest.mark.slow
def test_a_resumed_study_keeps_what_it_had_and_goes_on_where_it_was(tmp_path, monkeypatch, standard_promotion, capsys):
    run, other = tmp_path / "run", tmp_path / "other"
    with pytest.raises(Stopped):
        lab.run_study(Stopping, with_values(Options(), output=run))
    call = f"the same call, with resume=Path({str(run)!r}) in its TrainingOptions"
    assert f"Go on with: {call}" in capsys.readouterr().err
    before = json.loads((run / "results.json").read_text())
    assert [row["model"] for row in before["summary"]] == ["Budget 7950"]

    def broken(*_, **__):
        raise InputError("broken")

    # Whatever stops it before its first model is restored: nothing is lost.
    with monkeypatch.context() as patched:
        patched.setattr(study, "train_contender", broken)
        with pytest.raises(InputError, match="broken"):
            lab.run_study(Stopping, with_values(Options(), resume=run))
    kept = json.loads((run / "results.json").read_text())
    assert (kept["summary"], kept["curves"], kept["table"]) == (before["summary"], before["curves"], before["table"])
    with pytest.raises(InputError, match=r"run was started with --epochs 2, which is 3 now"):
        lab.run_study(Stopping, with_values(Options(), resume=run, epochs=3))
    with pytest.raises(InputError, match=r"The data of .*run was of test 10000, and is of 9000 now: resume it with"):
        lab.run_study(OtherData, with_values(Options(), resume=run))
    with pytest.raises(InputError, match=r"run is a run of stopping, not of mine"):
        lab.run_study(Mine, with_values(Options(), resume=run))
    monkeypatch.setattr(Stopping, "interrupted", False)
    lab.run_study(Stopping, with_values(Options(), resume=run))
    lab.run_study(Stopping, with_values(Options(), output=other))
    resumed, whole = (json.loads((path / "results.json").read_text()) for path in (run, other))
    assert (resumed["finished"], resumed["table"]) == (True, whole["table"])
    assert [row["model"] for row in resumed["summary"]] == ["Budget 7950", "Budget 8050"]
    assert (run / "biases.png").exists()


def test_two_models_of_one_title_are_refused(tmp_path):
    with pytest.raises(InputError, match="Two models have files named 'budget_7950', one of them 'Budget 7950'"):
        lab.run_study(Mine, with_values(Options(budgets=(7_950, 7_950)), output=tmp_path / "run"))
    assert list(tmp_path.iterdir()) == []


class Scored(Mine):
    """A study whose `examine` returns scores alone."""

    def examine(self, trial) -> Any:
        return {"test_accuracy": lab.interval([0.5])}


def test_scores_that_are_not_in_an_examined_are_refused(unchecked_types):
    unused: Any = None
    trial = lab.Trial(lab.Contender("one", "One", unused, unused), unused, {}, unused, (), None)
    with pytest.raises(TypeError, match=r"Scored.examine returned dict; expected lab.Examined: return"):
        study.with_generation_share(Scored(Options(), unused), trial)


def test_a_full_disk_while_a_model_is_kept_is_an_error_of_storage(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file, "save_file", full)
    models = jax.tree.map(lambda a: a[None], OneLayer(6, 2, 1, nnx.Rngs(0)))
    with pytest.raises(StorageError, match=r"The model 'A model' cannot be kept in .*models: .*No space left"):
        kept_models.keep_model(tmp_path, "A model", models, np.zeros((1, 2, 3), np.float32))
    assert list((tmp_path / "models").iterdir()) == []


def test_a_contender_has_a_width_or_a_budget():
    task = lab.Task(partial(cross_entropy, augmentation=lab.Augmentation()), correct, np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match="Nameless needs a width, or a budget of parameters"):
        lab.Contender("none", "Nameless", lambda width, rngs: None, task).solve()
