"""The Calculator's STDERR as events of the log: always drained, every byte kept, a bounded share of the loop.

What the log's reader does not take is dropped line by line and counted by the log; the Calculator waits for no reader.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

import structlog

from supervisor import calculator_log, logs
from supervisor.stderr_tail import StderrTail

log = structlog.get_logger("supervisor.calculator")

MAX_PIECE_BYTES: Final = 65536
"""A longer line is logged in pieces of this size; each but the last is marked ``continues=True``."""

UNFINISHED_S: Final = 5.0
"""What has no newline for so long is logged as a piece: a progress bar, a question."""

_READ_BYTES: Final = 65536
# A share; then everybody else on the loop has a turn: a few milliseconds of formatting.
_LINES_PER_STEP: Final = 100
_BYTES_PER_STEP: Final = 1 << 18


class StderrLog:
    """Drains ``fd``, non-blocking, which it owns and closes, from its creation in the running loop until ``finish``.

    A Calculator that writes faster than lines are made of it fills the pipe and waits in its write: bounded, in order.
    ``write`` makes log lines of them, ``tail`` gets the beginning of each.
    """

    def __init__(
        self,
        fd: int,
        pid: int,
        *,
        write: calculator_log.Write = calculator_log.wrap,
        tail: StderrTail | None = None,
        unfinished_s: float = UNFINISHED_S,
    ) -> None:
        self.lines = 0
        self.tail = StderrTail() if tail is None else tail
        self._write = write
        self._unfinished_s = unfinished_s
        self._fd = fd
        self._pid = pid
        self._pending = bytearray()
        self._within_line = False  # a piece of the line that is read has been logged
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.Handle | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._loop.add_reader(fd, self._on_readable)

    async def finish(self, bound_s: float) -> None:
        """Log what the ended Calculator left in the pipe, then close it.

        A process that left the Calculator's group may still hold the other end and go on writing: nothing is waited
        for, and what cannot be logged within ``bound_s`` is cut off and said so.
        """
        end_s = self._loop.time() + bound_s
        self._stop_watching()
        while self._loop.time() < end_s:
            if self._log_some():
                await asyncio.sleep(0)
            elif not self._read():
                if self._pending:
                    self._log_piece(len(self._pending))
                break
        self.close()

    def close(self) -> None:
        """Close the pipe and leave what is still in it."""
        if not self._open:
            return
        self._open = False
        self._stop_watching()
        os.close(self._fd)
        if self._pending:
            log.warning("calculator stderr cut off", pid=self._pid, unlogged_bytes=len(self._pending))

    def _stop_watching(self) -> None:
        self._loop.remove_reader(self._fd)
        for handle in (self._again, self._overdue):
            if handle is not None:
                handle.cancel()
        self._overdue = None

    def _on_readable(self) -> None:
        if self._read() == 0:
            self._loop.remove_reader(self._fd)  # the end: it would stay readable for ever
        self._step()

    def _step(self) -> None:
        """Log a share; while lines are left, come back after everybody else instead of reading on."""
        if self._log_some():
            if self._again is None:
                self._loop.remove_reader(self._fd)
            self._again = self._loop.call_soon(self._step)
        elif self._again is not None:
            self._again = None
            self._loop.add_reader(self._fd, self._on_readable)
        if self._pending and self._overdue is None:
            self._overdue = self._loop.call_later(self._unfinished_s, self._log_unfinished)

    def _log_unfinished(self) -> None:
        self._overdue = None
        whole = len(self._pending) - _begun_character_bytes(self._pending[-3:])
        if self._again is None and whole > 0:  # else its lines are being logged
            self._log_piece(whole, continues=True)

    def _read(self) -> int | None:
        """Take what is there, in bytes: 0 at the end of the stream, None when there is nothing now."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return None
        self._pending += data
        return len(data)

    def _log_some(self) -> bool:
        """Log a bounded number of complete lines; whether there may be more."""
        left_bytes = _BYTES_PER_STEP
        for _ in range(_LINES_PER_STEP):
            end = self._pending.find(b"\n", 0, MAX_PIECE_BYTES + 1)
            if end >= 0:
                left_bytes -= end
                self._log_piece(end, end_bytes=1)
            elif len(self._pending) > MAX_PIECE_BYTES:
                left_bytes -= MAX_PIECE_BYTES
                self._log_piece(self._whole_characters(MAX_PIECE_BYTES), continues=True)
            else:
                return False
            if left_bytes <= 0:
                break
        return True

    def _whole_characters(self, length: int) -> int:
        """The largest cut not beyond ``length`` that does not split a UTF-8 character (at most four bytes)."""
        for cut in range(length, length - 4, -1):
            if self._pending[cut] & 0xC0 != 0x80:
                return cut
        return length

    def _log_piece(self, length: int, *, end_bytes: int = 0, continues: bool = False) -> None:
        piece = bytes(self._pending[:length])
        # A bytearray forgets its front without moving the rest.
        del self._pending[: length + end_bytes]
        self.lines += not continues
        if not self._within_line:
            self.tail.add(piece)
        self._within_line = continues
        if end_bytes and self._overdue is not None:
            self._overdue.cancel()  # what follows the newline has its own time
            self._overdue = None
        if logs.takes_flood():
            self._write(piece, self._pid, continues)


def _begun_character_bytes(end: bytearray) -> int:
    """How many of the last bytes begin a UTF-8 character whose rest has not come."""
    for length in range(1, len(end) + 1):
        first = end[-length]
        if first >= 0xC0:
            return length if length < (2 if first < 0xE0 else 3 if first < 0xF0 else 4) else 0
        if first < 0x80:
            return 0
    return 0
