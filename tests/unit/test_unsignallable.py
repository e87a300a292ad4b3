"""A Calculator that may not be signalled: of another user, while this process has no CAP_KILL."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from supervisor import _spawn
from supervisor.reaper import ExitStatus, Reaper
from supervisor.states import CalculatorState
from tests.services.privileges import BECOME_NOBODY, needs_root, without_cap_kill
from tests.unit.test_calculator import Stage, staged, until

pytestmark = needs_root

Runner = Callable[[Coroutine[Any, Any, None]], None]
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])

REFUSED = "the calculator may not be signalled: it runs as another user, and the Supervisor has no CAP_KILL"
DEAF = "trap '' PIPE; echo ready; while :; do sleep 0.02; done 2>&-"
"""Neither EOF nor a closed STDOUT ends it."""


@pytest.fixture(autouse=True)
def _no_cap_kill() -> Iterator[None]:
    with without_cap_kill():
        yield


@pytest.fixture
def end_at_last() -> Iterator[set[int]]:
    """Process ids that are killed when the test is over: nothing else does."""
    pids: set[int] = set()
    yield pids
    kill_as_root(pids)


def kill_as_root(pids: set[int]) -> None:
    """By a program that is root's: it has the capability that this thread has put away."""
    for pid in pids:
        os.waitpid(os.posix_spawnp("kill", ["kill", "-KILL", str(pid)], os.environ), 0)


def is_reaped(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False


def as_nobody(script: str) -> tuple[str, ...]:
    return (*BECOME_NOBODY, "sh", "-c", script)


async def changes_user(stage: Stage, pid: int) -> None:
    """Wait until the program is another user's, as it is seen by `look_at_permission`."""

    def refused() -> bool:
        stage.calculator.look_at_permission()
        return stage.calculator.unsignallable_since_s is not None

    await until(refused)
    with pytest.raises(PermissionError):
        os.kill(pid, 0)


@LOOPS
def test_its_exit_is_taken(run: Runner) -> None:
    """The rest of its group cannot be killed first, and its status is as it was all the same."""

    async def main() -> None:
        with Reaper(orphans=False) as reaper:
            words = [os.fsencode(word) for word in as_nobody("exit 5")]
            pid = _spawn.spawn(b"/usr/bin/setpriv", words, [b"PATH=/usr/bin:/bin"], 0, 1, 2)
            assert await asyncio.wait_for(reaper.watch(pid), 10) == ExitStatus(code=5, signal=None)
            assert not reaper.watches(pid)
            assert is_reaped(pid)

    run(main())


@LOOPS
def test_it_is_started_again(run: Runner) -> None:
    """Each failure has its successor, as with any other."""

    async def main() -> None:
        async with staged(*as_nobody("exit 3")) as stage:
            await until(lambda: len(stage.streams.exits) >= 4)
            assert set(stage.streams.exits) == {ExitStatus(code=3, signal=None)}
            assert stage.calculator.last_failure is not None
            assert stage.calculator.last_failure.how == "ended by itself with exit status 3"
            await stage.stop()

    run(main())


@LOOPS
def test_it_is_said_once(run: Runner) -> None:
    """When it is seen the first time; not with each signal."""

    async def main() -> None:
        async with staged(*as_nobody("echo ready; exec cat")) as stage:
            await stage.says(b"ready")
            await changes_user(stage, stage.streams.runs[0].pid)
            for _ in range(3):
                stage.calculator.forward(signal.SIGUSR1)
                stage.calculator.look_at_permission()
            status, took_s = await stage.stop()
            assert status == ExitStatus(code=0, signal=None)  # the end of its STDIN ended it
            assert took_s < 0.5
            assert stage.calculator.unsignallable_since_s is None

    with capture_logs() as events:
        run(main())
    assert [event["event"] for event in events].count(REFUSED) == 1


@LOOPS
def test_one_that_may_be_signalled_is_not_complained_of(run: Runner) -> None:
    """Nothing is seen, and nothing said."""

    async def main() -> None:
        async with staged("cat") as stage:
            await until(lambda: stage.streams.runs)
            stage.calculator.look_at_permission()
            assert stage.calculator.unsignallable_since_s is None
            await stage.stop()

    with capture_logs() as events:
        run(main())
    assert REFUSED not in [event["event"] for event in events]


@LOOPS
@pytest.mark.parametrize("at_once", [False, True])
def test_a_stop_ends_in_time(run: Runner, at_once: bool, end_at_last: set[int]) -> None:
    """After its grace it is left behind, and nothing of how it ended counts as its failure."""

    async def main() -> None:
        async with staged(*as_nobody(DEAF)) as stage:
            await stage.says(b"ready")
            (started,) = stage.streams.runs
            end_at_last.add(started.pid)
            await changes_user(stage, started.pid)
            status, took_s = await stage.stop(at_once=at_once, grace_s=0.4)
            assert status == ExitStatus(code=None, signal=None)
            assert 1.4 <= took_s < 2.5
            assert started.terminate_sent
            assert stage.calculator.last_failure is None

    run(main())


@LOOPS
def test_its_children_of_ours_make_no_difference(run: Runner, end_at_last: set[int]) -> None:
    """They get the signals that it refuses, and so the group as a whole does not."""

    async def main() -> None:
        # The leader becomes another user's, its child was started before that.
        async with staged("sh", "-c", f'sleep 300 & exec {" ".join(BECOME_NOBODY)} sh -c "$0"', DEAF) as stage:
            await stage.says(b"ready")
            (started,) = stage.streams.runs
            end_at_last.add(started.pid)
            await changes_user(stage, started.pid)
            os.killpg(started.pid, 0)
            _, took_s = await stage.stop(grace_s=0.4)
            assert 1.4 <= took_s < 2.5

    run(main())


@LOOPS
def test_a_cancelled_loop_ends_in_time(run: Runner, end_at_last: set[int]) -> None:
    """As with a part of the Supervisor that failed."""

    async def main() -> None:
        async with staged(*as_nobody(DEAF)) as stage:
            await stage.says(b"ready")
            end_at_last.add(stage.streams.runs[0].pid)
            await changes_user(stage, stage.streams.runs[0].pid)
            stage.running.cancel()
            _, pending = await asyncio.wait({stage.running}, timeout=3)
            assert not pending
            assert stage.calculator.lifecycle.state is CalculatorState.STOPPED
            os.close(stage.streams.runs[0].stdout_fd)
            stage.streams.close_stdin()

    run(main())


@LOOPS
def test_a_run_that_failed_has_a_successor(run: Runner, end_at_last: set[int]) -> None:
    """One that hangs is left behind; not so many that they fill the machine, and when they end there is room again."""

    async def main() -> None:
        async with staged(*as_nobody(DEAF)) as stage:
            for number in (1, 2, 3):
                await stage.says(b"ready", number)
                pid = stage.streams.runs[-1].pid
                end_at_last.add(pid)
                await changes_user(stage, pid)
                stage.calculator.fail_run("it hangs")
                stage.calculator.fail_run("it hangs still")
                await until(lambda number=number: len(stage.streams.exits) == number)  # type: ignore[misc]
                assert stage.calculator.last_failure is not None
                assert stage.calculator.last_failure.how == (
                    "could not be killed and was left behind by the Supervisor: it hangs"
                )
            await until(lambda: "could not be started: earlier runs" in str(stage.calculator.last_failure))
            assert len(stage.streams.runs) == 3
            kill_as_root(end_at_last)
            await stage.says(b"ready", 4)
            end_at_last.clear()
            end_at_last.add(stage.streams.runs[-1].pid)
            await stage.stop(grace_s=0.2)

    run(main())
