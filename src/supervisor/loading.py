"""Whether a run of the Calculator still loads: it has neither come to wait for its STDIN nor taken anything of it.

What waits is seen by its threads' system calls. A program that asks again and again whether there is input, with a
sleep in between, is never seen to wait, and could not show that it takes input without getting any: one that has been
awake now and then for a minute, without working much, is taken for such a one, and any other that is not still for ten
minutes.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from supervisor._framing import InputWatch

POLLS_S: Final = 60.0
BUSY_S: Final = 600.0
_SAMPLE_S: Final = 5.0
_IDLE_SHARE: Final = 0.2  # of a core: one that polls uses less, one that loads more
_UNSEEN_LOOKS: Final = 3  # one alone may be of a process that changes its user just then

SOONEST_S: Final = 0.05
LATEST_S: Final = 0.5
_COST_SHARE: Final = 50  # a look is followed by this many times what it took without another

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")

Activity = tuple[float, int]
"""CPU seconds and context switches of a process and its descendants, so far."""


class Loading:
    """Of one run; made when it is to take input."""

    def __init__(
        self,
        stdin_fd: int,
        pid: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        activity: Callable[[int], Activity] | None = None,
    ) -> None:
        self.guessed = False
        """It was not seen to take input: it only does not look as if it loaded."""
        self._pid = pid
        self._watch = InputWatch(pid, (os.fstat(stdin_fd).st_ino, _pipe_inode(pid, 1), _pipe_inode(pid, 2)))
        self._clock = clock
        self._activity = activity or activity_of
        self._unseen = 0
        self.since_s = self._sampled_s = self._awake_since_s = self._idle_since_s = clock()
        self._sample = self._activity(pid)
        self._rest_s = SOONEST_S

    @property
    def for_s(self) -> float:
        """How long it has been loading."""
        return self._clock() - self.since_s

    @property
    def rest_s(self) -> float:
        """When to look again: soon at first, and never so often that it costs much."""
        return self._rest_s

    def over(self, taken_bytes: int) -> str | None:
        """Take a look; return why it counts as taking input from now on, None while it loads."""
        if taken_bytes > 0:
            return "it has taken input"
        began_s = time.monotonic()
        seen = self._watch.look()
        self._rest_s = min(LATEST_S, max(SOONEST_S, self.for_s / 20, (time.monotonic() - began_s) * _COST_SHARE))
        if seen == "waits":
            return "it waits for input"
        self._unseen = self._unseen + 1 if seen == "unseen" else 0
        if self._unseen >= _UNSEEN_LOOKS:
            return "what it does cannot be seen"
        return self._guess()

    def _guess(self) -> str | None:
        now_s = self._clock()
        past_s = now_s - self._sampled_s
        if past_s < _SAMPLE_S:
            return None
        before, self._sample = self._sample, self._activity(self._pid)
        self._sampled_s = now_s
        if self._sample[1] == before[1]:
            self._awake_since_s = self._idle_since_s = now_s
        elif self._sample[0] - before[0] > _IDLE_SHARE * past_s:
            self._idle_since_s = now_s
        self.guessed = now_s - self._idle_since_s >= POLLS_S or now_s - self._awake_since_s >= BUSY_S
        return "it does not look as if it still loaded" if self.guessed else None


def _pipe_inode(pid: int, fd: int) -> int:
    """0 if it is not known or no pipe."""
    try:
        found = Path(f"/proc/{pid}/fd/{fd}").stat()
    except OSError:
        return 0
    return found.st_ino if stat.S_ISFIFO(found.st_mode) else 0


def activity_of(pid: int) -> Activity:
    """Add up the threads of a process and of all its descendants."""
    cpu_ticks = switches = 0
    for task in _tasks(pid):
        try:
            fields = (task / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            cpu_ticks += int(fields[11]) + int(fields[12])
            status = (task / "status").read_text("ascii", "replace")
            switches += sum(int(line.split()[1]) for line in status.splitlines() if "_ctxt_switches:" in line)
        except (OSError, IndexError, ValueError):  # it has ended, or cannot be looked at
            continue
    return cpu_ticks / _TICKS_PER_S, switches


def _tasks(pid: int) -> Iterator[Path]:
    pids = [pid]
    while pids:
        try:
            tasks = list(Path(f"/proc/{pids.pop()}/task").iterdir())
        except OSError:
            continue
        yield from tasks
        for task in tasks:
            try:
                pids += map(int, (task / "children").read_text().split())
            except (OSError, ValueError):
                continue
