"""The way of log lines to STDERR: a bounded queue and a thread that writes it. Nobody waits for the log's reader.

A pipe that nobody reads, a terminal stopped with ^S: a write there blocks for as long as it likes, and whoever logs
would wait with it, the control loop first of all. So a line is queued or, when the queue is full, dropped and counted;
the thread alone waits. What is queued when the process is killed is lost with it.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

LIMIT_BYTES: Final = 32 << 20
"""Bound of the queue: a burst of 100,000 lines of the Calculator's fits although the disk stands still meanwhile."""

FLUSH_S: Final = 2.0
STALL_S: Final = 1.0
"""A reader that has taken nothing for so long is not waited for at the end."""

_CHUNK_BYTES: Final = 65536  # at least so much in one write, as much as a pipe holds, if there is so much
_CHUNK_MAX_BYTES: Final = 1 << 20


class LogSink:
    """Writes lines to ``fd`` in the order they came.

    ``notice(n)`` makes the line that says that ``n`` lines are missing at its place. ``dropped`` counts all of them.
    """

    def __init__(self, fd: int, notice: Callable[[int], str], *, limit_bytes: int = LIMIT_BYTES) -> None:
        self.dropped = 0
        self._fd = fd
        self._notice = notice
        self._limit_bytes = limit_bytes
        self._lines: deque[bytes] = deque()
        self._queued_bytes = 0  # those in the thread's hand included
        self._missing = 0  # dropped since the last notice
        self._flooded = False
        self._gone = False
        self._idle = False
        self._progress_s = time.monotonic()
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, line: str) -> None:
        """Queue a line, or drop and count it when the queue is full; never waits for the reader."""
        self.write_bytes(line.encode("utf-8", "backslashreplace"))

    def write_bytes(self, line: bytes) -> None:
        """Likewise, a line that may be no UTF-8."""
        data = line + b"\n"
        with self._changed:
            if self._queued_bytes >= self._limit_bytes:
                self._drop(1)
                return
            self._say_missing()
            self._append(data)
            if self._idle:
                self._changed.notify_all()

    def takes_flood(self) -> bool:
        """Whether there is room for a line of the Calculator; if not, that line counts as dropped.

        A quarter of the queue is kept for the Supervisor's own lines, so that a Calculator that floods the log does not
        hide what becomes of it. Room is given again when half of the queue is free: few large gaps, not many small.
        """
        with self._changed:
            self._flooded = self._queued_bytes >= self._limit_bytes * (2 if self._flooded else 3) // 4
            if self._flooded:
                self._drop(1)
            return not self._flooded

    def flush(self, bound_s: float = FLUSH_S) -> None:
        """Wait until everything is written, for ``bound_s`` at most, and only while the reader takes something."""
        end_s = time.monotonic() + bound_s
        with self._changed:
            while self._queued_bytes or (self._missing and not self._gone):
                now_s = time.monotonic()
                if now_s >= end_s or now_s - self._progress_s >= STALL_S:
                    return
                self._changed.wait(0.02)

    def _drop(self, lines: int) -> None:
        self.dropped += lines
        self._missing += lines

    def _say_missing(self) -> None:
        if self._missing:
            self._append(self._notice(self._missing).encode("utf-8", "backslashreplace") + b"\n")
            self._missing = 0

    def _append(self, data: bytes) -> None:
        if not self._queued_bytes:
            self._progress_s = time.monotonic()  # the reader's time begins now
        self._lines.append(data)
        self._queued_bytes += len(data)

    def _run(self) -> None:
        while True:
            chunk, lines = self._take()
            written = self._write_out(chunk)
            with self._changed:
                self._queued_bytes -= len(chunk)
                self._gone = not written
                if not written:
                    self._drop(lines)
                self._changed.notify_all()

    def _take(self) -> tuple[bytes, int]:
        """Wait for lines; return some of them joined, and how many."""
        with self._changed:
            while not self._lines:
                if self._missing and not self._gone:  # nobody may come to say it later
                    self._say_missing()
                    break
                self._idle = True
                self._changed.wait()
                self._idle = False
            # A quarter of what waits: in a burst the thread gets the GIL back only every few milliseconds and must move
            # much each time; and a slow reader is seen to take something while there is hope to end in time.
            most = max(_CHUNK_BYTES, min(self._queued_bytes // 4, _CHUNK_MAX_BYTES))
            taken: list[bytes] = []
            length = 0
            while self._lines and (not taken or length + len(self._lines[0]) <= most):
                taken.append(self._lines.popleft())
                length += len(taken[-1])
            return b"".join(taken), len(taken)

    def _write_out(self, chunk: bytes) -> bool:
        """Write all of it; whether there was somebody to take it."""
        rest = memoryview(chunk)
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                # Somebody who shares the descriptor made it non-blocking.
                select.select([], [self._fd], [])
                continue
            except OSError:
                return False
            self._progress_s = time.monotonic()
        return True
