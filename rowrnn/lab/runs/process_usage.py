"""Run time and memory of this process."""

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
