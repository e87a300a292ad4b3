"""The ledger, case by case: which records are acknowledged, replayed, or left alone. Any order: test_ledger_model."""

from __future__ import annotations

import pytest

from supervisor._framing import Ledger

ALL = 1 << 30


def ledger(*, records: int = 100, nbytes: int = ALL, partitions: int = 1, input_newlines: str = "space") -> Ledger:
    """Return a ledger with partitions 0 to ``partitions`` - 1 assigned."""
    made = Ledger(records, nbytes, input_newlines)
    for partition in range(partitions):
        made.assign(partition)
    return made


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (b"a", b"a\n"),
        (b"", b"\n"),
        (b"a\n", b"a\n"),
        (b"\n", b"\n"),
        (b"a\nb", b"a b\n"),
        (b"\na\n\nb\n", b" a  b\n"),
        (b"a\r\nb", b"a\r b\n"),
        (None, b""),
    ],
)
def test_each_value_is_one_line(value: bytes | None, line: bytes) -> None:
    """A value is written as one line; newlines inside become spaces, and a tombstone has no line."""
    made = ledger()
    made.append(0, 5, value)
    assert made.write(ALL) == line
    assert made.sequence == (0, 0, 1, 1)


def test_newlines_are_left_alone_on_request() -> None:
    """INPUT_NEWLINES=split writes the value as it is."""
    made = ledger(input_newlines="split")
    made.append(0, 0, b"a\nb")
    assert made.write(ALL) == b"a\nb\n"


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
@pytest.mark.parametrize("max_iov", [2, 3, 4, 1024])
def test_partial_writes_lose_and_double_nothing(piece: int, max_iov: int) -> None:
    """Whatever writev takes, the stream is the same."""
    values = [b"first", b"", b"with\nnewlines\n\ninside", None, b"ends\n", b"\n", b"last"]
    made = ledger()
    for offset, value in enumerate(values):
        made.append(0, offset, value)
    stream = b""
    while wrote := made.write(piece, max_iov):
        stream += wrote
    assert stream == b"first\n\nwith newlines  inside\nends\n\nlast\n"
    assert made.sequence[2:] == (7, 7)


def test_nothing_is_acknowledged_before_its_output_is_delivered() -> None:
    """An answered record waits for the output that was written by then."""
    made = ledger()
    made.append(0, 0, b"abc")
    made.append(0, 1, b"def")
    made.write(ALL)
    assert made.answer(4, stdout_position=10)
    assert made.deliver(9) == []
    assert made.stored() == {}
    assert made.deliver(10) == [(0, 0)]
    assert made.stored() == {0: 1}
    assert not made.answer(7, stdout_position=20), "the second record ends at 8"


def test_a_crash_replays_what_was_not_answered() -> None:
    """Unanswered records are written again, whole, from the first one; answered ones are not."""
    made = ledger()
    for offset in range(3):
        made.append(0, offset, b"%d" % offset)
    assert made.write(5) == b"0\n1\n2"
    made.answer(2, stdout_position=7)
    assert made.rewind(line_end=7) == 2
    assert made.write(ALL) == b"1\n2\n"
    assert made.deliver(7) == [(0, 0)]


def test_a_crash_in_the_middle_of_a_line_takes_the_answer_back() -> None:
    """If the output of an answered record was cut off by the crash, the record is replayed."""
    made = ledger()
    made.append(0, 0, b"a")
    made.append(0, 1, b"b")
    made.write(ALL)
    made.answer(2, stdout_position=10)
    made.answer(4, stdout_position=15)
    assert made.rewind(line_end=12) == 1
    assert made.write(ALL) == b"b\n"


def test_late_acknowledgements_of_a_lost_partition_do_not_count() -> None:
    """An epoch ends with its partition, even if it comes back."""
    made = ledger(partitions=2)
    made.append(0, 0, b"a")
    made.append(1, 0, b"b")
    made.write(ALL)
    made.answer(4, stdout_position=4)
    made.revoke(0)
    made.assign(0)
    assert made.deliver(4) == [(0, 0), (1, 0)]
    assert made.stored() == {1: 1}


def test_a_draining_partition_is_not_written_and_still_acknowledged() -> None:
    """What was written of it may be answered; what was not is dropped."""
    made = ledger(partitions=2)
    made.append(0, 0, b"a")
    made.write(ALL)
    made.append(0, 1, b"dropped")
    made.append(1, 0, b"kept")
    made.drain(0)
    assert made.in_flight_of(0) == 1
    assert made.write(ALL) == b"kept\n"
    made.answer(2, stdout_position=1)
    made.deliver(1)
    assert made.in_flight_of(0) == 0
    assert made.stored() == {0: 1}


def test_a_record_that_was_begun_is_finished_though_its_partition_drains() -> None:
    """Half a line would be glued to the next record. It is answered, so it moves its offset, and is waited for."""
    made = ledger(partitions=2)
    made.append(0, 0, b"abcdef")
    made.append(0, 1, b"left to the next owner")
    made.append(1, 0, b"next")
    assert made.write(3) == b"abc"
    made.drain(0)
    assert made.in_flight_of(0) == 1
    assert made.write(ALL) == b"def\nnext\n"
    made.answer(12, stdout_position=1)
    made.deliver(1)
    assert made.in_flight_of(0) == 0
    assert made.stored() == {0: 1, 1: 1}


def test_room_is_bounded_in_records_and_bytes() -> None:
    """Either bound stops the taking; a single large record is let into an empty ledger."""
    made = ledger(records=2)
    made.append(0, 0, b"a")
    made.append(0, 1, b"b")
    assert made.room == 0
    large = ledger(nbytes=10)
    assert large.room == 100
    large.append(0, 0, b"x" * 1000)
    assert large.room == 0
    with pytest.raises(ValueError, match="no room"):
        large.append(0, 1, b"y")


def test_keys_and_headers_count_as_values_do() -> None:
    """What librdkafka holds with a record is in the bound, and goes with the record."""
    made = ledger(nbytes=10_000)
    made.append(0, 0, b"x" * 88, 3_400)
    made.append(0, 1, None, 488)
    assert made.in_flight_bytes == 88 + 3_400 + 488 + 2 * 512
    assert made.room > 0
    made.append(0, 2, b"", 6_000)
    assert made.room == 0, "though it is 4 bytes and 3 records"
    made.write(ALL)
    made.answer(made.written_position, 1)
    assert len(made.deliver(1)) == 3
    assert made.in_flight_bytes == 0


@pytest.mark.parametrize("size", [1, 100, 5_000, 90_000])
def test_the_bound_is_passed_by_one_record(size: int) -> None:
    """No more are taken at once than it has room for, if they are like those that are there."""
    made = ledger(records=10_000, nbytes=1_000_000)
    assert made.batch(512) == 512, "nothing is known of their size"
    made.append(0, 0, b"x" * size)
    offset = 1
    while (batch := made.batch(512)) > 0:
        for _ in range(batch):
            made.append(0, offset, b"x" * size)
            offset += 1
    assert 1_000_000 <= made.in_flight_bytes < 1_000_000 + size + 512


def test_a_batch_is_no_larger_than_the_window() -> None:
    """Of records, or of what is asked for; and where sizes are beyond all bounds nothing overflows."""
    made = ledger(records=10, nbytes=1 << 40)
    assert made.batch(512) == 10
    made.append(0, 0, b"x")
    assert (made.batch(512), made.batch(4)) == (9, 4)
