"""One run of an author's program on pipes: fed line by line, watched from /proc, and ended.

What is seen here decides nothing but what an author is told, so it goes by simple signs: a thread that is in ``read``
on descriptor 0 while the pipe is empty waits for more; one that sleeps or runs is at work.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from supervisor.errors import ProgramNotExecutableError

# read; poll, ppoll, select, pselect6, epoll_wait, epoll_pwait, epoll_pwait2, io_uring_enter; nanosleep, clock_nanosleep
_X86: Final = ({0}, {7, 271, 23, 270, 232, 281, 441, 426}, {35, 230})
_ARM: Final = ({63}, {73, 72, 22, 441, 426}, {101, 115})
_READ, _LOOP, _SLEEP = _ARM if platform.machine() == "aarch64" else _X86

QUIET_S: Final = 0.5
"""A program that has printed, and then prints nothing for so long, has printed its answer."""

SILENT_S: Final = 2.0
"""One that prints nothing for so long prints nothing for this line, if it cannot be seen to wait for the next."""

_SEND_S: Final = 12.0
_LOOK_S: Final = 0.02
_STDERR_TAIL_BYTES: Final = 4096


class TrialRun:
    """The program, started. ``until_s``: nothing is waited for beyond this, by the monotonic clock."""

    def __init__(self, command: Sequence[str], until_s: float, environ: Mapping[str, str] | None = None) -> None:
        self.out = bytearray()
        self.stderr = bytearray()
        self.began_s = time.monotonic()
        self.readers: set[str] = set()
        """How STDIN is waited for: ``read`` or ``event loop``."""
        self.threads = 0
        self.processes = 0
        self.background = False
        """It printed lines after it had come to wait for more, and nothing more had come."""
        self.answered_s: float | None = None
        """When it printed first after the last `send`, by the monotonic clock."""
        self._lines_at_wait: int | None = None
        self._until_s = until_s
        stdin_read, self._stdin = os.pipe2(os.O_CLOEXEC)
        stdout_read, stdout_write = os.pipe2(os.O_CLOEXEC)
        stderr_read, stderr_write = os.pipe2(os.O_CLOEXEC)
        self._outs = {stdout_read: self.out, stderr_read: self.stderr}
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=stdin_read,
                stdout=stdout_write,
                stderr=stderr_write,
                start_new_session=True,
                env=None if environ is None else {**os.environ, **environ},
            )
        except OSError as error:
            self._close_all()
            raise ProgramNotExecutableError(f"{command[0]} cannot be executed: {error.strerror}") from None
        finally:
            for fd in (stdin_read, stdout_write, stderr_write):
                os.close(fd)
        os.set_blocking(self._stdin, False)
        for fd in self._outs:
            os.set_blocking(fd, False)

    # ---------------------------------------------------------------- what it gets

    def send(self, data: bytes) -> bool:
        """Write it; return False if the program ended or does not take it in time."""
        left = memoryview(data)
        self.answered_s = self._lines_at_wait = None
        end_s = min(time.monotonic() + _SEND_S, self._until_s)
        while left and time.monotonic() < end_s:
            try:
                left = left[os.write(self._stdin, left) :]
            except BlockingIOError:
                self._take(_LOOK_S)
                if self.ended:
                    return False
            except (BrokenPipeError, ValueError, OSError):
                return False
        return not left

    def close_stdin(self) -> None:
        """End of input."""
        if self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    @property
    def unread_bytes(self) -> int:
        """What it has not read yet."""
        if self._stdin < 0:
            return 0
        with contextlib.suppress(OSError):
            answer: tuple[int] = struct.unpack("i", fcntl.ioctl(self._stdin, termios.FIONREAD, b"\0" * 4))
            return answer[0]
        return 0

    # ---------------------------------------------------------------- what it does

    @property
    def lines(self) -> int:
        """Whole lines it printed."""
        return self.out.count(b"\n")

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def status(self) -> int | None:
        """Exit status, negative for a signal, None while it runs."""
        return self._process.poll()

    def settle(self, most_s: float) -> bool:
        """Wait until it is done with what it has: it waits for more, or ended, or says nothing any more.

        Return whether it was seen to wait for STDIN.
        """
        end_s = min(time.monotonic() + most_s, self._until_s)
        printed_s = changed_s = time.monotonic()
        before = len(self.out)
        looks = 0
        while time.monotonic() < end_s and not self.ended:
            self._take(_LOOK_S)
            if self._lines_at_wait is not None and self.lines > self._lines_at_wait:
                self.background = True
            waits, works = self._look()
            self._note_wait(waits=waits)
            if len(self.out) != before:
                before, printed_s, looks = len(self.out), time.monotonic(), 0
                continue
            looks = looks + 1 if waits and not works and self.unread_bytes == 0 else 0
            if looks >= 3:
                return True
            patience_s = QUIET_S if printed_s > changed_s else SILENT_S
            if not works and self.unread_bytes == 0 and time.monotonic() - printed_s > patience_s:
                return "event loop" in self.readers
        self._take(0)
        return False

    def _note_wait(self, *, waits: bool) -> None:
        """One process that waits for more has printed all that it will for what it had, if it works in order."""
        alone = self.processes == 1 and self.unread_bytes == 0
        if waits and alone and self._lines_at_wait is None:
            while self._take(0):
                pass
            self._lines_at_wait = self.lines

    def wait(self, done: Callable[[], bool], most_s: float) -> bool:
        """Take what it prints until ``done``; return whether that was in time."""
        end_s = min(time.monotonic() + most_s, self._until_s)
        while not done():
            if time.monotonic() > end_s:
                return False
            self._take(_LOOK_S)
        self._take(0)
        return True

    def wait_end(self, most_s: float) -> bool:
        """Wait for its end and take the rest of what it printed; return whether it ended in time."""
        ended = self.wait(lambda: self.ended, most_s)
        while self._take(0.05):
            pass
        return ended

    def signal(self, signum: int) -> None:
        """Send it to all of the program."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signum)

    def close(self) -> None:
        """Kill what is left of it."""
        self.signal(signal.SIGKILL)
        self._process.wait(5)
        while self._take(0):
            pass
        self._close_all()

    def last_words(self) -> str:
        """Return the last line on STDERR."""
        lines = bytes(self.stderr).decode("utf-8", "replace").strip().splitlines()
        return lines[-1][:200] if lines else ""

    def _close_all(self) -> None:
        self.close_stdin()
        for fd in self._outs:
            os.close(fd)
        self._outs.clear()

    def _take(self, most_s: float) -> bool:
        took = False
        ready, _, _ = select.select(list(self._outs), [], [], most_s)
        for fd in ready:
            try:
                data = os.read(fd, 1 << 20)
            except BlockingIOError:
                continue
            if not data:
                os.close(fd)
                del self._outs[fd]
                continue
            took = True
            kept = self._outs[fd]
            if kept is self.out and self.answered_s is None:
                self.answered_s = time.monotonic()
            kept += data
            if kept is self.stderr:
                del kept[:-_STDERR_TAIL_BYTES]
        if not self._outs and most_s:
            time.sleep(most_s)
        return took

    def _look(self) -> tuple[bool, bool]:
        """Whether somebody waits for STDIN, and whether somebody is at work."""
        waits = works = False
        processes = list(_tree(self._process.pid))
        threads = 0
        for pid in processes:
            for task in _listed(Path(f"/proc/{pid}/task")):
                threads += 1
                call = _text(task / "syscall").split()
                if not call or call[0] == "running":
                    works = works or bool(call)
                    continue
                number = int(call[0])
                if number in _READ and int(call[1], 16) == 0:
                    waits = True
                    self.readers.add("read")
                elif number in _LOOP and _reads_without_blocking(pid):
                    self.readers.add("event loop")
                elif number in _SLEEP:
                    works = True
        self.processes, self.threads = max(self.processes, len(processes)), max(self.threads, threads)
        return waits, works


def _reads_without_blocking(pid: int) -> bool:
    flags = [line for line in _text(Path(f"/proc/{pid}/fdinfo/0")).splitlines() if line.startswith("flags:")]
    if flags and int(flags[0].split()[1], 8) & os.O_NONBLOCK:
        return True
    # Or its event loop has it in its set.
    mine = f"/proc/{pid}/fdinfo"
    return any(line.split()[:2] == ["tfd:", "0"] for entry in _listed(Path(mine)) for line in _text(entry).splitlines())


def _tree(pid: int) -> Iterator[int]:
    parents: dict[int, list[int]] = {}
    for entry in _listed(Path("/proc")):
        if entry.name.isdigit():
            fields = _text(entry / "stat").rpartition(")")[2].split()
            if len(fields) > 1 and fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    while found:
        yield (one := found.pop())
        found += parents.get(one, [])


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""
