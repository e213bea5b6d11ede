"""Arguments of every kind for every public function, in a process without type checks."""

import pytest

from tests.helpers.processes import told

pytestmark = pytest.mark.slow


def test_what_is_given_is_computed_or_refused_in_our_words():
    ended = told("fuzzing")
    assert sum(sum(each.values()) for each in ended.values()) >= 2_000
    # Functions that only refuse, or that take anything, are not being tried.
    assert all("refused" in each for each in ended.values()), ended
    assert sum("done" in each for each in ended.values()) >= len(ended) - 2, ended
