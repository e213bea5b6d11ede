"""Which items of a listing are looked at."""

import numpy as np
import pytest

from rowrnn.lab.data.listing import Item, spread


@pytest.mark.parametrize(("items", "count"), [(380, 200), (21, 20), (5, 20), (1, 3)])
def test_what_is_looked_at_is_spread_from_the_first_item_to_the_last(items, count):
    found = [int(item.name) for item in spread([Item(str(number)) for number in range(items)], count)]
    assert len(found) == min(items, count)
    assert (found[0], found[-1]) == (0, items - 1)
    assert max(np.diff(found), default=0) <= -(-items // count)
