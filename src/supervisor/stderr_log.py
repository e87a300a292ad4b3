"""The Calculator's STDERR as events of the log: always drained, every byte kept, a bounded share of the loop.

What the log's reader does not take is dropped line by line and counted by the log; the Calculator waits for no reader.
"""

from __future__ import annotations

import asyncio
import os
from typing import Final

import structlog

from supervisor import logs

log = structlog.get_logger("supervisor.calculator")

MAX_PIECE_BYTES: Final = 65536
"""A longer line is logged in pieces of this size; each but the last is marked ``continues=True``."""

LAST_LINE_CHARS: Final = 200
"""So much of the last line is kept for health."""

_READ_BYTES: Final = 65536
_LINES_PER_STEP: Final = 100  # then everybody else on the loop has a turn: a few milliseconds of formatting


class StderrLog:
    """Drains ``fd``, non-blocking, which it owns and closes, from its creation in the running loop until ``finish``.

    A Calculator that writes faster than lines are made of it fills the pipe and waits in its write: bounded, in order.
    """

    def __init__(self, fd: int, pid: int) -> None:
        self.lines = 0
        self._last_piece: bytes | None = None
        self._fd = fd
        self._pid = pid
        self._pending = bytearray()
        self._open = True
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.Handle | None = None
        self._loop.add_reader(fd, self._on_readable)

    @property
    def last_line(self) -> str | None:
        """The beginning of the last line; it is shown where no log would mask a secret."""
        if self._last_piece is None:
            return None
        return logs.masked(self._last_piece.decode("utf-8", "backslashreplace"))[:LAST_LINE_CHARS]

    async def finish(self, bound_s: float) -> None:
        """Log what the ended Calculator left in the pipe, then close it.

        A process that left the Calculator's group may still hold the other end and go on writing: nothing is waited
        for, and what cannot be logged within ``bound_s`` is cut off and said so.
        """
        end_s = self._loop.time() + bound_s
        if self._again is not None:
            self._again.cancel()
        self._loop.remove_reader(self._fd)
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
        self._loop.remove_reader(self._fd)
        if self._again is not None:
            self._again.cancel()
        os.close(self._fd)
        if self._pending:
            log.warning("calculator stderr cut off", pid=self._pid, unlogged_bytes=len(self._pending))

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
        for _ in range(_LINES_PER_STEP):
            end = self._pending.find(b"\n", 0, MAX_PIECE_BYTES + 1)
            if end >= 0:
                self._log_piece(end, end_bytes=1)
            elif len(self._pending) > MAX_PIECE_BYTES:
                self._log_piece(self._whole_characters(MAX_PIECE_BYTES), continues=True)
            else:
                return False
        return True

    def _whole_characters(self, length: int) -> int:
        """The largest cut not beyond ``length`` that does not split a UTF-8 character (at most four bytes)."""
        for cut in range(length, length - 4, -1):
            if self._pending[cut] & 0xC0 != 0x80:
                return cut
        return length

    def _log_piece(self, length: int, *, end_bytes: int = 0, continues: bool = False) -> None:
        self._last_piece = piece = bytes(self._pending[:length])
        # A bytearray forgets its front without moving the rest.
        del self._pending[: length + end_bytes]
        self.lines += not continues
        if not logs.takes_flood():
            return
        line = piece.decode("utf-8", "backslashreplace")
        if continues:
            log.info("calculator stderr", line=line, pid=self._pid, continues=True)
        else:
            log.info("calculator stderr", line=line, pid=self._pid)
