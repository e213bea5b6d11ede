"""Run time and memory of this process, and how busy others keep the machine meanwhile."""

import resource
import sys
import time

import psutil


def seconds_since_start() -> float:
    """Returns the seconds since this process started, including the start of the interpreter."""
    return time.time() - psutil.Process().create_time()


def peak_memory() -> int:
    """Returns the largest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class OthersLoad:
    """Load of the machine by other processes, from the making of this object on."""

    def __init__(self) -> None:
        self._before = _processor_seconds()

    def share(self) -> float:
        """Returns the share of all cores, from 0 to 1, that other processes used."""
        total, busy, own = (after - before for after, before in zip(_processor_seconds(), self._before, strict=True))
        return min(1.0, max(0.0, busy - own) / total) if total > 0 else 0.0


def _processor_seconds() -> tuple[float, float, float]:
    """Returns the seconds of all cores since the start, those that were not idle, and those of this process.

    Children of this process that have ended, as those of a benchmark, belong to it.
    """
    machine, process = psutil.cpu_times(), psutil.Process().cpu_times()
    idle = machine.idle + getattr(machine, "iowait", 0.0)
    guests = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)  # counted as user's time, too
    total = sum(machine) - guests
    return total, total - idle, sum(process[:4])
