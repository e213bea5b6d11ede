"""Differences of models over seeds, against the textbook's formulas."""

import numpy as np
import pytest
from scipy import special

from rowrnn.lab.report.columns import format_score
from rowrnn.lab.report.statistics import difference, interval

FIRST, SECOND = [0.91, 0.93, 0.90, 0.95], [0.94, 0.95, 0.94, 0.96]


def test_a_paired_difference_has_students_interval_of_the_differences():
    mean, bounds = difference(FIRST, SECOND, paired=True)
    apart = np.subtract(SECOND, FIRST)
    n = len(apart)
    deviation = np.sqrt(((apart - apart.mean()) ** 2).sum() / (n - 1))
    half = special.stdtrit(n - 1, 0.975) * deviation / np.sqrt(n)
    assert mean == pytest.approx(apart.mean())
    assert bounds == pytest.approx((apart.mean() - half, apart.mean() + half))


def test_an_unpaired_difference_has_the_interval_of_welch():
    first, second = FIRST, [0.7, 0.99, 0.95]
    mean, bounds = difference(first, second, paired=False)
    squares = [np.var(values, ddof=1) / len(values) for values in (first, second)]
    # Degrees of freedom after Welch and Satterthwaite.
    freedom = sum(squares) ** 2 / (squares[0] ** 2 / 3 + squares[1] ** 2 / 2)
    half = special.stdtrit(freedom, 0.975) * np.sqrt(sum(squares))
    assert mean == pytest.approx(np.mean(second) - np.mean(first))
    assert bounds == pytest.approx((mean - half, mean + half))


@pytest.mark.parametrize(
    ("first", "second", "paired"),
    [
        ([0.5], [0.75], True),
        ([0.5], [0.75, 0.25], False),
        ([0.5, 0.25], [0.75, 0.5], True),
        ([1.0, 1.0], [0.0, 0.0], False),
        ([0.90, 0.91], [0.93, 0.94], True),  # equal but for rounding
    ],
)
def test_there_is_no_interval_where_nothing_varies(first, second, paired):
    mean, bounds = difference(first, second, paired=paired)
    assert mean == pytest.approx(np.mean(second) - np.mean(first))
    assert bounds is None


def test_pairs_are_of_the_same_seeds():
    with pytest.raises(ValueError, match="as many values on both sides, not 1 and 2"):
        difference([1.0], [1.0, 2.0], paired=True)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.881], "88.10"),
        ([0.881, 0.881], "88.10"),
        ([1.0, 1.0, 1.0], "100.00"),
        ([0.3, 0.1 + 0.2], "30.00"),
        # 12.706 · |a − b| / 2 for two values: t of one degree of freedom at 97.5 %.
        ([0.88, 0.89], "88.50 ± 6.35"),
        ([0.88, 0.8800001], "88.00 ± <0.01"),
    ],
)
def test_a_score_has_an_interval_only_where_seeds_differ(values, text):
    assert format_score(interval(values)) == text
