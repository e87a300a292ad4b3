"""The ledger counting lines: one line out for each line in acknowledges, whatever dies in between."""

from __future__ import annotations

from supervisor._framing import Ledger

ALL = 1 << 30


def ledger(*, input_newlines: str = "space") -> Ledger:
    """Return a ledger that counts lines, with partition 0 assigned."""
    made = Ledger(100, ALL, input_newlines, ack_mode="line")
    made.assign(0)
    return made


def test_a_line_delivered_acknowledges_one_record() -> None:
    """Tombstones have no line: they go with the record before them."""
    made = ledger()
    for offset, value in enumerate([b"a", None, b"", b"b"]):
        made.append(0, offset, value)
    made.write(ALL)
    assert made.deliver_mark(0) == []
    assert made.deliver_mark(1) == [(0, 0), (0, 1)]
    assert made.deliver_mark(3) == [(0, 2), (0, 3)]
    assert made.stored() == {0: 4}


def test_a_split_record_waits_for_its_last_line() -> None:
    """INPUT_NEWLINES=split: so many lines as the value has."""
    made = ledger(input_newlines="split")
    made.append(0, 0, b"a\nb\n")
    made.append(0, 1, b"\n\n\n")
    assert made.write(ALL) == b"a\nb\n\n\n\n"
    assert made.deliver_mark(1) == []
    assert made.deliver_mark(4) == [(0, 0)]
    assert made.deliver_mark(5) == [(0, 1)]


def test_lines_of_a_record_that_is_begun_were_written() -> None:
    """They may be answered before the rest is in the pipe; the record goes with its last line alone."""
    made = ledger(input_newlines="split")
    made.append(0, 0, b"x")
    made.append(0, 1, b"a\nb\nc\n")
    assert made.write(4) == b"x\na\n"
    assert made.lines_written == 2
    assert made.write(1) == b"b"
    assert made.lines_written == 2
    assert made.write(2) == b"\nc"
    assert made.lines_written == 3
    assert made.deliver_mark(3) == [(0, 0)]
    assert made.write(ALL) == b"\n"
    assert made.lines_written == 4
    assert made.deliver_mark(4) == [(0, 1)]


def test_a_record_that_was_begun_comes_whole_to_the_next_run() -> None:
    """The lines of it that were answered stay counted, and acknowledge nothing of it."""
    made = ledger(input_newlines="split")
    made.append(0, 0, b"x")
    made.append(0, 1, b"a\nb\nc")
    made.write(5)
    assert made.rewind_marks(2) == 1
    assert made.lines_written == 2
    assert made.write(3) == b"a\nb"
    assert made.lines_written == 3
    assert made.write(ALL) == b"\nc\n"
    assert made.deliver_mark(4) == [(0, 0)]
    assert made.deliver_mark(5) == [(0, 1)]


def test_lines_of_a_dead_run_acknowledge_when_they_are_delivered() -> None:
    """What came out before the crash is not written again; the next run's lines are counted on from there."""
    made = ledger()
    for offset in range(4):
        made.append(0, offset, b"%d" % offset)
    made.write(ALL)
    assert made.rewind_marks(2) == 2
    assert made.write(ALL) == b"2\n3\n"
    assert made.deliver_mark(1) == [(0, 0)]
    assert made.deliver_mark(3) == [(0, 1), (0, 2)]
    assert made.deliver_mark(4) == [(0, 3)]


def test_lines_that_cannot_be_trusted_answer_nothing() -> None:
    """More lines than records: all that is not acknowledged is written again, and counted on behind the stray ones."""
    made = ledger()
    for offset in range(3):
        made.append(0, offset, b"%d" % offset)
    made.write(ALL)
    assert made.deliver_mark(1) == [(0, 0)]
    assert made.rewind_marks(5, trusted=False) == 2
    assert made.write(ALL) == b"1\n2\n"
    assert made.deliver_mark(5) == []
    assert made.deliver_mark(7) == [(0, 1), (0, 2)]


def test_what_was_written_can_be_forfeited() -> None:
    """at-most-once: a record that was begun counts as done, the next run goes on behind it."""
    made = ledger()
    for offset in range(3):
        made.append(0, offset, b"abc")
    assert made.write(6) == b"abc\nab"
    assert made.forfeit() == [(0, 0), (0, 1)]
    assert made.write(ALL) == b"abc\n"
