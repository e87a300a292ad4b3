"""The one owner of waits."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from supervisor import _spawn
from supervisor.reaper import ExitStatus, Reaper

PROGRAMS = Path(__file__).parents[1] / "programs"
Runner = Callable[[Coroutine[Any, Any, None]], None]
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


def shell(script: bytes) -> int:
    return _spawn.spawn(b"/bin/sh", [b"sh", b"-c", script], [b"PATH=/usr/bin:/bin"], 0, 1, 2)


def popen(script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sh", "-c", script])


def steal_status(pid: int) -> None:
    os.waitpid(pid, 0)


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_every_status_among_orphans(loop: str) -> None:
    """Each exit code and each deadly signal is reported as it was, while orphans die around; none stays a zombie."""
    done = subprocess.run(
        [sys.executable, PROGRAMS / "sweep.py", loop], check=True, stdout=subprocess.PIPE, text=True, timeout=100
    )
    result = json.loads(done.stdout.splitlines()[-1])
    codes = {f"code {code}": f"exit status {code}" for code in range(256)}
    assert {name: seen for name, seen in result["seen"].items() if name.startswith("code")} == codes
    signals = {name: seen for name, seen in result["seen"].items() if name.startswith("signal")}
    assert len(signals) > 50
    for name, seen in signals.items():
        assert seen == str(ExitStatus(code=None, signal=int(name.split()[1])))
    # Two of each child survive it; the third, in between, usually dies first.
    assert result["orphans"] >= 2 * result["started"]


@LOOPS
def test_the_rest_of_the_group_dies_with_its_leader(run: Runner, tmp_path: Path) -> None:
    """A grandchild in the group is killed when the leader exits; so nothing holds its pipes open."""

    async def main() -> None:
        read_fd, write_fd = os.pipe()
        with Reaper(orphans=False) as reaper:
            pid = _spawn.spawn(b"/bin/sh", [b"sh", b"-c", b"sleep 300 & exit 5"], [b"PATH=/bin"], 0, write_fd, 2)
            os.close(write_fd)
            assert await asyncio.wait_for(reaper.watch(pid), 10) == ExitStatus(code=5, signal=None)
        with os.fdopen(read_fd, "rb") as stream:
            assert await asyncio.wait_for(asyncio.to_thread(stream.read), 10) == b""

    run(main())


@LOOPS
def test_children_of_others_are_left_alone(run: Runner) -> None:
    """Without ``orphans`` the status of a child that somebody else waits for is not taken."""

    async def main() -> None:
        with Reaper(orphans=False) as reaper:
            other = popen("exit 9")
            ended = reaper.watch(shell(b"exit 4"))
            assert (await asyncio.wait_for(ended, 10)).code == 4
            assert await asyncio.to_thread(other.wait, 10) == 9

    run(main())


@LOOPS
def test_wake_by_sigchld_alone(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without pidfd_open is no obstacle."""

    def refuse(pid: int, flags: int = 0) -> int:
        raise OSError

    monkeypatch.setattr(os, "pidfd_open", refuse)

    async def main() -> None:
        with Reaper(orphans=False) as reaper:
            assert (await asyncio.wait_for(reaper.watch(shell(b"sleep 0.1; exit 6")), 10)).code == 6

    run(main())


@LOOPS
def test_wake_by_pidfd_alone(run: Runner) -> None:
    """Another library that takes SIGCHLD away is no obstacle."""

    async def main() -> None:
        with Reaper(orphans=False) as reaper:
            signal.signal(signal.SIGCHLD, lambda *_: None)
            assert (await asyncio.wait_for(reaper.watch(shell(b"sleep 0.1; exit 6")), 10)).code == 6

    run(main())


@LOOPS
def test_blocked_sigchld_is_unblocked(run: Runner) -> None:
    """A launcher that left SIGCHLD blocked does not blind the reaper."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})

    async def main() -> None:
        with Reaper(orphans=False):
            assert signal.SIGCHLD not in signal.pthread_sigmask(signal.SIG_BLOCK, ())

    run(main())


@LOOPS
def test_stolen_status_ends_the_wait(run: Runner) -> None:
    """When somebody else took the status, the watcher is told that it is unknown instead of waiting for ever."""

    async def main() -> None:
        with Reaper(orphans=False) as reaper:
            pid = shell(b"exit 3")
            steal_status(pid)
            ended = reaper.watch(pid)
            reaper._reap()
            status = await asyncio.wait_for(ended, 10)
            assert (status.code, status.signal) == (None, None)
            assert str(status) == "exit status unknown"

    run(main())


def test_status_as_people_read_it() -> None:
    """A status names the code or the signal."""
    assert str(ExitStatus(code=3, signal=None)) == "exit status 3"
    assert str(ExitStatus(code=None, signal=9)) == "killed by SIGKILL"
    assert str(ExitStatus(code=None, signal=40)) == "killed by signal 40"


def test_handler_is_given_back() -> None:
    """The disposition of SIGCHLD is what it was before."""
    before = signal.getsignal(signal.SIGCHLD)

    async def main() -> None:
        with Reaper(orphans=False):
            assert signal.getsignal(signal.SIGCHLD) is not before

    asyncio.run(main())
    assert signal.getsignal(signal.SIGCHLD) is before
