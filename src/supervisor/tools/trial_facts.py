"""What a program does, found out by running it several times on sample lines. Each run is bounded, and the whole is."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Final

from supervisor.tools.trial_run import TrialRun

MARKER: Final = b"\x1eBDZ-ACK 1"
STEP_LINES: Final = 12
"""So many lines are given one at a time."""

BULK_BYTES: Final = 160_000
"""So much is given at once: more than any usual buffer, and more than a pipe holds."""

_LOAD_S: Final = 20.0
_STEP_S: Final = 6.0
_STEPS_S: Final = 10.0
_BULK_S: Final = 5.0
_GRACE_S: Final = 3.0  # SHUTDOWN_GRACEPERIOD's default
_WHOLE_S: Final = 50.0


@dataclass
class Facts:
    """What was seen; None is what could not be told."""

    lines_given: int = 0
    crashed: str | None = None
    """How it ended on the samples, with its last line on STDERR."""

    crashed_at_line: int | None = None
    loads_s: float | None = None
    """Until it waited for its first line."""

    prints_before_it_reads: bool | None = None
    first_line_before_it_reads: str | None = None
    prints: bool | None = None
    """Whether it prints anything at all for the samples."""

    answers_each_line: bool | None = None
    """Whether each line was answered while it was the last one: it reads, handles, prints, flushes."""

    lines_out_for_each: list[int] = field(default_factory=list)
    lines_in_all: int | None = None
    lines_out_in_all: int | None = None
    holds_back: str | None = None
    """Where answers wait: ``output buffer``, ``input block``, ``end of input``, ``the next line``."""

    works_in_background: bool | None = None
    """Whether it waited for more lines while answers to those it had were still to come."""

    reads_by: list[str] = field(default_factory=list)
    threads: int = 0
    processes: int = 0
    latency_ms: float | None = None
    lines_a_second: float | None = None
    echoes_markers: bool | None = None
    ends_at_end_of_input: bool | None = None
    end_took_s: float | None = None
    status_at_the_end: int | None = None
    ends_on_sigterm: bool | None = None
    lost_by_sigkill: int | None = None
    """Lines it had taken and not answered when it was killed at rest: what a crash loses if they count as done."""

    unbuffered_helps: bool | None = None
    """Whether the same program answered each line when it was told from outside not to hold back."""

    def as_json(self) -> dict[str, object]:
        """Return what goes to ``--json``."""
        return asdict(self)


class Trial:
    """The runs, one after the other. ``say`` is told what is going on."""

    def __init__(self, command: Sequence[str], samples: Sequence[bytes], say: Callable[[str], None]) -> None:
        self.facts = Facts()
        self.last_words = ""
        self._command = list(command)
        self._samples = [line + b"\n" for line in samples]
        self._say = say
        self._until_s = time.monotonic() + _WHOLE_S
        self._background = False  # seen when lines came one at a time
        self._killed_lines = 0, 0  # given and answered, when it was killed at rest
        self._early_bytes = self._early_lines = 0  # printed before the end of input
        self._early_ends_whole = True

    def run(self) -> Facts:
        """Find everything out, or that it crashes on these lines."""
        for step in (self._one_at_a_time, self._much_at_once, self._classify, self._markers, self._ends):
            step()
            if self.facts.crashed is not None:
                break
        return self.facts

    def answers_with(self, command: Sequence[str], environ: Mapping[str, str]) -> bool:
        """Whether it answers each line when it is started so."""
        with self._started(command, environ) as run:
            run.settle(_LOAD_S)
            before = run.lines
            for line in self._samples[:3]:
                if not run.send(line):
                    return False
                run.settle(_STEP_S)
            return run.lines - before >= min(3, len(self._samples))

    @contextmanager
    def _started(
        self, command: Sequence[str] | None = None, environ: Mapping[str, str] | None = None
    ) -> Iterator[TrialRun]:
        run = TrialRun(command or self._command, self._until_s, environ)
        try:
            yield run
        finally:
            run.close()
            self.last_words = run.last_words() or self.last_words

    # ---------------------------------------------------------------- the runs

    def _one_at_a_time(self) -> None:
        facts = self.facts
        self._say(f"it is started and gets {min(STEP_LINES, len(self._samples))} lines, one at a time")
        with self._started() as run:
            run.settle(_LOAD_S)
            facts.loads_s = round(time.monotonic() - run.began_s, 3)
            facts.prints_before_it_reads = bool(run.out)
            if run.out:
                facts.first_line_before_it_reads = bytes(run.out.split(b"\n")[0][:100]).decode("utf-8", "replace")
            if self._crashed(run, 0):
                return
            run.processes = run.threads = 0  # of its start: a wrapper's do not work on lines
            latencies: list[float] = []
            for number, line in enumerate(self._samples[:STEP_LINES], 1):
                before, sent_s = run.lines, time.monotonic()
                run.send(line)
                run.settle(_STEP_S)
                if run.answered_s is not None:
                    latencies.append(run.answered_s - sent_s)
                facts.lines_out_for_each.append(run.lines - before)
                facts.lines_given = number
                if self._crashed(run, number):
                    return
                if number >= 4 and not any(facts.lines_out_for_each) and "read" not in run.readers:
                    break  # it will not, and each line costs seconds
                if time.monotonic() - run.began_s - facts.loads_s > _STEPS_S:
                    break
            self._note_readers(run)
            if latencies:
                facts.latency_ms = round(statistics.median(latencies) * 1000, 2)
            self._background = run.background
            taken = run.lines
            self._say("it is killed, to see what is lost")
            run.signal(signal.SIGKILL)
            run.wait_end(5)
            run.wait(lambda: False, 0.05)
            self._killed_lines = facts.lines_given, run.lines - (taken - sum(facts.lines_out_for_each))

    def _much_at_once(self) -> None:
        facts = self.facts
        block = b"".join(self._samples)
        text = block * max(1, -(-BULK_BYTES // len(block)))
        if facts.latency_ms is not None and any(facts.lines_out_for_each):
            most = max(24, int(_BULK_S * 1000 / max(0.01, facts.latency_ms)))
            text = b"".join(line + b"\n" for line in text.split(b"\n")[:most] if line)
        facts.lines_in_all = text.count(b"\n")
        self._say(f"it gets {facts.lines_in_all:,} lines at once, and then the end of its input")
        with self._started() as run:
            run.settle(_LOAD_S)
            silent, run.processes, run.threads = run.lines, 0, 0
            began_s = time.monotonic()
            sent = run.send(text)
            run.settle(12.0)
            took_s = time.monotonic() - began_s
            self._early_bytes, before = len(run.out), run.lines - silent
            self._early_ends_whole = run.out.endswith(b"\n") or not run.out
            self._note_readers(run)
            if "read" in facts.reads_by:
                facts.works_in_background = run.background or self._background
            if self._crashed(run, None):
                return
            all_read = run.unread_bytes == 0
            run.close_stdin()
            ended_s = time.monotonic()
            self._early_lines = before
            facts.ends_at_end_of_input = run.wait_end(_GRACE_S if all_read else 15.0)
            if facts.ends_at_end_of_input:
                facts.end_took_s = round(time.monotonic() - ended_s, 3)
                facts.status_at_the_end = run.status
            facts.lines_out_in_all = run.lines - silent
            facts.prints = run.lines > silent or sum(facts.lines_out_for_each) > 0
            if sent and all_read and before:
                facts.lines_a_second = round(facts.lines_in_all / max(took_s, 0.001))

    def _markers(self) -> None:
        facts = self.facts
        if facts.holds_back in ("output buffer", "end of input", "input block"):
            facts.echoes_markers = None
            return
        self._say("it gets a marker line")
        with self._started() as run:
            run.settle(_LOAD_S)
            for line in (self._samples[0], MARKER + b"\n"):
                run.send(line)
                run.settle(_STEP_S)
            facts.echoes_markers = not run.ended and MARKER in bytes(run.out).split(b"\n")

    def _ends(self) -> None:
        facts = self.facts
        self._say("it gets SIGTERM")
        with self._started() as run:
            run.settle(_LOAD_S)
            run.send(self._samples[0])
            run.settle(1.0)
            run.signal(signal.SIGTERM)
            facts.ends_on_sigterm = run.wait_end(_GRACE_S / 2)

    # ---------------------------------------------------------------- what they show

    def _classify(self) -> None:
        facts = self.facts
        each = facts.lines_out_for_each
        assert facts.lines_in_all is not None
        assert facts.lines_out_in_all is not None
        late = facts.lines_out_in_all - self._early_lines
        ratio = facts.lines_out_in_all / facts.lines_in_all
        if not facts.prints:
            facts.answers_each_line = None
        elif sum(each) == 0:
            facts.answers_each_line = False
            if self._early_bytes == 0:
                facts.holds_back = "end of input"
            elif not self._early_ends_whole or self._early_bytes % 4096 == 0:
                facts.holds_back = "output buffer"
            else:
                facts.holds_back = "input block" if ratio > 0.2 else None
            if facts.holds_back is None:
                facts.answers_each_line = None  # it prints rarely
        elif late > 0 and not facts.works_in_background and each[0] == 0 and late <= max(3, *each):
            facts.answers_each_line, facts.holds_back = False, "the next line"
        elif late > 0 and not self._early_ends_whole:
            facts.answers_each_line, facts.holds_back = False, "output buffer"
        else:
            facts.answers_each_line = True
        given, answered = self._killed_lines
        if facts.prints and ratio >= 0.95:
            facts.lost_by_sigkill = max(0, given - round(answered / max(1.0, round(ratio))))
        elif facts.holds_back:
            facts.lost_by_sigkill = given

    def _crashed(self, run: TrialRun, line: int | None) -> bool:
        if not run.ended:
            return False
        run.wait_end(1)
        status = run.status
        assert status is not None
        how = (
            f"it was killed by {signal.Signals(-status).name}" if status < 0 else f"it ended with exit status {status}"
        )
        words = run.last_words()
        self.facts.crashed = how + (f"; its last line on STDERR: {words}" if words else "")
        self.facts.crashed_at_line = line
        return True

    def _note_readers(self, run: TrialRun) -> None:
        facts = self.facts
        facts.reads_by = sorted({*facts.reads_by, *run.readers})
        facts.threads, facts.processes = max(facts.threads, run.threads), max(facts.processes, run.processes)
