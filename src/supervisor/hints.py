"""Hints a person can use: what is seen of a Calculator that is no failure, and what its author or operator can do.

`Hints` is told the counters of both native ends now and then, and owns what has to be remembered between two looks.
A hint is logged when it begins and stands in a check while it lasts. One that `warns` makes the check a warning; the
others are information, because the Calculator may be right as it is.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from supervisor.standstill import Standstill

log = structlog.get_logger("supervisor.hints")

PATIENCE_S: Final = 10.0
"""For so long nothing printed, or nothing acknowledged, is no news."""

LOG_AGAIN_S: Final = 300.0
"""One that comes and goes is logged again after this at the earliest."""

_OTHER_MODES: Final = "ACK_MODE=line or marker"


class WatchNote(enum.IntEnum):
    """What the watch over a Calculator in `demand` found out about it: `watch_note` of the inlet's snapshot."""

    NONE = 0
    EVENT_LOOP = 1
    TIMED_THREADS = 2
    UNSEEN_ONE = 3
    UNSEEN_SEVERAL = 4
    SEVERAL = 5
    REST_OVERDUE = 6


WATCH_NOTES: Final = {
    WatchNote.EVENT_LOOP: (
        "it reads STDIN from an event loop, where background work cannot be told apart from rest: records are "
        "acknowledged after ACK_IDLE of rest; if it works on them in the background for longer, raise ACK_IDLE or set "
        f"{_OTHER_MODES}"
    ),
    WatchNote.TIMED_THREADS: (
        "it has other threads that wait with a time limit or on sockets, and whether they work on records cannot be "
        "told: records are acknowledged after ACK_IDLE of rest; if those threads work on them for longer, raise "
        f"ACK_IDLE or set {_OTHER_MODES}"
    ),
    WatchNote.UNSEEN_ONE: (
        "its threads cannot be looked at, because it runs as another user or /proc is hidden: records are acknowledged "
        "only as it reads on, so the last ones before a pause of the stream wait, and are handled again after a "
        "restart; run it as the Supervisor's user, give the container the capability SYS_PTRACE, or set "
        f"{_OTHER_MODES}"
    ),
    WatchNote.UNSEEN_SEVERAL: (
        "several processes do its work and cannot be looked at, because they run as another user or /proc is hidden: "
        "records count as done when 64 KiB more were read behind them, and those that are still worked on then are "
        "lost if it crashes; set ACK_MODE=line (or marker), run it as the Supervisor's user, or give the container the "
        "capability SYS_PTRACE"
    ),
    WatchNote.SEVERAL: (
        "several processes share its work, so records are written in batches with a rest between two; if that is too "
        f"slow, raise FEED_AHEAD or set {_OTHER_MODES}"
    ),
    WatchNote.REST_OVERDUE: (
        f"it has read all it was given and has not come to rest for {PATIENCE_S:g} s, so nothing of it can be "
        "acknowledged; if it is still at work, wait; if something in it never rests, set "
        f"{_OTHER_MODES}; CALCULATOR_TIMEOUT restarts one that hangs"
    ),
}
"""What each says and what can be done, as a sentence that goes on after the Calculator was named."""

_WARNING_NOTES: Final = frozenset({WatchNote.UNSEEN_SEVERAL, WatchNote.REST_OVERDUE})
_EXPLAIN_A_STALL: Final = frozenset({WatchNote.UNSEEN_ONE, WatchNote.REST_OVERDUE})


class Kind(enum.Enum):
    """What a hint is about."""

    SILENT = "silent"
    """The Calculator has read records and printed nothing in its run."""
    STALLED = "stalled"
    """Nothing has been acknowledged, and the Calculator is the likely cause."""
    UNDELIVERED = "undelivered"
    """Likewise, and Kafka is."""
    WATCH = "watch"
    """A `WatchNote`."""


@dataclass(frozen=True)
class Hint:
    """What is to be said, and for how long that has been so. ``words`` go on after "the Calculator" was named.

    ``warns``: it makes the check of its side a warning.
    """

    kind: Kind
    words: str
    warns: bool
    for_s: float
    note: WatchNote = WatchNote.NONE


@dataclass(frozen=True)
class Seen:
    """One look. ``run``: the number of the Calculator's present run, None when there is none.

    ``start``: of that run, the counters when it began: ``lines_written`` and ``bytes_written`` of its inlet, and
    ``bytes_read`` of the outlet. ``flowing``: neither paused nor draining, with a route. ``acked_by_lines``: by the
    rule `line` or `marker`, which need something printed.
    """

    run: int | None
    start: Mapping[str, int]
    flowing: bool
    prints: bool
    """The route has an outgoing stream."""
    acked_by_lines: bool
    window_records: int
    window_bytes: int
    inlet: Mapping[str, int]
    outlet: Mapping[str, int]
    throttled: bool = False
    """Brokers slow the producer down: that lines wait has its reason, which is said."""

    @property
    def taken_bytes(self) -> int:
        """What the run has read of its STDIN."""
        return max(0, self.written_bytes - self.inlet.get("stdin_unread_bytes", 0))

    @property
    def written_bytes(self) -> int:
        """What was written to it."""
        return self.inlet.get("bytes_written", 0) - self.start.get("bytes_written", 0)

    @property
    def taken_records(self) -> int:
        """About how many records that is: of those that are written, the share of what was read."""
        lines = self.inlet.get("lines_written", 0) - self.start.get("lines_written", 0)
        return max(1, lines * self.taken_bytes // max(1, self.written_bytes))

    @property
    def printed_bytes(self) -> int:
        """What the run has printed."""
        return self.outlet.get("bytes_read", 0) - self.start.get("bytes_read", 0)

    @property
    def window_full(self) -> bool:
        """Whether no further record is taken before one is acknowledged."""
        return (
            self.inlet["in_flight_records"] >= self.window_records or self.inlet["in_flight_bytes"] >= self.window_bytes
        )


@dataclass
class _Run:
    """What is remembered of one run while records flow."""

    number: int | None = None
    acknowledged: Standstill = field(default_factory=Standstill)
    delivered: Standstill = field(default_factory=Standstill)
    moved: Standstill = field(default_factory=Standstill)
    """Neither read nor printed."""
    silence: Standstill = field(default_factory=Standstill)
    """Since the first record was read."""


class Hints:
    """Of one Supervisor."""

    def __init__(self) -> None:
        self._run = _Run()
        self._standing: dict[tuple[Kind, WatchNote], tuple[Hint, float]] = {}
        self._logged: dict[tuple[Kind, WatchNote], float] = {}

    def look(self, seen: Seen, now_s: float) -> None:
        """Take a look at the counters; call it now and then, at least every few seconds."""
        if seen.run != self._run.number:
            self._run = _Run(seen.run)
        stood, self._standing = self._standing, {}
        for hint in self._found(seen, now_s):
            key = hint.kind, hint.note
            _, since_s = stood.get(key, (hint, now_s - hint.for_s))
            self._standing[key] = hint, since_s
            if now_s - self._logged.get(key, -math.inf) >= LOG_AGAIN_S and key not in stood:
                self._logged[key] = now_s
                (log.warning if hint.warns else log.info)("about the calculator", hint=hint.kind.value, what=hint.words)

    def at(self, now_s: float) -> tuple[Hint, ...]:
        """Those that stand, as the last look found them; nothing is changed by it."""
        return tuple(replace(hint, for_s=now_s - since_s) for hint, since_s in self._standing.values())

    def _found(self, seen: Seen, now_s: float) -> Iterator[Hint]:
        if seen.run is None or not seen.inlet or not seen.outlet:
            return
        note = _note(seen.inlet)
        if note is not WatchNote.NONE:
            yield Hint(Kind.WATCH, WATCH_NOTES[note], note in _WARNING_NOTES, 0.0, note)
        silent = seen.flowing and seen.prints and seen.taken_bytes > 0 and seen.printed_bytes <= 0
        silent_s = self._run.silence.for_s(0, now_s, full=silent)
        if silent_s is not None and silent_s >= PATIENCE_S:
            yield Hint(Kind.SILENT, _silent(seen), True, silent_s)
        stall = self._stall(seen, now_s)
        if stall is not None and stall.kind is Kind.UNDELIVERED and seen.throttled:
            return
        if stall is not None and not (stall.kind is Kind.STALLED and note in _EXPLAIN_A_STALL and not _unread(seen)):
            yield stall

    def _stall(self, seen: Seen, now_s: float) -> Hint | None:
        """That nothing was acknowledged for a while though records are in flight, with the likely cause."""
        inlet, outlet, run = seen.inlet, seen.outlet, self._run
        # One that closed its STDIN or owes an echo is told of in sentences of their own.
        at_fault = inlet.get("stdin_broken", 0) or inlet.get("echo_owed", 0)
        waits = seen.flowing and inlet["in_flight_records"] > 0 and not at_fault
        stalled_s = run.acknowledged.for_s(inlet["acknowledged"], now_s, full=waits)
        undelivered_s = run.delivered.for_s(outlet["lines_delivered"], now_s, full=waits and outlet["undelivered"] > 0)
        moved = inlet["bytes_written"] - _unread(seen) + outlet["bytes_read"]
        still_s = run.moved.for_s(moved, now_s, full=waits)
        if stalled_s is None or stalled_s < PATIENCE_S:
            return None
        nothing = f"nothing of {_count(inlet['in_flight_records'], 'record')} in flight has been acknowledged"
        if outlet["output_full"] or (undelivered_s or 0.0) >= PATIENCE_S:
            lines = _count(outlet["undelivered"], "line")
            cause = (
                f"{lines} of the Calculator on the way to the outgoing stream are not confirmed by Kafka; look at the "
                "brokers"
            )
            return Hint(Kind.UNDELIVERED, f"{nothing}: {cause}", True, stalled_s)
        if inlet["unanswered"] == 0:
            cause = (
                "the Calculator is done with all that was written, and Kafka does not confirm what has to follow (a "
                "commit, a transaction or a dead letter); look at the brokers"
            )
            return Hint(Kind.UNDELIVERED, f"{nothing}: {cause}", True, stalled_s)
        cause = _cause(seen, still=still_s is not None and still_s >= PATIENCE_S)
        return Hint(Kind.STALLED, f"{nothing}: {cause}; CALCULATOR_TIMEOUT restarts one that hangs", True, stalled_s)


def _silent(seen: Seen) -> str:
    about = "" if seen.inlet["stdin_unread_bytes"] == 0 else "about "
    return (
        f"it has read {about}{_count(seen.taken_records, 'record')} and printed nothing in this run: does it flush what"
        " it prints? A newline flushes nothing into a pipe; in Python PYTHONUNBUFFERED=1 or print(…, flush=True) does."
        " A filter that lets nothing through is right as it is"
    )


def _cause(seen: Seen, *, still: bool) -> str:
    """What the counters say of a Calculator that has work, and of which nothing is acknowledged."""
    if _unread(seen) and seen.taken_bytes == 0:
        return "it has read nothing since it was started, so it still loads, or it does not read its STDIN at all"
    if _unread(seen) and still:
        return "it neither reads nor prints, so it is at work on what it has read, or it hangs"
    if still and seen.window_full:
        return (
            "it has read all of them, and no more are taken before some are acknowledged, so it is at work on them, it "
            "hangs, or it collects more than MAX_IN_FLIGHT_RECORDS and MAX_IN_FLIGHT_BYTES allow"
        )
    if still and seen.acked_by_lines:
        return (
            "it has read all of them and prints nothing, so it is at work on them, it keeps its answers back (does it "
            "flush what it prints?), or it hangs"
        )
    if still:
        return "it has read all of them and does not come back for more, so it is at work on them, or it hangs"
    if seen.acked_by_lines:
        return (
            "it goes on, and the answer to the first of them is missing (ACK_MODE=line needs a line for each record in "
            "their order, ACK_MODE=marker each marker line as it is)"
        )
    return "it goes on, and does not come back for more"


def _unread(seen: Seen) -> int:
    return seen.inlet.get("stdin_unread_bytes", 0)


def _note(inlet: Mapping[str, int]) -> WatchNote:
    try:
        return WatchNote(inlet.get("watch_note", 0))
    except ValueError:  # of a native module that knows more
        return WatchNote.NONE


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
