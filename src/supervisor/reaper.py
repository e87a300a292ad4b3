"""The one owner of waits: takes the status of every child, hands the Calculator's to its watcher, buries the orphans.

Two owners would steal from each other: ``waitpid(-1)`` beside another waiter makes a child that failed look like one
that exited 0. So every child is first looked at (WNOWAIT) and then taken by its own pid.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Self

import structlog

from supervisor import _spawn

log = structlog.get_logger("supervisor.reaper")

_EXITED_ALREADY = os.WEXITED | os.WNOHANG
# A bound on the work of one wake-up: a fork bomb's worth of orphans must not hold up the loop.
_PER_WAKE = 256


@dataclass(frozen=True)
class ExitStatus:
    """How a process ended: ``code`` 0 to 255, or the number of the ``signal`` that killed it; the other one is None.

    Both are None when the status was lost to another waiter, which is a bug or a foreign hand.
    """

    code: int | None
    signal: int | None

    def __str__(self) -> str:
        if self.signal is None:
            return "exit status unknown" if self.code is None else f"exit status {self.code}"
        try:
            return f"killed by {signal.Signals(self.signal).name}"
        except ValueError:
            return f"killed by signal {self.signal}"


def signal_group(group: int, signum: int) -> bool:
    """Send ``signum`` to a process group; nothing happens when it is empty. Returns False where that is refused.

    The kernel refuses if no process of the group may be signalled: all are another user's, and there is no CAP_KILL. A
    zombie is still the user's that it was.
    """
    with contextlib.suppress(ProcessLookupError):
        try:
            os.killpg(group, signum)
        except PermissionError:
            return False
    return True


def may_signal(pid: int) -> bool:
    """Whether a signal to this process would not be refused."""
    with contextlib.suppress(ProcessLookupError):
        try:
            os.kill(pid, 0)
        except PermissionError:
            return False
    return True


class Reaper:
    """Use as a context manager on the main thread, inside the running loop.

    With ``orphans`` it becomes the subreaper of all descendants (as PID 1 it is that already) and takes the status of
    every child there is: then nothing else in the process may wait for children. Without, it touches those watched.
    """

    def __init__(self, *, orphans: bool) -> None:
        self.orphans_reaped = 0
        self._orphans = orphans
        self._watched: dict[int, asyncio.Future[ExitStatus]] = {}
        self._pidfds: dict[int, int] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handler_before: signal._HANDLER = signal.SIG_DFL

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if self._orphans and os.getpid() != 1:
            _spawn.become_subreaper()
        # Not loop.add_signal_handler: uvloop keeps SIGCHLD to itself. Its wake-up descriptor serves plain handlers too.
        self._handler_before = signal.signal(signal.SIGCHLD, self._on_sigchld)
        # As add_signal_handler does: system calls of other threads go on after a child's death.
        signal.siginterrupt(signal.SIGCHLD, False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        # Children handed to us before we listened sent their signal to nobody.
        self._loop.call_soon(self._reap)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGCHLD, self._handler_before)
        self._loop = None
        for pid in list(self._pidfds):
            self._forget_pidfd(pid)
        for ended in self._watched.values():
            ended.cancel()
        self._watched.clear()

    def watch(self, pid: int) -> asyncio.Future[ExitStatus]:
        """The future exit of ``pid``, a child that leads its process group. Call it in the same step as the spawn.

        When it has exited, the rest of its process group gets SIGKILL, where that is allowed, before its status is
        taken: until then its number cannot be given to another process. Shield the future when waiting for it.
        """
        loop = asyncio.get_running_loop()
        self._watched[pid] = ended = loop.create_future()
        # Besides SIGCHLD, because it cannot be missed: no library can take it away. Kernels before 5.3 have none.
        with contextlib.suppress(OSError):
            pidfd = os.pidfd_open(pid)
            self._pidfds[pid] = pidfd
            loop.add_reader(pidfd, self._reap_watched, pid)
        return ended

    def watches(self, pid: int) -> bool:
        """Whether it is watched and its status was not taken yet, also when its future was settled by somebody else."""
        return pid in self._watched

    def _on_sigchld(self, _signum: int, _frame: FrameType | None) -> None:
        # Between any two instructions of Python: only pass it on.
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._reap)

    def _reap(self) -> None:
        for pid in list(self._watched):
            self._reap_watched(pid)
        if self._orphans:
            self._reap_orphans()

    def _reap_orphans(self) -> None:
        buried = 0
        while buried < _PER_WAKE:
            try:
                met = os.waitid(os.P_ALL, 0, _EXITED_ALREADY | os.WNOWAIT)
            except ChildProcessError:
                break
            if met is None:
                break
            if met.si_pid in self._watched:
                self._reap_watched(met.si_pid)
                continue
            os.waitid(os.P_PID, met.si_pid, _EXITED_ALREADY)
            buried += 1
        else:
            asyncio.get_running_loop().call_soon(self._reap)
        if buried:
            self.orphans_reaped += buried
            log.debug("orphans reaped", count=buried, total=self.orphans_reaped)

    def _reap_watched(self, pid: int) -> None:
        ended = self._watched.get(pid)
        if ended is None:
            return
        try:
            if os.waitid(os.P_PID, pid, _EXITED_ALREADY | os.WNOWAIT) is None:
                return
            signal_group(pid, signal.SIGKILL)
            result = os.waitid(os.P_PID, pid, _EXITED_ALREADY)
        except ChildProcessError:
            # SIGCHLD ignored, or somebody else waited: the status is gone, and nobody may wait for it for ever.
            log.exception("status of a child was taken by somebody else", pid=pid)
            result = None
        del self._watched[pid]
        self._forget_pidfd(pid)
        if result is None:
            status = ExitStatus(code=None, signal=None)
        elif result.si_code == os.CLD_EXITED:
            status = ExitStatus(code=result.si_status, signal=None)
        else:
            status = ExitStatus(code=None, signal=result.si_status)
        if not ended.done():
            ended.set_result(status)

    def _forget_pidfd(self, pid: int) -> None:
        pidfd = self._pidfds.pop(pid, None)
        if pidfd is not None:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)
