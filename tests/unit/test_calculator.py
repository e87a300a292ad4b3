"""The restart loop, the ordered stop, and the world a Calculator lives in, with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from supervisor.calculator import PIPE_BYTES, Calculator, ExitStatus, Run
from supervisor.errors import ProgramNotExecutableError, ProgramNotFoundError
from supervisor.reaper import Reaper
from supervisor.states import CalculatorState

Runner = Callable[[Coroutine[Any, Any, None]], None]
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
OBEYS_TERM = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done"
IGNORES_TERM = "trap '' TERM; echo ready; while :; do sleep 0.02; done"


class Streams:
    """A listener that keeps every run and what it wrote, as the relay would."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        self.exits: list[ExitStatus] = []
        self.outputs: list[bytes] = []
        self._stdin_open = False

    async def calculator_started(self, run: Run) -> None:
        """Keep the run and read what it writes."""
        self.runs.append(run)
        self.outputs.append(b"")
        self._stdin_open = True
        asyncio.get_running_loop().add_reader(run.stdout_fd, self._read, run)

    async def calculator_exited(self, run: Run, status: ExitStatus) -> None:
        """Read the rest and close."""
        while self._read(run):
            pass
        asyncio.get_running_loop().remove_reader(run.stdout_fd)
        os.close(run.stdout_fd)
        self.close_stdin()
        self.exits.append(status)

    def close_stdin(self) -> None:
        """Give the present run its EOF, once."""
        if self._stdin_open:
            self._stdin_open = False
            os.close(self.runs[-1].stdin_fd)

    def _read(self, run: Run) -> bool:
        try:
            data = os.read(run.stdout_fd, 65536)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(run.stdout_fd)
        self.outputs[run.number - 1] += data
        return bool(data)


async def until(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - a condition outside asyncio
            await asyncio.sleep(0.005)


class Stage:
    """A Calculator with its listener and its running restart loop."""

    def __init__(self, calculator: Calculator, streams: Streams) -> None:
        self.calculator = calculator
        self.streams = streams
        self.running = asyncio.create_task(calculator.run())

    async def says(self, word: bytes, run: int = 1) -> None:
        """Return when ``word`` is in the output of that run."""
        await until(lambda: len(self.streams.outputs) >= run and word in self.streams.outputs[run - 1])

    async def stop(self, *, at_once: bool = False, grace_s: float = 5.0) -> tuple[ExitStatus | None, float]:
        """How it ended, and how many seconds that took."""
        began_s = time.monotonic()
        status = await self.calculator.stop(close_stdin=self.streams.close_stdin, at_once=at_once, grace_s=grace_s)
        took_s = time.monotonic() - began_s
        await asyncio.wait_for(self.running, 10)
        assert self.calculator.lifecycle.state is CalculatorState.STOPPED
        assert self.calculator.pid is None
        return status, took_s


def open_descriptors() -> set[tuple[str, str]]:
    """What is open but sockets and files: those of clients that other tests left come and go by themselves."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this listing
            found.add((link.name, str(link.readlink())))
    return {(fd, target) for fd, target in found if target.startswith(("pipe:", "anon_inode:[pidfd]"))}


def flags_of(pid: int, fd: int) -> int:
    lines = Path(f"/proc/{pid}/fdinfo/{fd}").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("flags")).split()[1], 8)


def kill_and_wait(pid: int) -> None:
    """SIGKILL, and return when it is a zombie; in one step of the loop, so that nobody reacts to it meanwhile."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@asynccontextmanager
async def staged(*command: str, backoff_max_s: float = 0.02, **options: Any) -> AsyncIterator[Stage]:
    streams = Streams()
    options = {"withheld": frozenset[str](), **options}
    before = open_descriptors()
    with Reaper(orphans=False) as reaper:
        calculator = Calculator(command, listener=streams, reaper=reaper, backoff_max_s=backoff_max_s, **options)
        stage = Stage(calculator, streams)
        try:
            yield stage
        finally:
            if not stage.running.done():
                stage.running.cancel()
                await asyncio.wait({stage.running})
    assert not open_descriptors() - before, "a descriptor was left open"


def gone(pid: int) -> bool:
    """No such process, or a zombie that waits for its new parent."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


# -------------------------------------------------------------------- stop


@LOOPS
def test_stop_of_an_obedient_calculator(run: Runner) -> None:
    """It ends at EOF, without a signal and without waiting for any part of the grace."""

    async def main() -> None:
        async with staged("cat") as stage:
            await until(lambda: stage.streams.runs)
            status, took_s = await stage.stop()
            assert status == ExitStatus(code=0, signal=None)
            assert stage.streams.exits == [status]
            assert not stage.streams.runs[0].terminate_sent
            assert took_s < 0.5

    run(main())


@LOOPS
def test_stop_by_sigterm_at_half_of_the_grace(run: Runner) -> None:
    """A Calculator that ignores EOF gets SIGTERM at half of the grace, and its end is not waited beyond."""

    async def main() -> None:
        async with staged("sh", "-c", OBEYS_TERM) as stage:
            await stage.says(b"ready")
            status, took_s = await stage.stop(grace_s=1.0)
            assert status == ExitStatus(code=7, signal=None)
            assert stage.streams.runs[0].terminate_sent
            assert 0.5 <= took_s < 0.9

    run(main())


@LOOPS
def test_stop_at_once(run: Runner) -> None:
    """A Calculator without an incoming stream gets its SIGTERM immediately."""

    async def main() -> None:
        async with staged("sh", "-c", OBEYS_TERM) as stage:
            await stage.says(b"ready")
            status, took_s = await stage.stop(at_once=True)
            assert status == ExitStatus(code=7, signal=None)
            assert took_s < 0.5

    run(main())


@LOOPS
def test_stop_by_sigkill_at_the_end_of_the_grace(run: Runner) -> None:
    """One that ignores SIGTERM too is killed with its grandchildren when the grace is over, not later."""

    async def main() -> None:
        async with staged("sh", "-c", f"sleep 300 & echo pid $!; {IGNORES_TERM}") as stage:
            await stage.says(b"ready")
            grandchild = int(stage.streams.outputs[0].split()[1])
            assert not gone(grandchild)
            status, took_s = await stage.stop(grace_s=0.6)
            assert status == ExitStatus(code=None, signal=signal.SIGKILL)
            assert 0.6 <= took_s < 1.0
            await until(lambda: gone(grandchild))

    run(main())


@LOOPS
def test_grandchildren_do_not_survive_an_orderly_end(run: Runner) -> None:
    """When the main process exits by itself, what it left in its group goes too."""

    async def main() -> None:
        async with staged("sh", "-c", "sleep 300 & echo $!; cat") as stage:
            await stage.says(b"\n")
            status, took_s = await stage.stop()
            assert status == ExitStatus(code=0, signal=None)
            assert took_s < 0.5
            await until(lambda: gone(int(stage.streams.outputs[0])))

    run(main())


@LOOPS
def test_second_stop_shortens_the_grace(run: Runner) -> None:
    """A later stop with less grace draws the end nearer, one with more does not put it off."""

    async def main() -> None:
        async with staged("sh", "-c", IGNORES_TERM) as stage:
            await stage.says(b"ready")
            began_s = time.monotonic()
            first = asyncio.create_task(stage.stop(grace_s=60))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(stage.stop(grace_s=0.3))
            await asyncio.sleep(0.05)
            await stage.stop(grace_s=60)
            assert (await first)[0] == (await second)[0] == ExitStatus(code=None, signal=signal.SIGKILL)
            assert 0.3 <= time.monotonic() - began_s < 1.0

    run(main())


@LOOPS
def test_shorten_grace(run: Runner) -> None:
    """A grace cut to nothing ends a stop under way now."""

    async def main() -> None:
        async with staged("sh", "-c", IGNORES_TERM) as stage:
            await stage.says(b"ready")
            stopping = asyncio.create_task(stage.stop(grace_s=60))
            await asyncio.sleep(0.05)
            stage.calculator.shorten_grace(0.0)
            status, took_s = await stopping
            assert status == ExitStatus(code=None, signal=signal.SIGKILL)
            assert took_s < 0.5

    run(main())


@LOOPS
def test_stop_goes_on_when_its_caller_is_cancelled(run: Runner) -> None:
    """SIGTERM and SIGKILL come at their times also when nobody waits for them any more."""

    async def main() -> None:
        async with staged("sh", "-c", IGNORES_TERM) as stage:
            await stage.says(b"ready")
            stopping = asyncio.create_task(stage.stop(grace_s=0.4))
            await asyncio.sleep(0.05)
            stopping.cancel()
            await asyncio.wait_for(stage.running, 5)
            assert stage.streams.exits == [ExitStatus(code=None, signal=signal.SIGKILL)]

    run(main())


@LOOPS
def test_stop_of_a_stopped_process(run: Runner) -> None:
    """A Calculator that was suspended (SIGSTOP) still can act on its SIGTERM."""

    async def main() -> None:
        async with staged("sh", "-c", OBEYS_TERM) as stage:
            await stage.says(b"ready")
            stage.calculator.forward(signal.SIGSTOP)
            status, _ = await stage.stop(at_once=True)
            assert status == ExitStatus(code=7, signal=None)

    run(main())


@LOOPS
@pytest.mark.parametrize("state", [CalculatorState.BACKOFF, CalculatorState.CRASH_LOOP])
def test_stop_during_a_pause(run: Runner, state: CalculatorState) -> None:
    """A stop does not sleep a back-off out, and returns how the last run ended."""

    async def main() -> None:
        async with staged("sh", "-c", "exit 3", backoff_max_s=60.0) as stage:
            wanted = 2 if state is CalculatorState.BACKOFF else 3
            await until(lambda: stage.calculator.failures == wanted and stage.calculator.lifecycle.state is state)
            status, took_s = await stage.stop()
            assert status == ExitStatus(code=3, signal=None)
            assert took_s < 0.2

    run(main())


@LOOPS
def test_stop_before_the_first_start_and_after_the_end(run: Runner) -> None:
    """Nothing is started after a stop, and a stop of what is stopped returns at once."""

    async def main() -> None:
        async with staged("cat") as stage:
            assert (await stage.stop())[0] is None
            assert (await stage.stop())[0] is None
            assert stage.streams.runs == []

    run(main())


@LOOPS
def test_cancelled_loop_kills(run: Runner) -> None:
    """Cancelling the restart loop leaves no process behind."""

    async def main() -> None:
        async with staged("sh", "-c", IGNORES_TERM) as stage:
            await stage.says(b"ready")
            pid = stage.calculator.pid
            stage.running.cancel()
            await asyncio.wait({stage.running})
            assert pid is not None
            assert gone(pid)
            assert stage.calculator.lifecycle.state is CalculatorState.STOPPED
            stage.streams.close_stdin()
            asyncio.get_running_loop().remove_reader(stage.streams.runs[0].stdout_fd)
            os.close(stage.streams.runs[0].stdout_fd)

    run(main())


# -------------------------------------------------------------------- restart


@LOOPS
def test_back_off_and_crash_loop(run: Runner) -> None:
    """Failures lead to back-off twice, then to a crash loop that goes on trying; each line says old, new and why."""

    async def main() -> None:
        async with staged("sh", "-c", "echo what a pity >&2; exit 3") as stage:
            await until(lambda: len(stage.streams.exits) >= 5)
            assert stage.calculator.lifecycle.state is CalculatorState.CRASH_LOOP
            assert stage.calculator.restarts >= 4
            assert stage.calculator.failures >= 5
            assert stage.calculator.last_exit == ExitStatus(code=3, signal=None)
            assert stage.calculator.stderr_tail.last_line == "what a pity"
            failure = stage.calculator.last_failure
            assert failure is not None
            assert (failure.how, failure.last_words) == ("ended by itself with exit status 3", "what a pity")
            assert failure.at_s > stage.calculator.lifecycle.since_s, "that of the last attempt, not of the first"
            await stage.stop()

    with capture_logs() as events:
        run(main())
    changes = [event for event in events if "old" in event]
    assert [event["new"] for event in changes] == [
        *("starting", "running", "backoff"),
        *("starting", "running", "backoff"),
        *("starting", "running", "crash-loop", "stopped"),
    ]
    crash = changes[-2]
    assert crash["old"] == "running"
    assert "exit status 3" in crash["why"]
    assert "what a pity" in crash["why"]
    assert sum(event["event"] == "calculator failed again" for event in events) >= 2


@LOOPS
def test_delays_grow(run: Runner) -> None:
    """The first restart is at once, the second after about a second (three quarters at least), by the real clock."""

    async def main() -> None:
        async with staged("sh", "-c", "exit 1", backoff_max_s=30.0) as stage:
            await until(lambda: len(stage.streams.runs) == 3)
            first, second, third = (one.started_s for one in stage.streams.runs)
            assert second - first < 0.5
            assert 0.75 <= third - second < 1.5
            await stage.stop()

    run(main())


@LOOPS
def test_recovery_from_a_crash_loop(run: Runner, tmp_path: Path) -> None:
    """The crash loop lasts until a run is stable, not until the next attempt; then the slate is clean."""
    flag = tmp_path / "works"

    async def main() -> None:
        script = f"test -e {flag} && exec cat; exit 1"
        async with staged("sh", "-c", script, stable_s=0.4) as stage:
            await until(lambda: stage.calculator.lifecycle.state is CalculatorState.CRASH_LOOP)
            flag.touch()
            await until(lambda: stage.calculator.pid is not None and stage.streams.runs[-1].number > 3)
            await until(lambda: stage.calculator.lifecycle.state is CalculatorState.RUNNING)
            assert time.monotonic() - stage.streams.runs[-1].started_s >= 0.35
            assert stage.calculator.failures == 0
            await stage.stop()

    run(main())


@LOOPS
def test_exit_status_0_is_restarted_too(run: Runner) -> None:
    """A Calculator that ends without being asked is started again, and the log names the status."""

    async def main() -> None:
        async with staged("true") as stage:
            await until(lambda: len(stage.streams.exits) >= 2)
            await stage.stop()

    with capture_logs() as events:
        run(main())
    assert any(event.get("new") == "backoff" and "exit status 0" in event["why"] for event in events)


@LOOPS
def test_restart_on_request(run: Runner) -> None:
    """It ends one run in order and starts the next at once, and counts as no failure."""

    async def main() -> None:
        async with staged("cat", backoff_max_s=60.0) as stage:
            await until(lambda: stage.streams.runs)
            for number in (2, 3, 4, 5):
                await stage.calculator.restart("a test", close_stdin=stage.streams.close_stdin, grace_s=5.0)
                assert len(stage.streams.exits) == number - 1
                await until(lambda wanted=number: len(stage.streams.runs) == wanted, 0.5)  # type: ignore[misc]
            assert (stage.calculator.failures, stage.calculator.restarts) == (0, 4)
            assert stage.streams.exits == [ExitStatus(code=0, signal=None)] * 4
            assert len({one.pid for one in stage.streams.runs}) == 5
            await stage.stop()

    run(main())


@LOOPS
def test_restart_cuts_a_back_off_short(run: Runner) -> None:
    """A restart asked for during a back-off starts now."""

    async def main() -> None:
        async with staged("sh", "-c", "exit 1", backoff_max_s=60.0) as stage:
            await until(lambda: stage.calculator.failures == 3)
            await stage.calculator.restart("a test", close_stdin=stage.streams.close_stdin, grace_s=5.0)
            await until(lambda: len(stage.streams.runs) == 4, 0.5)
            await stage.stop()

    run(main())


@LOOPS
def test_stop_overtakes_a_restart(run: Runner) -> None:
    """A stop during a restart shortens it and nothing is started afterwards."""

    async def main() -> None:
        async with staged("sh", "-c", IGNORES_TERM) as stage:
            await stage.says(b"ready")
            close_stdin = stage.streams.close_stdin
            restarting = asyncio.create_task(stage.calculator.restart("a test", close_stdin=close_stdin, grace_s=60))
            await asyncio.sleep(0.05)
            _, took_s = await stage.stop(grace_s=0.2)
            await restarting
            assert took_s < 0.6
            assert len(stage.streams.runs) == 1

    run(main())


# -------------------------------------------------------------------- programs that cannot be started


def make(path: Path, content: str, mode: int = 0o755) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path


@LOOPS
@pytest.mark.parametrize(
    ("content", "mode", "error", "words"),
    [
        (None, 0, ProgramNotFoundError, "no such file"),
        ("#!/nowhere/interpreter -x\n", 0o755, ProgramNotFoundError, "/nowhere/interpreter"),
        ("#!/bin/sh\n", 0o644, ProgramNotExecutableError, "execute permission"),
        ("no program\n", 0o755, ProgramNotExecutableError, "#!/bin/sh"),
    ],
)
def test_first_start_fails(  # noqa: PLR0917 - the columns of the table above
    run: Runner, tmp_path: Path, content: str | None, mode: int, error: type[Exception], words: str
) -> None:
    """A program that cannot be started at all ends the restart loop with a clear error instead of a crash loop."""
    path = tmp_path / "program"
    if content is not None:
        make(path, content, mode)

    async def main() -> None:
        async with staged(str(path)) as stage:
            with pytest.raises(error, match=words):
                await asyncio.wait_for(stage.running, 5)
            assert stage.calculator.lifecycle.state is CalculatorState.STOPPED
            assert await stage.calculator.stop(close_stdin=lambda: None, at_once=True, grace_s=1.0) is None

    run(main())


def test_look_up_on_path(tmp_path: Path) -> None:
    """A name without a slash is looked up on the Calculator's PATH; what is no executable file is passed over."""
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    (tmp_path / "a" / "prog").mkdir()
    make(tmp_path / "b" / "prog", "#!/bin/sh\n", 0o644)

    def checked(program: str, path: str | None) -> str:
        environ = [] if path is None else [b"PATH=" + os.fsencode(path)]
        streams = Streams()
        reaper = Reaper(orphans=False)
        return Calculator(
            [program], listener=streams, reaper=reaper, backoff_max_s=1.0, withheld=frozenset(), environ=environ
        ).check()

    search = os.pathsep.join(str(tmp_path / folder) for folder in ("a", "b", "c"))
    with pytest.raises(ProgramNotExecutableError, match="prog"):
        checked("prog", search)
    good = make(tmp_path / "c" / "prog", "#!/bin/sh\n")
    assert checked("prog", search) == str(good)
    assert checked("sh", None).endswith("/sh")
    with pytest.raises(ProgramNotFoundError, match=f"PATH \\({tmp_path}/a\\)"):
        checked("nothing", str(tmp_path / "a"))
    with pytest.raises(ProgramNotExecutableError, match="directory"):
        checked(str(tmp_path / "a"), search)


@LOOPS
def test_program_that_vanishes_and_comes_back(run: Runner, tmp_path: Path) -> None:
    """Once it ran, a program that cannot be started is a failed start like any other, and tried again."""
    path = make(tmp_path / "program", "#!/bin/sh\nexec cat\n")

    async def main() -> None:
        async with staged(str(path)) as stage:
            await until(lambda: stage.streams.runs)
            path.unlink()
            stage.calculator.forward(signal.SIGKILL)
            await until(lambda: stage.calculator.lifecycle.state is CalculatorState.CRASH_LOOP)
            assert "program" in stage.calculator.lifecycle.why
            assert len(stage.streams.runs) == 1
            make(path, "#!/bin/sh\nexec cat\n")
            await until(lambda: len(stage.streams.runs) == 2)
            await stage.stop()

    run(main())


# -------------------------------------------------------------------- its world


@LOOPS
def test_environment_arguments_and_folder(run: Runner) -> None:
    """The environment arrives byte for byte less what is withheld; arguments and working directory as given."""
    path = b"PATH=" + os.environb[b"PATH"]
    twice = (b"ODD=\xff%s\nline", b"ODD=again", b"no equals sign")
    environ = [path, *twice, b"CONSUL_HTTP_TOKEN=secret", b"BDZ_CONSUL_HTTP_TOKEN=secret", b"LAST="]
    withheld = frozenset({"CONSUL_HTTP_TOKEN", "BDZ_CONSUL_HTTP_TOKEN"})

    async def main() -> None:
        command = ("cat", "/proc/self/environ", "/proc/self/cmdline", "-", "\udcff%d")
        async with staged(*command, environ=environ, withheld=withheld) as stage:
            await stage.says(b"\xff%d")
            assert Path(f"/proc/{stage.calculator.pid}/cwd").readlink() == Path.cwd()  # noqa: ASYNC240 - /proc
            await stage.stop()
            assert stage.streams.outputs[0].split(b"\0")[:-1] == [
                path,
                *twice,
                b"LAST=",
                *(b"cat", b"/proc/self/environ", b"/proc/self/cmdline", b"-", b"\xff%d"),
            ]

    run(main())


def test_environment_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another one given, it is what this process was started with, whatever Python made of it since."""
    monkeypatch.setitem(os.environb, b"SPAWN_TEST", b"\xfe=%")

    async def main() -> None:
        async with staged("cat", "/proc/self/environ", "-") as stage:
            await stage.says(b"PATH=")
            await stage.stop()
            assert stage.streams.outputs[0] == Path("/proc/self/environ").read_bytes()  # noqa: ASYNC240 - /proc

    asyncio.run(main())


@LOOPS
def test_pipes(run: Runner) -> None:
    """Ours do not block and are large, the child's block, and nobody but the child reads its STDIN."""

    async def main() -> None:
        async with staged("sleep", "300") as stage:
            await until(lambda: stage.streams.runs)
            one = stage.streams.runs[0]
            for fd in (one.stdin_fd, one.stdout_fd):
                assert not os.get_blocking(fd)
                assert not os.get_inheritable(fd)
                assert fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) in (PIPE_BYTES, 65536)
            for fd in (0, 1, 2):
                assert not flags_of(one.pid, fd) & os.O_NONBLOCK
            kill_and_wait(one.pid)
            with pytest.raises(BrokenPipeError):
                os.write(one.stdin_fd, b"\n")
            await stage.stop()

    run(main())


@LOOPS
def test_forwarded_signal_reaches_the_group(run: Runner) -> None:
    """The main process and its children get it, and nobody gets it when nothing runs."""

    async def main() -> None:
        script = (
            "trap 'echo parent' USR1; sh -c \"trap 'echo child' USR1; echo ready; while :; do sleep 0.02; done\" & "
        )
        script += "while :; do sleep 0.02; done"
        async with staged("sh", "-c", script) as stage:
            await stage.says(b"ready")
            stage.calculator.forward(signal.SIGUSR1)
            # The sleeps die of it; both shells live on and say so.
            await stage.says(b"parent")
            await stage.says(b"child")
            await stage.stop(at_once=True)
            stage.calculator.forward(signal.SIGUSR1)

    run(main())


@LOOPS
def test_all_of_stderr_is_logged_before_the_end(run: Runner) -> None:
    """What the Calculator wrote on STDERR last is in the log before the line that says it ended."""

    async def main() -> None:
        async with staged(
            "sh", "-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done >&2; exec cat"
        ) as stage:
            await until(lambda: stage.streams.runs)
            await stage.stop()

    with capture_logs() as events:
        run(main())
    names = [event["event"] for event in events]
    lines = [event["line"] for event in events if event["event"] == "calculator stderr"]
    assert lines == [f"line {number}" for number in range(3000)]
    assert max(at for at, name in enumerate(names) if name == "calculator stderr") < names.index("calculator ended")
