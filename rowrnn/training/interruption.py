"""A request to stop that waits until what is under way is saved."""

import os
import signal
import threading
from types import FrameType, TracebackType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Hears Ctrl-C and SIGTERM within its block, where `requested` then says which; a second Ctrl-C leaves at once.

    Signals come to a process's main thread: elsewhere they act as they did before.

    Args:
        hears: whether to hear at all; where not, signals act as they did before.
    """

    def __init__(self, hears: bool = True) -> None:
        self._hears = hears and threading.current_thread() is threading.main_thread()
        self.requested: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> "Interruption":
        for number in STOP_SIGNALS if self._hears else ():
            self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None and number == signal.SIGINT:
            # No clean-up: a checkpoint half-written has not got its name yet.
            os._exit(128 + number)
        self.requested = signal.Signals(number)
