"""Graceful handling of SIGINT and SIGTERM: the request waits until the state is saved."""

import os
import signal
import socket
import threading
from types import FrameType, TracebackType

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """A context in which Ctrl-C and SIGTERM only set `requested`; a second Ctrl-C ends the process at once.

    Python handles signals in the main thread: in other threads nothing changes.

    Args:
        hears: whether to handle the signals at all; if not, they act as before.
    """

    def __init__(self, hears: bool = True) -> None:
        self._hears = hears and threading.current_thread() is threading.main_thread()
        self.requested: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> "Interruption":
        if self._hears:
            # A handler runs only after compiled code returns; a thread that reads the wakeup descriptor does not wait.
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
    """Ends the process at a Ctrl-C that follows another stop signal; each signal arrives as one byte, its number."""
    heard = 0
    with told:
        while number := told.recv(1):
            heard += number[0] in STOP_SIGNALS
            if heard > 1 and number[0] == signal.SIGINT:
                # No clean-up is needed: a half-written checkpoint has not been renamed yet.
                os._exit(128 + signal.SIGINT)
