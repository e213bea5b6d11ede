"""Other numbers of devices and of threads: what is the same then, bit by bit, and what nearly."""

import os

import pytest

from tests.helpers.processes import told

pytestmark = pytest.mark.slow


def test_checkpoints_and_trainings_on_one_to_eight_devices():
    found = told("devices", JAX_NUM_CPU_DEVICES="8")
    assert found["meshes"] == {"1": 1, "2": 2, "4": 4, "8": 8}
    assert max(found["apart"].values()) < 1e-5
    assert found["different"] == 0
    assert found["next_loss_apart"] < 1e-6


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_step_has_the_same_bits_a_thousand_times_on_one_core_and_on_two():
    found = [told("repeating", str(cores), JAX_NUM_CPU_DEVICES="1", XLA_FLAGS="") for cores in (1, 2)]
    assert [each["cores"] for each in found] == [1, 2]
    assert [each["others"] for each in found] == [0, 0]
