"""A study in a process in which JAX has computed already, as in a notebook."""

import os

import pytest

from tests.helpers.processes import told

pytestmark = pytest.mark.slow


def test_a_study_trains_after_other_jax_calls_and_says_on_how_many_devices():
    found = told("in_a_notebook", XLA_FLAGS="")
    assert found["computed"] == 3
    assert {"results.json", "report.md", "learning_curves.png"} <= set(found["files"])
    if len(os.sched_getaffinity(0)) > 1:
        assert "JAX had started before this training, with 1 CPU device(s)" in found["said"]
        assert "jax_num_cpu_devices" in found["said"]


def test_a_study_uses_all_devices_that_were_asked_for_before_python_started():
    found = told("in_a_notebook", XLA_FLAGS="", JAX_NUM_CPU_DEVICES=str(len(os.sched_getaffinity(0))))
    assert "JAX had started" not in found["said"]
