"""A request to stop that waits until what is under way is saved."""

import os
import signal
import socket
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
        if self._hears:
            # A handler waits for compiled code to return; a thread that is told of signals does not.
            told, self._teller = socket.socketpair()
            self._teller.setblocking(False)
            threading.Thread(target=_leave_at_the_second, args=(told,), daemon=True).start()
            self._before = {number: signal.signal(number, self._hear) for number in STOP_SIGNALS}
            self._descriptor = signal.set_wakeup_fd(self._teller.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hears:
            signal.set_wakeup_fd(self._descriptor)
            for number, handler in self._before.items():
                signal.signal(number, handler)
            self._teller.close()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number)


def _leave_at_the_second(told: socket.socket) -> None:
    """Ends the process at a Ctrl-C that is not the first signal to stop; of each signal comes its number, a byte."""
    heard = 0
    with told:
        while number := told.recv(1):
            heard += number[0] in STOP_SIGNALS
            if heard > 1 and number[0] == signal.SIGINT:
                # No clean-up: a checkpoint half-written has not got its name yet.
                os._exit(128 + signal.SIGINT)
