"""The ledger with marker lines: the echo of a marker answers what was written before it."""

from __future__ import annotations

from supervisor._framing import Ledger

ALL = 1 << 30


def ledger(records: int) -> Ledger:
    """Return a ledger of one partition with so many records taken."""
    made = Ledger(100, ALL, ack_mode="marker")
    made.assign(0)
    for offset in range(records):
        made.append(0, offset, b"%d" % offset)
    return made


def test_an_echo_acknowledges_what_was_written_before_it() -> None:
    """And nothing behind it, nor without it."""
    made = ledger(3)
    made.write(4)
    assert made.mark() == 1
    made.write(2)
    assert made.deliver_mark(0) == []
    assert made.deliver_mark(1) == [(0, 0), (0, 1)]
    assert made.deliver_mark(1) == []
    assert made.mark() == 2
    assert made.deliver_mark(2) == [(0, 2)]


def test_numbers_go_on_over_runs() -> None:
    """What is written again waits for a marker of its own; a late echo of the last run answers nothing of it."""
    made = ledger(2)
    made.write(ALL)
    assert made.mark() == 1
    assert made.rewind_marks(0) == 2
    assert made.write(ALL) == b"0\n1\n"
    assert made.deliver_mark(1) == []
    assert made.mark() == 2
    assert made.deliver_mark(2) == [(0, 0), (0, 1)]
