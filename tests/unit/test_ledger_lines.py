"""The ledger counting lines: one line out for each line in acknowledges, whatever dies in between."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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


@dataclass
class Record:
    """One record of the model: its lines, and the number of the last of them once it was written."""

    lines: int
    last: int = -1


class LinesMachine(RuleBasedStateMachine):
    """Writes, answers, deliveries and crashes in any order agree with lists."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Ledger(1000, ALL, "split", ack_mode="line")
        self.real.assign(0)
        self.records: list[Record] = []
        self.head = self.answered = self.cursor = 0
        self.asked = self.came = self.delivered = 0

    @rule(lines=st.integers(0, 3))
    def append(self, lines: int) -> None:
        """Take a record: a tombstone, or one of so many lines."""
        self.real.append(0, len(self.records), b"x\n" * lines if lines else None)
        self.records.append(Record(lines))

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """Write some whole records, and tombstones behind them."""
        count = data.draw(st.integers(0, len(self.records) - self.cursor))
        size = sum(2 * record.lines for record in self.records[self.cursor : self.cursor + count])
        assert len(self.real.write(size)) == size
        self.cursor += count
        while self.cursor < len(self.records) and self.records[self.cursor].lines == 0:
            self.cursor += 1
        for record in self.records[: self.cursor]:
            if record.last < 0:
                self.asked += record.lines
                record.last = self.asked

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        """Let some lines come out."""
        self.came = data.draw(st.integers(self.came, max(self.came, self.asked)))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Deliver some of them."""
        self.delivered = data.draw(st.integers(self.delivered, self.came))
        expected = []
        while self.head < self.cursor and self.records[self.head].last <= self.delivered:
            expected.append((0, self.head))
            self.head += 1
        self.answered = max(self.answered, self.head)
        assert self.real.deliver_mark(self.delivered) == expected

    @rule()
    def crash(self) -> None:
        """The Calculator dies; what came out answers."""
        while self.answered < self.cursor and self.records[self.answered].last <= self.came:
            self.answered += 1
        assert self.real.rewind_marks(self.came) == self.cursor - self.answered
        for record in self.records[self.answered :]:
            record.last = -1
        self.cursor, self.asked = self.answered, self.came

    @invariant()
    def same_borders(self) -> None:
        """Zones agree, and the offset is that of the acknowledged prefix."""
        assert self.real.sequence == (self.head, self.answered, self.cursor, len(self.records))
        assert self.real.stored() == ({0: self.head} if self.head else {})


LinesMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
test_any_order_of_events_agrees_with_the_model = LinesMachine.TestCase
