"""A program that runs between two real pipes, with the probe beside it, as the Supervisor would run it."""

from __future__ import annotations

import array
import ctypes
import fcntl
import os
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.probe.driver import Note, Probe, Verdict

SOON_S = 20.0


def unread(fd: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count[0]


class Calculator:
    """Each record is one line in and one line out; the line out shows that the work for it is done."""

    def __init__(
        self,
        library: ctypes.CDLL | None,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        uid: int | None = None,
    ) -> None:
        stdin, self.stdin = os.pipe()
        self.stdout, stdout = os.pipe()
        self.inodes = (os.fstat(stdin).st_ino, os.fstat(stdout).st_ino, 0)
        try:
            self.process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                user=uid,
            )
        finally:
            os.close(stdin)
            os.close(stdout)
        self.probe: Probe | None = None if library is None else Probe(library, self.process.pid, self.inodes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in reversed(descendants(self.process.pid)):
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue
        self.process.wait(SOON_S)
        os.close(self.stdin)  # not before: a helper whose parent ends by itself is an orphan
        os.close(self.stdout)
        if self.probe is not None:
            self.probe.close()

    def send(self, line: bytes = b"x\n") -> None:
        """One record."""
        os.write(self.stdin, line)

    def has_taken_all(self) -> bool:
        """Nothing is left in STDIN."""
        return unread(self.stdin) == 0

    def has_answered(self) -> bool:
        """Something is in STDOUT."""
        return unread(self.stdout) > 0

    def take_answer(self) -> bytes:
        """Waits for it."""
        return os.read(self.stdout, 1 << 16)

    def look(self) -> tuple[Verdict, Note]:
        """One look, with its note."""
        assert self.probe is not None
        return self.probe.look(), self.probe.note


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, f"in vain waited for: {what}"
        time.sleep(0.005)


def stat_fields(pid: int) -> list[str]:
    """From the state on, which is the third one."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def descendants(leader: int) -> list[int]:
    """The leader and all below it, parents first."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int(stat_fields(int(entry.name))[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found = [leader]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found
