"""The ledger with marker lines: the echo of a marker answers what was written before it."""

from __future__ import annotations

import pytest

from supervisor._framing import Ledger
from tests.unit.ledger_reference import line_of

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


PREFIX = b"#ACK "


@pytest.mark.parametrize("input_newlines", ["space", "split"])
@pytest.mark.parametrize(
    ("value", "spaced", "split"),
    [
        (PREFIX + b"1", b" ACK 1\n", b" ACK 1\n"),
        (PREFIX + b"1\n", b" ACK 1\n", b" ACK 1\n"),
        (PREFIX, b" ACK \n", b" ACK \n"),
        (b"x\n" + PREFIX + b"1\ny\n" + PREFIX, b"x #ACK 1 y #ACK \n", b"x\n ACK 1\ny\n ACK \n"),
        (PREFIX + b"\n\n" + PREFIX + b"22\n", b" ACK   #ACK 22\n", b" ACK \n\n ACK 22\n"),
        (b"\n" + PREFIX + b"1", b" #ACK 1\n", b"\n ACK 1\n"),
        (b"#ACK\n1", b" ACK 1\n", None),  # a space in place of the newline makes the prefix whole
    ],
)
def test_no_line_of_a_value_begins_as_marker_lines_do(
    value: bytes, spaced: bytes, split: bytes | None, input_newlines: str
) -> None:
    """Its first byte is a space then, in however small parts it is written."""
    expected = spaced if input_newlines == "space" else split or value + b"\n"
    for limit in range(1, len(expected) + 1):
        made = Ledger(100, ALL, input_newlines, ack_mode="marker", marker_prefix=PREFIX)
        made.assign(0)
        made.append(0, 0, value)
        parts = [made.write(limit, 2) for _ in range(2 * len(expected))]
        assert b"".join(parts) == expected
        assert made.values_changed == (expected != value.removesuffix(b"\n") + b"\n")
    assert line_of(value, input_newlines, PREFIX) == expected


@pytest.mark.parametrize("value", [b"#ACK", b" #ACK 1", b"#ACKx 1", b"", b"#"])
def test_what_does_not_begin_with_the_whole_prefix_is_left_alone(value: bytes) -> None:
    """Byte by byte."""
    made = Ledger(100, ALL, ack_mode="marker", marker_prefix=PREFIX)
    made.assign(0)
    made.append(0, 0, value)
    assert made.write(ALL) == value + b"\n"
    assert made.values_changed == 0


def test_a_prefix_that_begins_with_a_space_is_kept_from_too() -> None:
    """A space in its place would be no change."""
    made = Ledger(100, ALL, ack_mode="marker", marker_prefix=b" -")
    made.assign(0)
    made.append(0, 0, b" -1")
    made.append(0, 1, b"\n-1")
    assert made.write(ALL) == b"_-1\n_-1\n"


def test_where_changed_values_are_refused_such_a_value_is_a_dead_letter() -> None:
    """As one with a newline inside is."""
    made = Ledger(100, ALL, "reject", ack_mode="marker", marker_prefix=PREFIX)
    made.assign(0)
    made.append(0, 0, PREFIX + b"1")
    made.append(0, 1, b"next")
    assert made.write(ALL) == b"next\n"
    assert made.dead == (1, 1)
    assert made.values_changed == 0
