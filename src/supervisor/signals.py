"""Every signal that can be caught, taken by one thread from the first instruction of the process to its last.

``__main__`` blocks them before it does anything else, and one thread waits for them. So none needs a handler, which
something has to set up first and take down last: none is lost as PID 1 (the kernel drops there what has no handler, but
not what is blocked), and none ends the process by its default action while it starts or exits. A real fault still
kills: no thread can block the SIGSEGV that its own instruction causes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Final

# What the kernel lets be caught, less what is the reaper's.
_TAKEN: Final = frozenset(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}


def let_go() -> None:
    """Back to the default actions, for a program at a terminal."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


class Receiver:
    """The thread that takes the signals. Until ``give_to``, those that stop end the process with status 0.

    Which those are is known when the settings are: until ``stop_on`` it is SIGTERM and SIGINT, and others are kept for
    it. To be made before there is another thread, because threads inherit what is blocked.
    """

    def __init__(self) -> None:
        self._taker: Callable[[int], object] | None = None
        self._stops = frozenset({signal.SIGTERM, signal.SIGINT}) | frozenset[int]()
        self._came_early: set[int] = set()
        self._lock = threading.Lock()
        # A handler that Python did not set, faulthandler's or a sanitizer's, is left at its work.
        self._taken = {number for number in _TAKEN if signal.getsignal(number) is not None}
        signal.pthread_sigmask(signal.SIG_SETMASK, self._taken)
        threading.Thread(target=self._run, name="signals", daemon=True).start()

    def stop_on(self, numbers: frozenset[int]) -> None:
        """From now on these stop; one of them may have come already."""
        with self._lock:
            self._stops = numbers
            if self._came_early & numbers:
                os._exit(0)  # nothing was started yet

    def give_to(self, taker: Callable[[int], object]) -> None:
        """From now on call this with each signal's number, on the thread of the receiver."""
        with self._lock:
            self._taker = taker

    def ignore(self) -> None:
        """From now on nothing comes of a signal: everything is done, and the exit status stands."""
        self.give_to(lambda _signum: None)

    def _run(self) -> None:
        while True:
            signum = signal.sigwait(self._taken)
            with self._lock:
                if self._taker is not None:
                    self._taker(signum)
                elif signum in self._stops:
                    os._exit(0)  # nothing was started yet
                else:
                    self._came_early.add(signum)
