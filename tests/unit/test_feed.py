"""Feed by time: programs of any speed, simulated; what is written ahead of them, and what they lose by it."""

from __future__ import annotations

import ctypes
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.c_parts import compiled

MS = 1_000_000
PIPE_BYTES = 1 << 20
AHEAD_MS = 200

_WRAPPER = """
#include "feed.h"
#include <stdlib.h>
void *feed_new(long long ahead_ns, long long most) {
    feed_t *f = malloc(sizeof *f);
    feed_reset(f, ahead_ns, most);
    return f;
}
void feed_free(void *f) { free(f); }
void look(void *f, long long now, long long written, long long read) { feed_look(f, now, written, read); }
void holds(void *f, int held, long long now, long long written, long long read) {
    feed_holds_back(f, held, now, written, read);
}
long long room(void *f, long long written, long long read) {
    return feed_is_full_speed(f) ? ((feed_t *)f)->most_bytes - (written - read) : feed_room(f, written, read);
}
long long again_ns(void *f, long long now) { return feed_again_ns(f, now); }
"""


class Simulated:
    """A program that works ``record_ms`` on each record of 100 bytes and reads up to ``at_once`` records a time."""

    RECORD = 100

    def __init__(self, record_ms: float, at_once: int) -> None:
        self.record_ms = record_ms
        self._at_once = at_once
        self._c = compiled(_WRAPPER)
        self._c.feed_new.restype = ctypes.c_void_p
        self._c.room.restype = self._c.again_ns.restype = ctypes.c_longlong
        self._feed = ctypes.c_void_p(self._c.feed_new(ctypes.c_longlong(AHEAD_MS * MS), ctypes.c_longlong(PIPE_BYTES)))
        self.now_ms = 0.0
        self.written = self.read = 0  # records
        self._busy_until_ms = 0.0
        self.idle_ms = 0.0  # it waited for input
        self.most_ahead = 0

    def __del__(self) -> None:
        self._c.feed_free(self._feed)

    def _args(self) -> tuple[ctypes.c_longlong, ctypes.c_longlong, ctypes.c_longlong]:
        values = int(self.now_ms * MS), self.written * self.RECORD, self.read * self.RECORD
        return tuple(ctypes.c_longlong(value) for value in values)  # type: ignore[return-value]

    def _works_until(self, end_ms: float) -> None:
        while self._busy_until_ms <= end_ms:
            if self.read == self.written:
                self.idle_ms += end_ms - max(self._busy_until_ms, self.now_ms)
                self._busy_until_ms = end_ms
                break
            taken = min(self._at_once, self.written - self.read)
            self.read += taken
            self._busy_until_ms += taken * self.record_ms
        self.now_ms = end_ms

    def feed(self, waiting: int, for_ms: float) -> None:
        """So many records wait for it; write them as the feed lets, for so long."""
        end_ms = self.now_ms + for_ms
        while self.now_ms < end_ms and waiting > 0:
            self._c.look(self._feed, *self._args())
            room = self._c.room(self._feed, *self._args()[1:]) // self.RECORD
            if self.read == self.written:
                room = max(1, room)
            wrote = min(room, waiting)
            self.written += wrote
            waiting -= wrote
            self._c.holds(self._feed, int(waiting > 0), *self._args())
            self.most_ahead = max(self.most_ahead, self.written - self.read)
            self._works_until(self.now_ms + self._c.again_ns(self._feed, self._args()[0]) / MS)
        if waiting == 0:
            self._c.holds(self._feed, 0, *self._args())


@pytest.mark.parametrize("at_once", [1, 10, 80])
@pytest.mark.parametrize("record_ms", [1.0, 5.0, 50.0, 1000.0])
def test_a_slow_program_has_some_200_ms_of_work_ahead(record_ms: float, at_once: int) -> None:
    """In the pipe; one read takes it into its hands, and as much may be there again."""
    program = Simulated(record_ms, at_once)
    program.feed(1_000_000, 100 * record_ms + 20_000)
    program.most_ahead = 0
    program.idle_ms = 0.0
    program.feed(1_000_000, 20_000 + 20 * record_ms)
    worth = AHEAD_MS / record_ms
    assert program.most_ahead <= max(1, 2 * worth) + 1
    assert program.idle_ms <= 0.05 * (20_000 + 20 * record_ms), "and it hardly ever waits"


@pytest.mark.parametrize("at_once", [1, 80, 1000])
def test_a_run_begins_slowly(at_once: int) -> None:
    """20 records a second: at no time of the run is there more than a second of work ahead."""
    program = Simulated(50.0, at_once)
    program.feed(1_000_000, 20_000)
    assert program.most_ahead <= 20


@pytest.mark.parametrize("at_once", [1, 80, 10_000])
def test_a_fast_program_has_a_full_pipe_soon(at_once: int) -> None:
    """Within 50 ms of a run."""
    program = Simulated(0.0005, at_once)
    program.feed(1_000_000, 50)
    assert program.most_ahead * program.RECORD >= PIPE_BYTES // 2


def test_what_trickles_in_shows_nothing() -> None:
    """A program that was given ten records a second is not trusted with a thousand at once."""
    program = Simulated(5.0, 80)
    for _ in range(300):
        program.feed(1, 1)
        program._works_until(program.now_ms + 100)
    program.feed(100_000, 5000)
    assert program.most_ahead <= 3 * AHEAD_MS / 5.0


@pytest.mark.parametrize("at_once", [1, 80])
def test_pauses_and_bursts_teach_nothing_wrong(at_once: int) -> None:
    """A pace that was measured stays, however often the stream pauses or a burst comes and is over."""
    program = Simulated(5.0, at_once)
    program.feed(1_000_000, 20_000)
    for _ in range(50):
        program.feed(60, 100)
        program._works_until(program.now_ms + 700)
    program.most_ahead = 0
    program.feed(1_000_000, 2_000)
    assert program.most_ahead <= 3 * AHEAD_MS / 5.0


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from([0.01, 0.5, 3.0, 20.0, 200.0]), st.integers(1, 1000)), min_size=1, max_size=5),
    st.sampled_from([1, 7, 80, 640]),
)
def test_a_program_that_changes_its_pace_never_stands_still(phases: list[tuple[float, int]], at_once: int) -> None:
    """All that waits is written in the end, in no more than twice its time of work and some."""
    program = Simulated(phases[0][0], at_once)
    for record_ms, waiting in phases:
        program.record_ms = record_ms
        before, began_ms = program.written, program.now_ms
        work_ms = record_ms * (waiting + 2 * PIPE_BYTES / program.RECORD)
        program.feed(waiting, math.inf)
        assert program.written - before == waiting
        assert program.now_ms - began_ms <= 2 * work_ms + 2000
