"""How busy other processes kept the machine while a record's times were measured."""

import re

from rowrnn.lab.runs.record import Record

NOTICED = 0.05
"""Share of all cores from which on it is said that other processes used them."""
TOO_MUCH = 0.1
"""Share from which on a table of times is no result."""
TIMES = re.compile(r"(?<![\w'])m?s\b|\bseconds\b|/s\b")


def others_load(record: Record) -> float:
    """Returns the largest share of all cores that other processes used while a row was measured; 0 if not known."""
    known = (entries.get("others_load") for entries in (record.entries, *record.summary))
    return max((share for share in known if share is not None), default=0.0)


def shows_times(record: Record) -> bool:
    """Returns whether the table of a record has times or speeds."""
    return any(TIMES.search(text) for row in record.table or () for text in row)


def load_noticed(*records: Record, least: float = NOTICED) -> str:
    """Says how busy other processes were while a table of times was measured; "" below the share `least`."""
    share = max((others_load(record) for record in records if shows_times(record)), default=0.0)
    if share < least:
        return ""
    return (
        f"Other processes used up to {100 * share:.0f} % of the processor meanwhile: on a quiet machine it is faster."
    )
