"""Rule 1 of `demand`: never more than the Calculator has handled, whatever it reads at once, and soon all of it."""

from __future__ import annotations

import ctypes

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.c_parts import compiled

MS = 1_000_000

_WRAPPER = """
#include "write_marks.h"
#include <stdlib.h>
void *marks_new(long long position) {
    write_marks_t *m = malloc(sizeof *m);
    write_marks_reset(m, position);
    return m;
}
void marks_free(void *m) { free(m); }
void marks_sample(void *m, long long now_ns, long long read) { write_marks_sample(m, now_ns, read); }
void marks_note(void *m, long long start) { write_marks_note(m, start); }
long long marks_done(void *m, long long read) { return write_marks_done(m, read); }
"""


class Marks:
    """The C part; times in milliseconds."""

    def __init__(self, position: int = 0) -> None:
        self._c = compiled(_WRAPPER)
        self._c.marks_new.restype = ctypes.c_void_p
        self._c.marks_done.restype = ctypes.c_longlong
        self._marks = ctypes.c_void_p(self._c.marks_new(ctypes.c_longlong(position)))

    def __del__(self) -> None:
        self._c.marks_free(self._marks)

    def look(self, now_ms: float, read: int) -> int:
        """Take a sample; what is done by it."""
        self._c.marks_sample(self._marks, ctypes.c_longlong(int(now_ms * MS)), ctypes.c_longlong(read))
        done: int = self._c.marks_done(self._marks, ctypes.c_longlong(read))
        return done

    def write(self, start: int) -> None:
        """Note a write."""
        self._c.marks_note(self._marks, ctypes.c_longlong(start))


def test_it_has_to_come_back_twice() -> None:
    """One read beyond a later write does not do; the next one, behind a mark beyond the first, does."""
    marks = Marks()
    marks.look(0, 0)
    marks.write(0)  # 100 bytes
    marks.look(1, 100)
    assert marks.look(10, 100) == 0
    marks.write(100)  # its mark: 100
    assert marks.look(20, 200) == 0, "it came back once"
    assert marks.look(26, 200) == 0
    marks.write(200)  # its mark: 200
    assert marks.look(40, 200) == 0, "nothing of that write was read"
    assert marks.look(41, 201) == 100, "twice"
    marks.look(47, 201)
    marks.write(300)  # its mark: 201
    assert marks.look(50, 301) == 200


def test_what_was_read_within_5_ms_is_in_no_mark() -> None:
    """A program that fills one buffer with several reads reads them at once."""
    marks = Marks()
    marks.look(0, 0)
    marks.write(0)
    marks.look(9, 100)
    marks.look(12, 100)
    marks.write(100)  # 100 was read 3 ms ago
    marks.look(13, 200)
    marks.look(14, 200)
    marks.write(200)
    assert marks.look(15, 300) == 0


def test_a_run_begins_where_the_last_one_ended() -> None:
    """Positions go on over the runs."""
    marks = Marks(5000)
    assert marks.look(0, 5000) == 5000
    for step in range(5):
        marks.look(10 * step, 5000 + step)
        marks.write(5000 + step)
        marks.look(10 * step + 1, 5001 + step)
    assert marks.look(100, 5005) == 5003


def test_more_marks_than_there_is_room_for_come_late_and_not_early() -> None:
    """The newest one is replaced by a later one."""
    marks = Marks()
    for step in range(5000):  # reads on, but never beyond the first write of what is marked
        marks.look(10 * step, step)
        marks.write(10_000 + step)
    assert marks.look(100_000, 10_000) == 0
    late = marks.look(100_001, 15_001)
    assert late <= 5000
    assert late >= 1000


@given(
    st.lists(
        st.tuples(
            st.integers(1, 300),  # bytes written at once
            st.integers(1, 400),  # the most that one read takes
            st.integers(1, 4),  # reads that fill one buffer, each at once
            st.floats(0, 30),  # ms of work on them
            st.integers(0, 3),  # writes more while it works
        ),
        min_size=3,
        max_size=40,
    )
)
def test_nothing_is_done_before_it_is_handled(steps: list[tuple[int, int, int, float, int]]) -> None:
    """A program that handles what it has before it reads on, seen at every millisecond and every write."""
    marks = Marks()
    now_ms, written, read, handled = 0.0, 0, 0, 0

    def write(size: int) -> None:
        nonlocal written
        assert marks.look(now_ms, read) <= handled
        marks.write(written)
        written += size

    for size, at_once, reads, work_ms, more in steps:
        write(size)
        for _ in range(reads):  # one fill: what is there is read on while there is more, within less than 5 ms
            if read == written:
                break
            read = min(written, read + at_once)
            now_ms += 1
            assert marks.look(now_ms, read) <= handled
        for part in range(more + 1):
            now_ms += work_ms / (more + 1)
            assert marks.look(now_ms, read) <= handled
            if part < more:
                write(size)
        handled = read
        assert marks.look(now_ms, read) <= handled


@given(st.integers(1, 50), st.integers(1, 20))
def test_in_flow_the_rest_is_what_the_last_reads_hold(record_bytes: int, period_ms: int) -> None:
    """A program that takes each record when it comes: all but those of the last 5 ms and the last two are done."""
    marks = Marks()
    for step in range(100):
        now_ms = step * period_ms
        marks.look(now_ms, step * record_bytes)
        marks.write(step * record_bytes)
        marks.look(now_ms + 0.1, (step + 1) * record_bytes)
    done = marks.look(100 * period_ms, 100 * record_bytes)
    assert done >= (100 - 4 - 12 // period_ms) * record_bytes
