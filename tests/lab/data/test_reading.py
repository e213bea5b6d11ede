"""Reading of many items: the order of the results, and who reads them."""

import threading

import pytest

from rowrnn.lab.data import reading
from rowrnn.lab.data.listing import Item, Unreadable
from rowrnn.lab.data.reading import read_all


def items(count):
    return [Item(str(number), content=lambda number=number: bytes([number])) for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 70])
def test_items_come_in_their_order_whoever_reads_them(count, monkeypatch):
    def read(item):
        if item.name == "3":
            raise Unreadable("third")
        return item.read()[0]

    for slow in (10.0, 0.0):  # never, and from the first part on
        monkeypatch.setattr(reading, "SLOW", slow)
        found = list(read_all(items(count), read))
        assert [str(one) if isinstance(one, Unreadable) else one for one in found] == [
            "third" if number == 3 else number for number in range(count)
        ]


def test_slow_items_are_read_by_threads_as_soon_as_they_come(monkeypatch):
    readers, clock = {}, [0.0]
    monkeypatch.setattr(reading.time, "perf_counter", lambda: clock[0])  # the machine's own may be slow for all items

    def read(item):
        readers[int(item.name)] = threading.current_thread()
        clock[0] += 0.003 if int(item.name) >= 36 else 0.0001

    list(read_all(items(200), read))
    mine = [number for number, thread in readers.items() if thread is threading.main_thread()]
    assert mine == list(range(68))  # a part of 32 that was slow, and the quick ones before
