"""Hints: what the counters of both ends show of a Calculator, when it is said, and that it is said once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from supervisor.hints import LOG_AGAIN_S, PATIENCE_S, WATCH_NOTES, Hint, Hints, Kind, Seen, WatchNote

INLET = {
    "acknowledged": 0,
    "bytes_written": 0,
    "echo_owed": 0,
    "in_flight_bytes": 0,
    "in_flight_records": 0,
    "lines_written": 0,
    "stdin_broken": 0,
    "stdin_unread_bytes": 0,
    "unanswered": 0,
}
OUTLET = {"bytes_read": 0, "lines_delivered": 0, "output_full": 0, "undelivered": 0}
QUIET = Seen(
    run=1,
    start={"lines_written": 0, "bytes_written": 0, "bytes_read": 0},
    flowing=True,
    prints=True,
    acked_by_lines=False,
    window_records=1000,
    window_bytes=1 << 20,
    inlet=INLET,
    outlet=OUTLET,
)


def inlet(**changes: int) -> dict[str, int]:
    return INLET | changes


def outlet(**changes: int) -> dict[str, int]:
    return OUTLET | changes


READ = inlet(lines_written=40, bytes_written=4000)
"""40 records written and read, and done as far as that goes."""
HELD = inlet(lines_written=40, bytes_written=4000, in_flight_records=40, unanswered=40)
"""The same, and none of them acknowledged."""


class World:
    """Time that goes on in half seconds, as the daemon looks."""

    def __init__(self) -> None:
        self.hints = Hints()
        self.now_s = 1000.0

    def look(self, seen: Seen, for_s: float = 0.5) -> list[Hint]:
        """Nothing changes for so long; return what stands then."""
        end_s = self.now_s + for_s
        while self.now_s < end_s:
            self.now_s += 0.5
            self.hints.look(seen, self.now_s)
        return list(self.hints.at(self.now_s))


def seen(**changes: Any) -> Seen:
    return replace(QUIET, **changes)


def kinds(hints: list[Hint]) -> list[Kind]:
    return [hint.kind for hint in hints]


# -------------------------------------------------------------------- reads, and prints nothing


def test_one_that_reads_and_prints_nothing_is_asked_whether_it_flushes() -> None:
    """Ten seconds after the first record was read, not after its start; with what is to be done."""
    world = World()
    assert world.look(QUIET, 100) == []
    assert world.look(seen(inlet=READ), PATIENCE_S) == []
    (hint,) = world.look(seen(inlet=READ))
    assert (hint.kind, hint.warns, hint.for_s) == (Kind.SILENT, True, PATIENCE_S)
    assert hint.words.startswith("it has read 40 records and printed nothing in this run")
    assert "PYTHONUNBUFFERED=1" in hint.words
    assert "flush=True" in hint.words
    assert "filter" in hint.words
    assert world.look(seen(inlet=READ), 60)[0].for_s == PATIENCE_S + 60
    assert world.look(seen(inlet=READ, outlet=outlet(bytes_read=1))) == []
    assert world.look(seen(inlet=READ, outlet=outlet(bytes_read=1)), 100) == []


def test_records_that_are_still_in_the_pipe_were_not_read() -> None:
    """They are counted by the bytes that were taken; one that took none is no silent one."""
    world = World()
    unread = READ | {"stdin_unread_bytes": 4000}
    assert Kind.SILENT not in kinds(world.look(seen(inlet=unread), 100))
    half = READ | {"stdin_unread_bytes": 2000}
    hints = world.look(seen(inlet=half), PATIENCE_S + 1)
    assert kinds(hints) == [Kind.SILENT]
    assert "it has read about 20 records" in hints[0].words


@pytest.mark.parametrize(
    "changes", [{"prints": False}, {"flowing": False}, {"run": None}, {"inlet": {}}, {"outlet": outlet(bytes_read=7)}]
)
def test_silence_is_right_where_nothing_can_be_seen_or_is_wanted(changes: dict[str, Any]) -> None:
    """No outgoing stream, no flow (STDOUT is not read then), no run, no records, or a line at its start."""
    assert World().look(seen(**{"inlet": READ} | changes), 100) == []


def test_what_another_run_did_is_not_this_ones() -> None:
    """Neither the lines that the one before printed, nor the records that it read."""
    world = World()
    start = {"lines_written": 40, "bytes_written": 4000, "bytes_read": 500}
    later = seen(run=2, start=start, inlet=READ, outlet=outlet(bytes_read=500))
    assert world.look(later, 100) == []
    more = inlet(lines_written=41, bytes_written=4100)
    (hint,) = world.look(replace(later, inlet=more), PATIENCE_S + 1)
    assert "it has read 1 record and printed nothing" in hint.words
    assert world.look(replace(later, run=3, start=more | {"bytes_read": 500}, inlet=more), 100) == []


def test_a_pause_begins_the_time_anew() -> None:
    """What it printed meanwhile waits in its pipe."""
    world = World()
    world.look(seen(inlet=READ), PATIENCE_S)
    assert world.look(seen(inlet=READ, flowing=False), 60) == []
    assert world.look(seen(inlet=READ), PATIENCE_S) == []
    assert kinds(world.look(seen(inlet=READ), 1)) == [Kind.SILENT]


# -------------------------------------------------------------------- nothing is acknowledged

PRINTED = outlet(bytes_read=100)
STALLS: list[tuple[dict[str, Any], Kind, str]] = [
    (
        {"inlet": HELD | {"stdin_unread_bytes": 4000}},
        Kind.STALLED,
        "it has read nothing since it was started, so it still loads, or it does not read its STDIN at all",
    ),
    ({"inlet": HELD | {"stdin_unread_bytes": 100}}, Kind.STALLED, "it neither reads nor prints"),
    ({"inlet": HELD}, Kind.STALLED, "does not come back for more"),
    ({"inlet": HELD, "acked_by_lines": True}, Kind.STALLED, "it keeps its answers back (does it flush"),
    # the window is full long before the pipe is
    ({"inlet": HELD, "window_records": 40}, Kind.STALLED, "more than MAX_IN_FLIGHT_RECORDS and MAX_IN_FLIGHT_BYTES"),
    (
        {"inlet": HELD | {"in_flight_bytes": 1 << 20}},
        Kind.STALLED,
        "more than MAX_IN_FLIGHT_RECORDS and MAX_IN_FLIGHT_BYTES",
    ),
    ({"outlet": PRINTED | {"undelivered": 3}}, Kind.UNDELIVERED, "3 lines of the Calculator on the way"),
    ({"outlet": PRINTED | {"output_full": 1, "undelivered": 3}}, Kind.UNDELIVERED, "look at the brokers"),
    ({"inlet": HELD | {"unanswered": 0}}, Kind.UNDELIVERED, "a commit, a transaction or a dead letter"),
]


@pytest.mark.parametrize(("changes", "kind", "words"), STALLS)
def test_nothing_acknowledged_has_its_likely_cause(changes: dict[str, Any], kind: Kind, words: str) -> None:
    """By what the counters say; after ten seconds, and over with the first acknowledgement."""
    world = World()
    stalled = seen(**{"inlet": HELD, "outlet": PRINTED} | changes)
    assert world.look(stalled, PATIENCE_S) == []
    (hint,) = world.look(stalled, 1)
    assert (hint.kind, hint.warns) == (kind, True)
    assert hint.words.startswith("nothing of 40 records in flight has been acknowledged: ")
    assert words in hint.words
    assert ("CALCULATOR_TIMEOUT" in hint.words) == (kind is Kind.STALLED)
    assert world.look(replace(stalled, inlet={**stalled.inlet, "acknowledged": 1})) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"flowing": False},
        {"run": None},
        {"inlet": READ},  # nothing is in flight
        {"inlet": HELD | {"echo_owed": 1}},  # has its own sentence
        {"inlet": HELD | {"stdin_broken": 1}},  # likewise
    ],
)
def test_nothing_is_to_be_acknowledged_or_the_cause_is_told_already(changes: dict[str, Any]) -> None:
    """A pause, a drain, a dead run, an empty ledger."""
    assert World().look(seen(**{"inlet": HELD, "outlet": PRINTED} | changes), 100) == []


@pytest.mark.parametrize("acked_by_lines", [False, True])
def test_one_that_goes_on_without_an_answer_is_told_apart(acked_by_lines: bool) -> None:
    """It reads and prints, and yet nothing is acknowledged."""
    world = World()
    for second in range(15):
        going = seen(inlet=HELD, outlet=outlet(bytes_read=second + 1), acked_by_lines=acked_by_lines)
        hints = world.look(going, 1)
    (hint,) = hints
    assert "it goes on" in hint.words
    assert ("the answer to the first of them is missing" in hint.words) == acked_by_lines


def test_a_slow_one_that_gets_on_is_no_stall() -> None:
    """One acknowledgement in nine seconds is slow and right."""
    world = World()
    for count in range(10):
        assert world.look(seen(inlet=HELD | {"acknowledged": count}, outlet=PRINTED), 9) == []


def test_lines_that_are_delivered_are_no_fault_of_kafka() -> None:
    """Some are always on their way; they get there."""
    world = World()
    for second in range(15):
        moving = outlet(bytes_read=100, undelivered=5, lines_delivered=second)
        hints = world.look(seen(inlet=HELD, outlet=moving), 1)
    assert kinds(hints) == [Kind.STALLED]


def test_a_stall_begins_anew_with_each_run() -> None:
    """The next one has its time too."""
    world = World()
    stalled = seen(inlet=HELD, outlet=PRINTED)
    assert kinds(world.look(stalled, PATIENCE_S + 1)) == [Kind.STALLED]
    assert world.look(replace(stalled, run=2)) == []


# -------------------------------------------------------------------- what the watch found out

ACTIONS = {
    WatchNote.EVENT_LOOP: (False, ["event loop", "ACK_IDLE", "ACK_MODE=line"]),
    WatchNote.TIMED_THREADS: (False, ["other threads", "on sockets", "ACK_IDLE", "ACK_MODE=line"]),
    WatchNote.UNSEEN_ONE: (False, ["another user", "/proc is hidden", "last ones", "SYS_PTRACE", "ACK_MODE=line"]),
    WatchNote.UNSEEN_SEVERAL: (True, ["several processes", "64 KiB", "lost", "ACK_MODE=line"]),
    WatchNote.SEVERAL: (False, ["several processes", "batches with a rest", "FEED_AHEAD"]),
    WatchNote.REST_OVERDUE: (True, ["has not come to rest for 10 s", "ACK_MODE=line", "CALCULATOR_TIMEOUT"]),
}


@pytest.mark.parametrize(("note", "expected"), ACTIONS.items())
def test_each_note_says_what_to_do(note: WatchNote, expected: tuple[bool, list[str]]) -> None:
    """At once, while it lasts."""
    warns, words = expected
    world = World()
    (hint,) = world.look(seen(inlet=inlet(watch_note=note.value)))
    assert (hint.kind, hint.note, hint.warns) == (Kind.WATCH, note, warns)
    for word in words:
        assert word in hint.words
    assert world.look(QUIET) == []


def test_every_note_has_its_sentence() -> None:
    """All but none; and a number that is not known says nothing."""
    assert set(ACTIONS) == set(WATCH_NOTES) == set(WatchNote) - {WatchNote.NONE}
    assert World().look(seen(inlet=inlet(watch_note=99))) == []


@pytest.mark.parametrize("note", [WatchNote.UNSEEN_ONE, WatchNote.REST_OVERDUE])
def test_a_note_that_explains_a_stall_stands_for_it(note: WatchNote) -> None:
    """One fact, one sentence; records that it does not read are another fact."""
    world = World()
    waiting = seen(inlet=HELD | {"watch_note": note.value}, outlet=PRINTED)
    assert kinds(world.look(waiting, 60)) == [Kind.WATCH]
    unread = replace(waiting, inlet={**waiting.inlet, "stdin_unread_bytes": 100})
    assert kinds(world.look(unread, 60)) == [Kind.WATCH, Kind.STALLED]


# -------------------------------------------------------------------- the log


def logged(events: list[Any]) -> list[tuple[str, str]]:
    return [(event["log_level"], event["hint"]) for event in events if event["event"] == "about the calculator"]


def test_each_is_logged_once_when_it_begins() -> None:
    """A warning or an information, as in the check."""
    world = World()
    with capture_logs() as events:
        for count in range(40):
            more = inlet(lines_written=40 + count, bytes_written=4000 + count, watch_note=WatchNote.EVENT_LOOP.value)
            world.look(seen(inlet=more))
    assert logged(events) == [("info", "watch"), ("warning", "silent")]


def test_one_that_comes_and_goes_does_not_fill_the_log() -> None:
    """It is told again when a person may have forgotten it."""
    world = World()
    note = seen(inlet=inlet(watch_note=WatchNote.SEVERAL.value))
    with capture_logs() as events:
        while world.now_s < 1000 + 2 * LOG_AGAIN_S:
            world.look(note)
            world.look(QUIET)
    assert logged(events) == [("info", "watch")] * 2
