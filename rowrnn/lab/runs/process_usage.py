"""What the process has used so far: seconds, memory."""

import resource
import sys
import time

import psutil


def seconds_since_start() -> float:
    """Seconds since this process started, the interpreter's own start included."""
    return time.time() - psutil.Process().create_time()


def peak_memory() -> int:
    """Largest resident memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
