"""The ledger: which records are acknowledged, replayed, or left alone, without Kafka, pipes or threads."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

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
    """Half a line would be glued to the next record."""
    made = ledger(partitions=2)
    made.append(0, 0, b"abcdef")
    made.append(1, 0, b"next")
    assert made.write(3) == b"abc"
    made.drain(0)
    assert made.write(ALL) == b"def\nnext\n"


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


@dataclass
class Model:
    """The same rules, written plainly: a list of records with flags."""

    @dataclass
    class Record:
        """One record in flight."""

        partition: int
        offset: int
        epoch: int
        line: bytes
        end: int = 0
        void: bool = False

    records: list[Record] = field(default_factory=list)
    head: int = 0
    answered: int = 0
    cursor: int = 0
    partial: int = 0
    written: int = 0
    fences: list[tuple[int, int]] = field(default_factory=list)
    epochs: dict[int, int] = field(default_factory=dict)
    state: dict[int, str] = field(default_factory=dict)
    stored: dict[int, int] = field(default_factory=dict)


class LedgerMachine(RuleBasedStateMachine):
    """Any order of appends, writes, answers, deliveries, crashes and rebalances, against the model."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Ledger(16, ALL)
        self.model = Model()
        self.stdout = 0
        self.delivered = 0
        self.acknowledged: set[tuple[int, int, int]] = set()

    @rule(partition=st.integers(0, 2))
    def assign(self, partition: int) -> None:
        """Give a partition that is not ours."""
        if self.model.state.get(partition, "lost") != "lost":
            return
        self.real.assign(partition)
        self.model.epochs[partition] = self.model.epochs.get(partition, 0) + 1
        self.model.state[partition] = "owned"
        self.model.stored.pop(partition, None)

    @rule(partition=st.integers(0, 2), value=st.none() | st.binary(max_size=6))
    def append(self, partition: int, value: bytes | None) -> None:
        """Take a record of a partition that is ours."""
        model = self.model
        if model.state.get(partition) != "owned" or self.real.room <= 0:
            return
        offset = len(model.records)
        self.real.append(partition, offset, value)
        line = b"" if value is None else value.removesuffix(b"\n").replace(b"\n", b" ") + b"\n"
        model.records.append(Model.Record(partition, offset, model.epochs[partition], line))

    @rule(limit=st.integers(0, 20))
    def write(self, limit: int) -> None:
        """Write some bytes; the same must come out."""
        model = self.model
        expected = b"".join(r.line for r in model.records[model.cursor :])[model.partial :][:limit]
        assert self.real.write(limit) == expected
        left = len(expected)
        model.written += left
        while model.cursor < len(model.records):
            record = model.records[model.cursor]
            if left < len(record.line) - model.partial:
                model.partial += left
                break
            left -= len(record.line) - model.partial
            record.end = model.written - left
            model.partial = 0
            model.cursor += 1

    @rule(back=st.integers(0, 10), output=st.integers(0, 5))
    def answer(self, back: int, output: int) -> None:
        """Come back for more, having written some output."""
        model = self.model
        self.stdout += output
        before = model.answered
        while model.answered < model.cursor and model.records[model.answered].end <= model.written - back:
            model.answered += 1
        assert self.real.answer(model.written - back, self.stdout) == (model.answered != before)
        if model.answered != before:
            model.fences.append((model.answered, self.stdout))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Deliver output up to somewhere."""
        model = self.model
        self.delivered = data.draw(st.integers(self.delivered, self.stdout))
        upto = max([s for s, position in model.fences if position <= self.delivered], default=model.head)
        model.fences = [(s, position) for s, position in model.fences if position > self.delivered]
        expected = []
        for record in model.records[model.head : upto]:
            expected.append((record.partition, record.offset))
            key = (record.partition, record.offset, record.epoch)
            assert key not in self.acknowledged, "acknowledged twice"
            self.acknowledged.add(key)
            owned = model.state.get(record.partition, "lost") != "lost"
            if owned and model.epochs[record.partition] == record.epoch and not record.void:
                model.stored[record.partition] = record.offset + 1
        model.head = max(model.head, upto)
        assert self.real.deliver(self.delivered) == expected

    def _void(self, partition: int, start: int) -> None:
        model = self.model
        for index in range(start, len(model.records)):
            record = model.records[index]
            if record.partition == partition and not record.void:
                record.void = True
                if index > model.cursor or (index == model.cursor and model.partial == 0):
                    record.line = b""

    @precondition(lambda self: "owned" in self.model.state.values())
    @rule(partition=st.integers(0, 2))
    def drain(self, partition: int) -> None:
        """The group asks a partition back."""
        if self.model.state.get(partition) != "owned":
            return
        self.real.drain(partition)
        self.model.state[partition] = "draining"
        self._void(partition, self.model.cursor)

    @rule(partition=st.integers(0, 2))
    def revoke(self, partition: int) -> None:
        """A partition is lost."""
        if self.model.state.get(partition, "lost") == "lost":
            return
        self.real.revoke(partition)
        self._void(partition, self.model.cursor)
        self.model.state[partition] = "lost"
        self.model.epochs[partition] += 1
        self.model.stored.pop(partition, None)

    @rule(cut=st.integers(0, 3))
    def crash(self, cut: int) -> None:
        """The Calculator dies; the last bytes of its output may be half a line."""
        model = self.model
        line_end = max(self.delivered, self.stdout - cut)
        model.fences = [(s, position) for s, position in model.fences if position <= line_end]
        model.answered = model.fences[-1][0] if model.fences else model.head
        expected = model.cursor - model.answered + (model.partial > 0)
        assert self.real.rewind(line_end) == expected
        model.cursor, model.partial = model.answered, 0
        for record in model.records[model.cursor :]:
            owned = model.state.get(record.partition) == "owned" and model.epochs[record.partition] == record.epoch
            if record.void or not owned:
                record.void, record.line = True, b""

    @invariant()
    def same_borders(self) -> None:
        """Zones, offsets and positions agree, and what is committed is within what is acknowledged."""
        model = self.model
        assert self.real.sequence == (model.head, model.answered, model.cursor, len(model.records))
        assert model.head <= model.answered <= model.cursor
        assert self.real.stored() == {p: o for p, o in model.stored.items() if model.state[p] != "lost"}
        assert self.real.written_position == model.written
        if model.head == len(model.records):
            assert self.real.in_flight_bytes == 0


LedgerMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
test_any_order_of_events_agrees_with_the_model = LedgerMachine.TestCase
