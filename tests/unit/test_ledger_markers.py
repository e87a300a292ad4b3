"""The ledger with marker lines: the echo of a marker answers what was written before it."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

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


class MarkersMachine(RuleBasedStateMachine):
    """Writes, markers, echoes, deliveries and crashes in any order agree with lists."""

    def __init__(self) -> None:
        super().__init__()
        self.real = Ledger(1000, ALL, ack_mode="marker")
        self.real.assign(0)
        self.marked: list[int] = []  # of each record written, in order: the number of the marker behind it
        self.head = self.answered = self.taken = 0
        self.issued = self.echoed = self.delivered = 0

    @rule()
    def append(self) -> None:
        """Take a record of three bytes."""
        self.real.append(0, self.taken, b"xy")
        self.taken += 1

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """Write some whole records."""
        count = data.draw(st.integers(0, self.taken - len(self.marked)))
        assert len(self.real.write(3 * count)) == 3 * count
        self.marked += [self.issued + 1] * count

    @rule()
    def mark(self) -> None:
        """Write a marker."""
        self.issued += 1
        assert self.real.mark() == self.issued

    @rule(data=st.data())
    def echo(self, data: st.DataObject) -> None:
        """Let some markers come back."""
        self.echoed = data.draw(st.integers(self.echoed, self.issued))

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Deliver STDOUT up to some of them."""
        self.delivered = data.draw(st.integers(self.delivered, self.echoed))
        expected = []
        while self.head < len(self.marked) and self.marked[self.head] <= self.delivered:
            expected.append((0, self.head))
            self.head += 1
        self.answered = max(self.answered, self.head)
        assert self.real.deliver_mark(self.delivered) == expected

    @rule()
    def crash(self) -> None:
        """The Calculator dies; the echoes that came answer."""
        while self.answered < len(self.marked) and self.marked[self.answered] <= self.echoed:
            self.answered += 1
        assert self.real.rewind_marks(self.echoed) == len(self.marked) - self.answered
        del self.marked[self.answered :]

    @invariant()
    def same_borders(self) -> None:
        """Zones agree, and the offset is that of the acknowledged prefix."""
        assert self.real.sequence == (self.head, self.answered, len(self.marked), self.taken)
        assert self.real.stored() == ({0: self.head} if self.head else {})


TestMarkersMachine = MarkersMachine.TestCase
