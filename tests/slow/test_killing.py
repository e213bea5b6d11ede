"""The main experiment, killed at random moments."""

import pytest

from tests.slow.killing import differences, killed

pytestmark = pytest.mark.slow


def test_a_run_that_was_killed_ten_times_ends_bit_by_bit_as_one_that_was_not(tmp_path):
    whole, cut, left = killed(tmp_path, kills=10, seed=0)
    assert len(left) == 10
    assert left == sorted(left)
    assert left[-1] >= "000001"
    assert differences(whole, cut) == []
    assert any(name.endswith(".safetensors") for name in whole)
