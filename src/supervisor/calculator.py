"""The Calculator: spawn, watch, restart with back-off, stop in order.

A run is one process. The listener (the relay) gets its STDIN and STDOUT and is told when it is over; STDERR is logged
here. Every end that was not asked for counts as a failure, exit status 0 too: a Calculator is to run until its STDIN
ends. A run that lasted STABLE_S wipes the slate. After CRASH_LOOP_AFTER failures in a row the state is crash-loop, and
stays so through the next attempts until one of them is stable: a check must not turn green with every attempt.

A stop may reach the Calculator at the same moment as the Supervisor (systemd's control group, an operator's kill):
whichever of the two is seen first, its end is one that was asked for then.

A program may become another user's (sudo, setpriv) while this process has no CAP_KILL: then every signal is refused.
It gets its EOF like any other and may end by that; one that does not is left behind, without STDIN and STDOUT, so that
a stop ends in time and a run that failed has a successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM
from typing import Final, Protocol

import structlog

from supervisor import _spawn, calculator_log, program
from supervisor.backoff import Backoff
from supervisor.errors import SupervisorError
from supervisor.logs import state_changed
from supervisor.reaper import ExitStatus, Reaper, may_signal, signal_group
from supervisor.states import CALCULATOR, CalculatorState, Lifecycle
from supervisor.stderr_log import StderrLog
from supervisor.stderr_tail import StderrTail

__all__ = ["STABLE_S", "Calculator", "ExitStatus", "Listener", "Run"]

log = structlog.get_logger("supervisor.calculator")

STABLE_S: Final = 10.0
"""A run that lasted this long is no failed start: the next restart is at once again."""

PIPE_BYTES: Final = 1 << 20
"""Size asked for STDIN and STDOUT; an unprivileged process may be refused and keeps the kernel's 64 KiB."""

LAST_WORDS_CHARS: Final = 200
"""So much of a line on STDERR is quoted of a failure."""

_STDERR_REST_S: Final = 1.0  # for logging what the pipe still holds at the end of a run
_UNKILLABLE_S: Final = 5.0  # after SIGKILL; only uninterruptible sleep lasts longer, and nothing can be done about it
_REFUSED_S: Final = 1.0  # likewise, where SIGKILL was refused and so nothing comes of it
_SAME_MOMENT_S: Final = 0.2
"""An end that nobody asked for is judged after this: a stop that came to both may be on its way to us."""

_LEFT_BEHIND_MAX: Final = 3  # processes that could not be ended and live on: no further one beside so many


@dataclass
class Run:
    """One process. The listener owns ``stdin_fd`` and ``stdout_fd``: our ends, non-blocking, 1 MiB where allowed.

    ``end_asked``: its end was asked for before it came, so that nothing of how it ends is its failure or a record's.
    ``terminate_sent``: a SIGTERM or SIGKILL for that came before, or it was left behind at the end of its grace.
    ``maybe_told``: the Supervisor's own stop signal may have come to it too, and exit status 0 would not show that.
    """

    number: int
    pid: int
    stdin_fd: int
    stdout_fd: int
    started_s: float = field(default_factory=time.monotonic)
    end_asked: bool = False
    terminate_sent: bool = False
    maybe_told: bool = False


@dataclass(frozen=True)
class Failure:
    """How a run failed, or a start. ``how`` goes on after "the Calculator"; ``lasted_s`` is None for a start."""

    how: str
    lasted_s: float | None = None
    last_words: str | None = None
    at_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        lasted = "" if self.lasted_s is None else f" after {self.lasted_s:g} s"
        return f"{self.how}{lasted}" + (f", on STDERR: {self.last_words}" if self.last_words else "")


class Listener(Protocol):
    """Who gets the Calculator's streams. Neither method may wait for ``stop`` or ``restart``: those wait for it."""

    async def calculator_started(self, run: Run) -> None:
        """Take the descriptors of a new run."""

    async def calculator_exited(self, run: Run, status: ExitStatus) -> None:
        """Return when STDOUT has been read to its end and everything is ready for the next run."""


@dataclass
class _Ending:
    """An ordered end under way; loop times. The timers work on when whoever asked for the end is cancelled."""

    terminate_at_s: float
    kill_at_s: float
    timers: list[asyncio.TimerHandle] = field(default_factory=list)

    def cancel_timers(self) -> None:
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()


class Calculator:
    """Keeps one program running. ``run`` is the restart loop; ``stop`` ends it, ``restart`` ends one run of it.

    ``command``: program and arguments; the program is looked up on PATH when it has no slash. ``withheld``: names of
    environment variables that the Calculator must not see; everything else of ``environ``, entries ``NAME=value``
    (default: those this process was started with), is passed on byte for byte. ``stderr_form``: CALCULATOR_LOG.
    ``takes_input``: whether a run that starts now is to take input, so that it loads until ``set_loading`` says
    otherwise. To be used on the main thread, inside the running loop.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        listener: Listener,
        reaper: Reaper,
        backoff_max_s: float,
        withheld: frozenset[str],
        environ: Sequence[bytes] | None = None,
        stable_s: float = STABLE_S,
        stderr_form: str = "wrap",
        stderr_tail: StderrTail | None = None,
        stop_signals: frozenset[int] = frozenset({SIGTERM}),
        takes_input: Callable[[], bool] = lambda: False,
    ) -> None:
        self.lifecycle = Lifecycle("calculator", CALCULATOR, CalculatorState.STOPPED, state_changed)
        self.restarts = 0
        self.last_exit: ExitStatus | None = None
        self.stderr_tail = StderrTail() if stderr_tail is None else stderr_tail
        self._write_stderr = calculator_log.FORMS[stderr_form]
        self.last_failure: Failure | None = None
        self.unsignallable_since_s: float | None = None
        """Since when the present run is seen to refuse our signals, by the monotonic clock."""
        self._fault: str | None = None  # why the present run is killed
        self._refusal_logged = False
        self._left_behind: set[int] = set()
        self._command = tuple(command)
        self._listener = listener
        self._reaper = reaper
        self._backoff = Backoff(backoff_max_s)
        self._stable_s = stable_s
        self._stop_signals = stop_signals
        self._stop_expected = asyncio.Event()
        self._takes_input = takes_input
        self._loading = False
        hidden = {os.fsencode(name) for name in withheld}
        entries = _own_environment() if environ is None else environ
        self.environ: Sequence[bytes] = [entry for entry in entries if entry.partition(b"=")[0] not in hidden]
        self._runs = 0
        self._run: Run | None = None
        self._ended: asyncio.Future[ExitStatus] | None = None
        self._ending: _Ending | None = None
        self._next_start_s = 0.0
        self._stop_asked = False
        self._restart_why: str | None = None
        self._wake = asyncio.Event()
        self._run_over = asyncio.Event()
        self._run_over.set()
        self._all_over = asyncio.Event()
        self._all_over.set()

    @property
    def pid(self) -> int | None:
        """Process id of the present run."""
        return self._run.pid if self._run is not None else None

    @property
    def failures(self) -> int:
        """Runs that ended by themselves and starts that failed, in a row, since the last stable run."""
        return self._backoff.failures

    def check(self) -> str:
        """Return the path of the program; raise ProgramNotFoundError (127) or ProgramNotExecutableError (126)."""
        search = (entry.removeprefix(b"PATH=") for entry in self.environ if entry.startswith(b"PATH="))
        return program.find(self._command[0], os.fsdecode(next(search, os.fsencode(os.defpath))))

    async def run(self) -> None:
        """Start, wait, restart, until ``stop``. The first start may raise ProgramNotFoundError and its like.

        Cancelled, or failed by its listener, it kills the Calculator at once.
        """
        self._all_over.clear()
        try:
            why = "first start"
            while not self._stop_asked:
                if self.lifecycle.state is not CalculatorState.CRASH_LOOP:
                    self.lifecycle.change(CalculatorState.STARTING, why)
                self._restart_why = None
                self._wake.clear()
                started = self._start()
                if started is not None:
                    await self._see_through(*started)
                why = await self._pause()
        finally:
            await self._kill_what_is_left()
            if self.lifecycle.state is not CalculatorState.STOPPED:
                self.lifecycle.change(CalculatorState.STOPPED, "no further run")
            self._all_over.set()

    def expect_stop(self, signum: int) -> None:
        """The Supervisor got this signal and is going to ``stop``: an end that comes from now on, or came just now, is
        no failure, and no run follows it.
        """
        self._stop_asked = True
        self._stop_expected.set()
        self._wake.set()
        if self._run is not None:
            self._run.end_asked = True
            self._run.maybe_told = os.getpid() != 1 and not _ends_by(self._run.pid, signum)

    async def stop(self, *, close_stdin: Callable[[], None], at_once: bool, grace_s: float) -> ExitStatus | None:
        """End the restart loop for good: EOF, SIGTERM at half of ``grace_s`` (``at_once``: now), SIGKILL at its end.

        Each step is skipped when the process is gone. Works in every state; a later call can only draw the end nearer.
        Returns, after the listener was done, how the last run ended; None if there never was one.
        """
        self._stop_asked = True
        self._wake.set()
        self._end_run("the Supervisor stops", close_stdin, at_once=at_once, grace_s=grace_s)
        await self._all_over.wait()
        return self.last_exit

    async def restart(self, why: str, *, close_stdin: Callable[[], None], grace_s: float) -> None:
        """End the present run in the same way and start the next one at once, also out of a back-off.

        Returns when the old run is gone and the listener done with it. Counts as no failure.
        """
        self._restart_why = why
        self._wake.set()
        self._end_run(why, close_stdin, at_once=False, grace_s=grace_s)
        await self._run_over.wait()

    def shorten_grace(self, grace_s: float) -> None:
        """An end that is under way is over ``grace_s`` from now at the latest."""
        if self._ending is not None:
            self._set_end(self._ending, at_once=False, grace_s=grace_s)

    def fail_run(self, why: str) -> None:
        """Kill the present run, and count it as a failure for this reason. Nothing if it ends already."""
        if self._run is not None and self._ended is not None and not self._ended.done() and self._ending is None:
            first = self._fault is None
            self._fault = self._fault or why
            self._signal(self._run, SIGKILL)
            if first:
                asyncio.get_running_loop().call_later(_patience_s(self._run), self._give_up, self._ended)

    def set_loading(self, loading: bool, why: str) -> None:
        """Note whether the present run has still to come to take input."""
        self._loading = loading
        state = self._state_of_run()
        if self.lifecycle.state in (CalculatorState.LOADING, CalculatorState.RUNNING) and self.lifecycle.state != state:
            self.lifecycle.change(state, why)

    def _state_of_run(self) -> CalculatorState:
        return CalculatorState.LOADING if self._loading else CalculatorState.RUNNING

    def forward(self, signum: int) -> None:
        """Send a signal to the Calculator's process group."""
        if self._run is not None and self._ended is not None and not self._ended.done():
            self._signal(self._run, signum)

    def look_at_permission(self) -> None:
        """Note whether the present run may be signalled; call it now and then: a program can change its user."""
        if self._run is None or self._ended is None or self._ended.done() or may_signal(self._run.pid):
            self.unsignallable_since_s = None
        elif self.unsignallable_since_s is None:
            self.unsignallable_since_s = time.monotonic()
            self._log_refusal(self._run.pid)

    def _signal(self, run: Run, signum: int) -> bool:
        """Send it to the run's process group; return False where nobody there may be signalled."""
        sent = signal_group(run.pid, signum)
        if not sent:
            self._log_refusal(run.pid)
        return sent

    def _log_refusal(self, pid: int) -> None:
        if not self._refusal_logged:
            self._refusal_logged = True  # once: it comes again with each run and each signal
            log.warning(
                "the calculator may not be signalled: it runs as another user, and the Supervisor has no CAP_KILL",
                pid=pid,
                remedy="run it as the Supervisor's user, or give the container the capability KILL",
            )

    # ---------------------------------------------------------------- one run

    def _start(self) -> tuple[Run, StderrLog] | None:
        """The next run, or None when it could not be started; SupervisorError if none ever was and none can be."""
        self._left_behind = {pid for pid in self._left_behind if self._reaper.watches(pid)}
        if len(self._left_behind) >= _LEFT_BEHIND_MAX:
            left = ", ".join(map(str, sorted(self._left_behind)))
            self._fail(Failure(f"could not be started: earlier runs that could not be ended live on, pid {left}"))
            return None
        try:
            run, stderr = self._spawn()
        except (OSError, SupervisorError) as error:
            if self._runs == 0:
                fatal = error if isinstance(error, SupervisorError) else program.start_error(error, self._command[0])
                if fatal is not None:
                    raise fatal from None
            self._fail(Failure(f"could not be started: {error}"))
            return None
        self._runs = run.number
        self.restarts = run.number - 1
        self._run = run
        self._ended = self._reaper.watch(run.pid)
        self._run_over.clear()
        self._loading = self._takes_input()
        if self.lifecycle.state is CalculatorState.CRASH_LOOP:
            log.info("calculator started again", pid=run.pid, run=run.number)
        else:
            looping = self._backoff.crash_loop
            state = CalculatorState.CRASH_LOOP if looping else self._state_of_run()
            self.lifecycle.change(state, f"pid {run.pid}, run {run.number}")
        return run, stderr

    def _spawn(self) -> tuple[Run, StderrLog]:
        path = self.check()
        opened: list[int] = []
        ours: list[int] = []
        try:
            stdin_read, stdin_write = _pipe(opened, PIPE_BYTES)
            stdout_read, stdout_write = _pipe(opened, PIPE_BYTES)
            stderr_read, stderr_write = _pipe(opened, None)
            ends = [stdin_write, stdout_read, stderr_read]
            for fd in ends:
                os.set_blocking(fd, False)
            pid = _spawn.spawn(
                os.fsencode(path),
                [os.fsencode(word) for word in self._command],
                self.environ,
                stdin_read,
                stdout_write,
                stderr_write,
            )
            ours = ends
        finally:
            # No read end of STDIN is kept: it would hide from the writer that the Calculator is gone.
            for fd in opened:
                if fd not in ours:
                    os.close(fd)
        run = Run(number=self._runs + 1, pid=pid, stdin_fd=stdin_write, stdout_fd=stdout_read)
        self.stderr_tail.begin_run()
        return run, StderrLog(stderr_read, pid, write=self._write_stderr, tail=self.stderr_tail)

    async def _see_through(self, run: Run, stderr: StderrLog) -> None:
        """Until the process is gone and the listener done with it."""
        ended = self._ended
        assert ended is not None
        stable = asyncio.get_running_loop().call_later(self._stable_s, self._on_stable, run)
        try:
            await self._listener.calculator_started(run)
            status = await asyncio.shield(ended)
        finally:
            stable.cancel()
            # What was left of its process group was killed with it: STDERR has an end, or a stranger holds it.
            await stderr.finish(_STDERR_REST_S if ended.done() else 0.0)
        lasted_s = round(time.monotonic() - run.started_s, 3)
        await self._let_a_stop_catch_up(run, status)
        asked = run.end_asked
        self._forget_run()
        self.last_exit = status
        log.info("calculator ended", pid=run.pid, run=run.number, status=str(status), lasted_s=lasted_s, asked=asked)
        if asked and self.lifecycle.state in (CalculatorState.LOADING, CalculatorState.RUNNING):
            self.lifecycle.change(CalculatorState.STOPPING, "it ended when the Supervisor was asked to stop")
        if not asked:
            self._fail(Failure(self._how_it_failed(run, status), lasted_s, self._last_words()))
        self._fault = None
        try:
            await self._listener.calculator_exited(run, status)
        finally:
            self._run_over.set()

    async def _let_a_stop_catch_up(self, run: Run, status: ExitStatus) -> None:
        """Of a stop that came to both of us, the Calculator's end may be seen first."""
        by_a_stop = status.signal is None or status.signal in self._stop_signals
        if by_a_stop and self._fault is None and not run.end_asked:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_expected.wait(), _SAME_MOMENT_S)
            run.end_asked = self._stop_expected.is_set()

    def _last_words(self) -> str | None:
        """What the run said of its end; empty if it wrote nothing, None if that is not known."""
        words = self.stderr_tail.telling
        return None if words is None else words[:LAST_WORDS_CHARS]

    def _how_it_failed(self, run: Run, status: ExitStatus) -> str:
        if self._fault is None:
            return _unasked(status)
        end = "could not be killed and was left behind" if run.pid in self._left_behind else "was killed"
        return f"{end} by the Supervisor: {self._fault}"

    def _on_stable(self, run: Run) -> None:
        self._backoff.reset()
        if self.lifecycle.state is CalculatorState.CRASH_LOOP:
            self.lifecycle.change(self._state_of_run(), f"run {run.number} has been stable for {self._stable_s:g} s")

    def _fail(self, failure: Failure) -> None:
        self.last_failure = failure
        delay_s = self._backoff.failed()
        self._next_start_s = time.monotonic() + delay_s
        why = f"{failure}; failure {self.failures} in a row, next start in {delay_s:.1f} s"
        if self.lifecycle.state is CalculatorState.CRASH_LOOP:
            log.error("calculator failed again", why=why)
            return
        self.lifecycle.change(CalculatorState.CRASH_LOOP if self._backoff.crash_loop else CalculatorState.BACKOFF, why)

    async def _pause(self) -> str:
        """Wait for the time of the next start, for a stop or for a restart. Returns why there is a next start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, self._next_start_s - time.monotonic())):
                await self._wake.wait()
        return self._restart_why or f"failure {self.failures}, its delay is over"

    def _forget_run(self) -> None:
        if self._ending is not None:
            self._ending.cancel_timers()
            self._ending = None
        self._run = None
        self._ended = None
        self.unsignallable_since_s = None

    async def _kill_what_is_left(self) -> None:
        run, ended = self._run, self._ended
        if run is None or ended is None:
            return
        if self.lifecycle.state is not CalculatorState.STOPPING:
            self.lifecycle.change(CalculatorState.STOPPING, "the restart loop was broken off")
        if not ended.done():
            self._signal(run, SIGKILL)
            await asyncio.wait({ended}, timeout=_patience_s(run))
        self._forget_run()
        self._run_over.set()

    # ---------------------------------------------------------------- the end of one run

    def _end_run(self, why: str, close_stdin: Callable[[], None], *, at_once: bool, grace_s: float) -> None:
        if self._ended is None or self._ended.done():
            return
        if self._ending is not None:
            self._set_end(self._ending, at_once=at_once, grace_s=grace_s)
            return
        self._ending = ending = _Ending(terminate_at_s=math.inf, kill_at_s=math.inf)
        if self._run is not None:
            self._run.end_asked = True
        self.lifecycle.change(CalculatorState.STOPPING, why)
        try:
            close_stdin()
        finally:
            self._set_end(ending, at_once=at_once, grace_s=grace_s)

    def _set_end(self, ending: _Ending, *, at_once: bool, grace_s: float) -> None:
        """Draw the end nearer if this is nearer; never put it off."""
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        ending.terminate_at_s = min(ending.terminate_at_s, now_s if at_once else now_s + grace_s / 2)
        ending.kill_at_s = min(ending.kill_at_s, now_s + grace_s)
        ending.cancel_timers()
        if self._run is not None and not self._run.terminate_sent:
            if ending.terminate_at_s <= now_s:
                self._terminate()
            else:
                ending.timers.append(loop.call_at(ending.terminate_at_s, self._terminate))
        ending.timers.append(loop.call_at(ending.kill_at_s, self._kill, ending))

    def _terminate(self) -> None:
        if self._run is None or self._ended is None or self._ended.done():
            return
        log.info("SIGTERM to the calculator", pid=self._run.pid)
        self._run.terminate_sent = self._signal(self._run, SIGTERM)
        self._signal(self._run, SIGCONT)  # a stopped process could not act on it

    def _kill(self, ending: _Ending) -> None:
        if self._run is None or self._ended is None or self._ended.done():
            return
        log.warning("the calculator did not end within its grace: SIGKILL", pid=self._run.pid)
        sent = self._signal(self._run, SIGKILL)
        self._run.terminate_sent = self._run.terminate_sent or sent
        patience_s = _patience_s(self._run)
        ending.timers.append(asyncio.get_running_loop().call_later(patience_s, self._give_up, self._ended))

    def _give_up(self, ended: asyncio.Future[ExitStatus]) -> None:
        """Go on without a process that does not end; its status is taken when it does, by the reaper."""
        if self._run is None or self._ended is not ended or ended.done():
            return
        if may_signal(self._run.pid):
            why = "SIGKILL did not end it: it hangs in the kernel"
        else:
            why = "it may not be signalled and does not end by itself"
        log.error("the calculator is left behind", pid=self._run.pid, why=why)
        if self._ending is not None:
            self._run.terminate_sent = True  # nothing of how it ends is its failure
        self._left_behind.add(self._run.pid)
        ended.set_result(ExitStatus(code=None, signal=None))


def _patience_s(run: Run) -> float:
    """How long after SIGKILL its end is waited for: one that refuses it does not end, even if its group got it."""
    return _UNKILLABLE_S if may_signal(run.pid) else _REFUSED_S


def _ends_by(pid: int, signum: int) -> bool:
    """Whether this signal ends the process by default, so that its status tells of it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        masks = dict(line.split(":", 1) for line in lines if line.startswith("Sig"))
        handled = (int(masks[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt"))
        return not any(mask >> (signum - 1) & 1 for mask in handled)
    except (OSError, KeyError, ValueError):
        return False  # it cannot be looked at


def _unasked(status: ExitStatus) -> str:
    if status.signal is None:
        return f"ended by itself with {status}"
    return f"was {status}" + (", not by the Supervisor: out of memory?" if status.signal == SIGKILL else "")


def _own_environment() -> list[bytes]:
    """As the kernel was given it: Python's copy lacks doubles and gains LC_CTYPE where there is no locale (PEP 538)."""
    try:
        return Path("/proc/self/environ").read_bytes().split(b"\0")[:-1]
    except OSError:  # /proc is hidden
        return [name + b"=" + value for name, value in os.environb.items()]


def _pipe(opened: list[int], size_bytes: int | None) -> tuple[int, int]:
    """A pipe closed on exec, its ends noted in ``opened``."""
    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    opened += (read_fd, write_fd)
    if size_bytes is not None:
        with contextlib.suppress(OSError):  # an unprivileged process has a limit; the kernel's default works too
            fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, size_bytes)
    return read_fd, write_fd
