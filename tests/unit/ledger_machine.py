"""The steps of the small world, in any order, and what holds after each of them: for every mode of acknowledgement."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.ledger_reference import FENCES
from tests.unit.ledger_world import ALL, PARTITIONS, Token, World

READ_BYTES = 8
"""The Calculator reads so much at once, and has done with it before it reads on: ACK_READAHEAD_BYTES."""

VALUES = [None, b"", b"\n", b"\n\n", b"a", b"bc\n", b"d\ne", b"\nf\n\n", b"longer than the Calculator reads at once"]
VALUES += [b"m", b"m1\n", b"\nm\nm", b" \n m"]
PREFIXES = [b"", b"m", b" ", b"m1", b"d e"]
"""As marker lines begin, and some of the values."""

SOME_VALUES = st.lists(st.sampled_from(VALUES), min_size=1, max_size=4)
A_PARTITION = st.integers(0, PARTITIONS - 1)


class LedgerMachine(World, RuleBasedStateMachine):
    """What all modes have in common."""

    @initialize(
        records=st.sampled_from([200, 200, 5]),
        nbytes=st.sampled_from([ALL, ALL, 3000]),
        newlines=st.sampled_from(["space", "split", "reject"]),
        prefix=st.sampled_from(PREFIXES),
    )
    def open(self, records: int, nbytes: int, newlines: str, prefix: bytes) -> None:
        """Draw the settings."""
        self.opens(records, nbytes, newlines, prefix)

    # ---------------------------------------------------------------- the group and Kafka

    @rule(partition=A_PARTITION)
    def assign(self, partition: int) -> None:
        """A partition comes."""
        if not self.owned(partition):
            self.assigns(partition)

    @rule(partition=A_PARTITION)
    def drain(self, partition: int) -> None:
        """The group asks a partition back."""
        self.real.drain(partition, self.drain_from)
        self.reference.drain(partition, self.drain_from)

    @rule(partition=A_PARTITION, lost=st.booleans())
    def revoke(self, partition: int, lost: bool) -> None:
        """A partition goes, with a last commit unless it is lost already."""
        if not self.owned(partition):
            return
        if not lost:
            self.commit()
        self.real.revoke(partition, self.void_from)
        self.reference.revoke(partition, self.void_from)

    @rule(partition=A_PARTITION, lost=st.booleans())
    def bounce(self, partition: int, lost: bool) -> None:
        """A partition goes and comes back."""
        self.revoke(partition, lost)
        self.assign(partition)

    @rule(partition=A_PARTITION, value=st.sampled_from(VALUES), gap=st.integers(0, 2))
    def append(self, partition: int, value: bytes | None, gap: int) -> None:
        """Take the next record. One of a partition that drains or was lost may still be in librdkafka's queue."""
        self.takes(partition, value, gap)

    @rule(partition=A_PARTITION, values=SOME_VALUES)
    def flow(self, partition: int, values: list[bytes | None]) -> None:
        """Some records of a partition that is ours are taken and written."""
        if self.reference.states.get(partition) != "owned":
            self.revoke(partition, lost=False)
            self.assign(partition)
        for value in values:
            self.takes(partition, value)
        self.write(ALL, 1024)

    @rule(partition=A_PARTITION, values=SOME_VALUES)
    def serve(self, partition: int, values: list[bytes | None]) -> None:
        """They are done as well, and it is seen; what was printed is on its way."""
        self.flow(partition, values)
        self.see_all_done()

    @rule(partition=A_PARTITION, lost=st.booleans(), asked=st.booleans())
    def interrupt(self, partition: int, lost: bool, asked: bool) -> None:
        """A partition is asked back, or goes, in the middle of a record of its own."""
        self.flow(partition, [b"x"])
        self.takes(partition, b"begun")
        self.write(2, 1024)
        if asked:
            self.drain(partition)
        else:
            self.revoke(partition, lost)

    @rule()
    def commit(self) -> None:
        """Commit what is acknowledged."""
        self.commits()

    # ---------------------------------------------------------------- the Calculator and the outlet

    @rule(limit=st.integers(0, 12) | st.just(ALL), max_iov=st.sampled_from([2, 3, 5, 1024]))
    def write(self, limit: int, max_iov: int) -> None:
        """Write some bytes to STDIN."""
        if not self.rule_broken:
            self.wrote(limit, max_iov, self.may_write_before)

    @rule(count=st.integers(1, READ_BYTES))
    def read(self, count: int) -> None:
        """The Calculator is done with what it has read, and reads on."""
        self.handles(ALL, 1)
        self.run.read = min(self.run.read + count, len(self.run.stream))

    @rule(count=st.integers(1, 4), lines=st.integers(0, 2))
    def handle(self, count: int, lines: int) -> None:
        """The Calculator does some lines that it has read, and prints."""
        self.handles(count, lines)

    @rule()
    def do_all(self) -> None:
        """The Calculator does all that was written."""
        self.handles_all()

    @rule()
    def print_half(self) -> None:
        """The Calculator has begun the next line that it prints."""
        run = self.run
        if run.half_bytes == 0 and run.owed and run.owed[0].end <= run.read and run.owed[0].record is not None:
            run.half_bytes = 1
            self.stdout += 1

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Some more of STDOUT is delivered."""
        self.delivers(data.draw(st.integers(self.delivered, len(self.outputs))))

    @rule()
    def crash(self) -> None:
        """The Calculator dies; half a line that it printed is dropped."""
        self.run_ends()

    # ---------------------------------------------------------------- dead letters

    @precondition(lambda self: self.written_again and not self.run.stream)
    @rule(before=st.sampled_from(["", "", "drain", "revoke", "bounce", "take again"]), lost=st.booleans())
    def bury(self, before: str, lost: bool) -> None:
        """The first record that would be written again is put aside, whatever became of its partition meanwhile."""
        first = self.reference.first_line()
        if first is None:
            return
        partition = first.partition
        if before == "drain":
            self.drain(partition)
        if before in ("revoke", "bounce", "take again"):
            self.revoke(partition, lost)
        if before in ("bounce", "take again"):
            self.assign(partition)
        if before == "take again":
            self.takes(partition, b"x")
        self.buries((partition, first.offset))

    @precondition(lambda self: self.written_again)
    @rule(
        partition=A_PARTITION,
        values=SOME_VALUES,
        written=st.booleans(),
        behind=st.booleans(),
        before=st.sampled_from(["", "drain", "revoke", "take again"]),
    )
    def crash_and_bury(
        self, partition: int, values: list[bytes | None], written: bool, behind: bool, before: str
    ) -> None:
        """A run fails with records before it and behind it, written or not, and its first one is put aside."""
        self.flow(partition, values)
        if behind:
            self.takes(partition, b"behind")
        if not written:
            self.run_ends()
            self.takes(partition, b"x")
        self.run_ends()
        self.bury(before, lost=True)

    @rule(count=st.integers(1, 3))
    def post(self, count: int) -> None:
        """Letters of some dead records go to the outlet."""
        self.posts(count)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def deliver_letter(self, data: st.DataObject) -> None:
        """One of those that wait is there; another one may have been refused before."""
        self.letter_arrives(data.draw(st.sampled_from(sorted(self.waiting))))

    @rule()
    def deliver_letters(self) -> None:
        """All of them are there."""
        self.letters_all_arrive()

    # ---------------------------------------------------------------- what always holds

    @invariant()
    def agree(self) -> None:
        """The ledger is as its reference, and every offset to commit is that of a prefix that was acknowledged."""
        self.reference.assert_same(self.real)
        self.assert_whole_records()
        assert self.real.written_position == self.reference.position
        for partition, offset in self.real.stored().items():
            self.assert_prefix(partition, offset)

    def teardown(self) -> None:
        """When all is done, nothing is held; and nothing that was committed was not done."""
        if not hasattr(self, "real"):
            return
        self.run_ends()
        self.finish()
        self.agree()
        assert self.real.in_flight_bytes == 0
        assert [self.real.in_flight_of(partition) for partition in range(PARTITIONS)] == [0] * PARTITIONS
        assert not self.every_record(), "never acknowledged"
        assert self.real.dead == (0, 0)
        self.commit()
        self.assert_kept()


class Demand(LedgerMachine):
    """`demand`: what the Calculator came back after is done."""

    @rule()
    def sample(self) -> None:
        """It has read so far, and does not read ahead more than it may."""
        self.answer(self.reference.position - (len(self.run.stream) - self.run.read) - READ_BYTES)

    @rule()
    def wait_for_input(self) -> None:
        """It does all, and is seen to wait on an empty STDIN."""
        self.handles_all()
        self.come_back()

    def come_back(self) -> None:
        """All that was written whole is done."""
        if self.reference.begun_bytes == 0:
            self.answer(self.reference.position)

    def answer(self, position: int) -> None:
        """Count it; what it has printed by now must be delivered."""
        assert self.real.answer(position, self.stdout) == self.reference.answer(position, self.stdout)

    @rule(undelivered=st.integers(0, 10))
    def one_by_one(self, undelivered: int) -> None:
        """Many records, each answered by itself while nothing is delivered: more fences than are told apart."""
        for _ in range(FENCES + 8):
            self.flow(0, [b"x"])
            self.wait_for_input()
        self.delivers(max(self.delivered, len(self.outputs) - undelivered))

    @rule()
    def exit_in_order(self) -> None:
        """It does all, and ends at the end of STDIN."""
        self.wait_for_input()
        self.run_ends()

    @precondition(lambda self: not self.run.stream and not self.rule_broken)
    @rule()
    def forget(self) -> None:
        """What was printed is abandoned: its records are written again, but for those that are acknowledged already."""
        assert self.real.rewind(-1) == self.reference.rewind(-1)
        settled = {record.sequence for record in self.reference.at("settled")}
        self.done = {sequence: outputs for sequence, outputs in self.done.items() if sequence in settled}


class Line(LedgerMachine):
    """`line`: a line out for each line in."""

    ack_mode = "line"

    @rule(count=st.integers(1, 3), ended=st.booleans())
    def print_unasked(self, count: int, ended: bool) -> None:
        """Lines that nobody asked for break the rule: nothing is acknowledged in this run any more, which is ended."""
        if self.run.owed or self.run.half_bytes:
            return
        for _ in range(count):
            self.prints(None)
        assert self.outputs[-1].mark > self.real.lines_written, "not to be told from an answer"
        self.rule_broken = True
        if ended:
            self.run_ends()

    @rule(partition=A_PARTITION, begun=st.integers(1, 9), ended=st.booleans())
    def answer_a_part(self, partition: int, begun: int, ended: bool) -> None:
        """A record of several lines is written in part, and its first lines are answered."""
        self.flow(partition, [b"x"])
        self.takes(partition, b"\na\nbc\n\nd\n")
        self.write(begun, 1024)
        self.handles_all()
        if ended:
            self.run_ends()

    @invariant()
    def a_line_for_each_is_no_violation(self) -> None:
        """Whatever was written of a record."""
        if hasattr(self, "real") and self.outputs and not self.rule_broken:
            assert self.outputs[-1].mark <= self.real.lines_written


class Marker(LedgerMachine):
    """`marker`: what is before a marker that came back is done."""

    ack_mode = "marker"

    @rule()
    def mark(self) -> None:
        """Write a marker."""
        if self.reference.begun_bytes:
            return
        number = self.real.mark()
        assert number == self.reference.mark()
        line = b"marker %d\n" % number
        self.run.stream += line
        self.run.whole.append(line)
        self.run.owed.append(Token(len(self.run.stream), marker=number))

    @rule()
    def print_unasked(self) -> None:
        """A line for nobody."""
        self.prints(None)

    def after_the_last(self) -> None:
        """A last marker."""
        self.mark()
