"""Reading of many items in threads, in their order; those that cannot be read are told apart."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice, pairwise
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from rowrnn.errors import InputError
from rowrnn.lab.data.listing import Item, Unreadable

FIRST, AT_ONCE = 4, 32  # items that are read in a row, at first and then
SLOW = 1e-3  # seconds for an item from which on threads read faster than one: below, they wait for Python's lock
MOST_UNREADABLE = 0.01
NAMED = 5

T = TypeVar("T")


def read_all(items: Sequence[Item], read: Callable[[Item], T], doing: str = "Reading") -> Iterator[T | Unreadable]:
    """Reads items in threads and yields, in their order, what was read of each, or the error of an unreadable one.

    A bar on the standard error, where that is a terminal, shows how many are read.

    Args:
        items: what to read.
        read: a function of an item that raises `Unreadable` where its file is damaged.
        doing: what is done, for the bar.
    """

    def some(part: Sequence[Item]) -> list[T | Unreadable]:
        return [_attempt(read, item) for item in part]

    starts = [0, *range(FIRST, len(items), AT_ONCE), len(items)]
    parts = (items[start:end] for start, end in pairwise(starts) if end > start)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(doing, total=len(items))
        for results in chain(_while_quick(some, parts), _in_threads(some, parts)):
            progress.advance(bar, len(results))
            yield from results


def _while_quick(f: Callable[[Sequence[Item]], list[T]], parts: Iterator[Sequence[Item]]) -> Iterator[list[T]]:
    """Yields what a function makes of each part, up to the first one that takes longer than `SLOW` an item."""
    for part in parts:
        started = time.perf_counter()
        results = f(part)
        seconds = time.perf_counter() - started
        yield results
        if seconds > SLOW * len(part):
            return


def _in_threads(f: Callable[[Sequence[Item]], list[T]], parts: Iterator[Sequence[Item]]) -> Iterator[list[T]]:
    """Yields what a function makes of each part, in their order; threads work on the next ones meanwhile."""
    threads = min(32, os.cpu_count() or 1) + 1
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[list[T]]] = deque(pool.submit(f, part) for part in islice(parts, 2 * threads))
        try:
            while waiting:
                results = waiting.popleft().result()
                waiting.extend(pool.submit(f, part) for part in islice(parts, 1))
                yield results
        finally:
            for future in waiting:
                future.cancel()


def _attempt(read: Callable[[Item], T], item: Item) -> T | Unreadable:
    try:
        return read(item)
    except Unreadable as error:
        return error


def check_unreadable(errors: Sequence[str], total: int) -> str:
    """Returns a sentence that counts and names unreadable files; "" where there are none.

    Raises:
        InputError: if they are more than 1 % of all, or all.
    """
    if not errors:
        return ""
    named = " ".join(errors[:NAMED])
    more = f" And {len(errors) - NAMED:,} more." if len(errors) > NAMED else ""
    if len(errors) > MOST_UNREADABLE * total:
        raise InputError(
            f"{len(errors):,} of {total:,} files cannot be read, more than {MOST_UNREADABLE:.0%}: {named}{more} Mend "
            "these files or take them out."
        )
    return f"WARNING: {len(errors):,} of {total:,} files left out, which cannot be read: {named}{more}"
