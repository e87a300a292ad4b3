"""The ledger and the rules of acknowledgement in a small world, whatever the order of events.

The world has partitions with offsets, a Calculator that reads STDIN and prints to STDOUT as its ACK_MODE asks of it,
an outlet that delivers, and a group that gives and takes partitions. Each machine plays one mode. The ledger and its
plain reference take every step and must agree; and at every step the promises of the mode hold, which are looked up in
the world, not in the reference: nothing is committed that was not done, nothing is done twice where that is promised,
and STDIN is whole records in order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from supervisor._framing import Ledger
from tests.unit.ledger_reference import FENCES, AckMode, Record, Reference, line_of

ALL = 1 << 30
PARTITIONS = 3
READ_BYTES = 8
"""The Calculator reads so much at once, and has done with it before it reads on: ACK_READAHEAD_BYTES."""

VALUES = [None, b"", b"\n", b"\n\n", b"a", b"bc\n", b"d\ne", b"\nf\n\n", b"longer than the Calculator reads at once"]


@dataclass
class Output:
    """One line of STDOUT, or what stands for the dropped half of one."""

    end: int
    """Position of STDOUT behind it."""
    mark: int
    """Lines up to and with it, or the number of the last marker up to it."""
    may_end: bool
    """Whether a transaction may end behind it."""
    of: tuple[int, int] | None = None
    """The record it was printed for."""


@dataclass
class Token:
    """A whole line of STDIN that the Calculator will find: of a record, or a marker."""

    end: int
    record: Record | None = None
    last: bool = True
    marker: int = 0


@dataclass
class Run:
    """One life of the Calculator."""

    stream: bytes = b""
    """Everything written to its STDIN."""
    whole: list[bytes] = field(default_factory=list)
    """The lines of the records that should be in there, and the markers."""
    sequences: list[int] = field(default_factory=list)
    read: int = 0
    owed: deque[Token] = field(default_factory=deque)
    half_bytes: int = 0
    """Of an output line that it has begun."""


class LedgerMachine(RuleBasedStateMachine):
    """What all modes have in common; `at-least-once` as it stands."""

    ack_mode: AckMode = "demand"

    def __init__(self) -> None:
        super().__init__()
        self.run = Run()
        self.outputs: list[Output] = []
        self.delivered = 0  # so many of the outputs
        self.stdout = 0  # position
        self.values: dict[tuple[int, int], bytes | None] = {}  # what Kafka has
        self.read_before: dict[int, list[int]] = defaultdict(list)  # their offsets in each partition
        self.fetched: dict[int, int] = {}  # the next offset to take of each partition
        self.begins: dict[int, int] = {}  # where the present epoch began
        self.broker: dict[int, int] = {}  # committed offsets
        self.done: dict[int, int] = {}  # sequence -> outputs that were printed when the Calculator was done with it
        self.done_keys: set[tuple[int, int]] = set()  # records that were done and acknowledged, in whatever epoch
        self.acknowledged: dict[tuple[int, int], list[int]] = {}  # (partition, epoch) -> offsets
        self.in_flight: dict[tuple[int, int], deque[Record]] = defaultdict(deque)
        self.rule_broken = False

    @initialize(
        records=st.sampled_from([200, 200, 5]),
        nbytes=st.sampled_from([ALL, ALL, 3000]),
        newlines=st.sampled_from(["space", "split"]),
    )
    def open(self, records: int, nbytes: int, newlines: str) -> None:
        """Draw the settings."""
        self.real = Ledger(records, nbytes, newlines, ack_mode=self.ack_mode)
        self.reference = Reference(records, nbytes, newlines, self.ack_mode)
        for partition in range(PARTITIONS - 1):
            self.assign(partition)

    # ---------------------------------------------------------------- the group

    def owned(self, partition: int) -> bool:
        """Whether it is ours, draining or not."""
        return self.reference.states.get(partition, "lost") != "lost"

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def assign(self, partition: int) -> None:
        """A partition comes; it is read from its committed offset on."""
        if self.owned(partition):
            return
        self.real.assign(partition)
        self.reference.assign(partition)
        self.fetched[partition] = self.begins[partition] = self.broker.get(partition, 0)

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def drain(self, partition: int) -> None:
        """The group asks a partition back."""
        self.real.drain(partition, self.void_from)
        self.reference.drain(partition, self.void_from)

    @rule(partition=st.integers(0, PARTITIONS - 1), lost=st.booleans())
    def revoke(self, partition: int, lost: bool) -> None:
        """A partition goes, with a last commit unless it is lost already."""
        if not self.owned(partition):
            return
        if not lost:
            self.commit()
        self.real.revoke(partition, self.void_from)
        self.reference.revoke(partition, self.void_from)

    @rule(partition=st.integers(0, PARTITIONS - 1), lost=st.booleans())
    def bounce(self, partition: int, lost: bool) -> None:
        """A partition goes and comes back."""
        self.revoke(partition, lost)
        self.assign(partition)

    @property
    def void_from(self) -> int:
        """Of a partition that goes, records from here on are not written."""
        return 0

    # ---------------------------------------------------------------- Kafka

    @rule(partition=st.integers(0, PARTITIONS - 1), value=st.sampled_from(VALUES), gap=st.integers(0, 2))
    def append(self, partition: int, value: bytes | None, gap: int) -> None:
        """Take the next record. One of a partition that drains or was lost may still be in librdkafka's queue."""
        if partition not in self.reference.epochs or self.reference.room <= 0:
            return
        self.takes(partition, value, gap)

    def takes(self, partition: int, value: bytes | None, gap: int = 0) -> None:
        """The next record, or the one that Kafka has there already."""
        read = self.read_before[partition]
        if read and self.fetched[partition] <= read[-1]:
            offset = read[bisect_left(read, self.fetched[partition])]
            value = self.values[partition, offset]
        else:
            offset = self.fetched[partition] + gap  # compaction leaves gaps
            read.append(offset)
            self.values[partition, offset] = value
        self.fetched[partition] = offset + 1
        self.real.append(partition, offset, value)
        record = self.reference.append(partition, offset, value)
        self.in_flight[partition, offset].append(record)

    @rule(partition=st.integers(0, PARTITIONS - 1), values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=4))
    def flow(self, partition: int, values: list[bytes | None]) -> None:
        """Some records of a partition that is ours are taken and written."""
        if self.reference.states.get(partition) != "owned":
            self.revoke(partition, lost=False)
            self.assign(partition)
        for value in values:
            if self.reference.room > 0 and partition in self.begins:
                self.takes(partition, value)
        self.write(ALL, 1024)

    @rule(partition=st.integers(0, PARTITIONS - 1), values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=4))
    def serve(self, partition: int, values: list[bytes | None]) -> None:
        """They are done as well, and it is seen; what was printed is on its way."""
        self.flow(partition, values)
        self.see_all_done()

    @rule(partition=st.integers(0, PARTITIONS - 1), lost=st.booleans(), asked=st.booleans())
    def interrupt(self, partition: int, lost: bool, asked: bool) -> None:
        """A partition is asked back, or goes, in the middle of a record of its own."""
        self.flow(partition, [b"x"])
        if self.reference.room > 0 and partition in self.begins:
            self.takes(partition, b"begun", 0)
            self.write(2, 1024)
        if asked:
            self.drain(partition)
        else:
            self.revoke(partition, lost)

    def see_all_done(self) -> None:
        """The Calculator does all that was written, and shows it."""
        self.after_the_last()
        self.do_all()
        self.come_back()

    @rule()
    def commit(self) -> None:
        """Commit what is acknowledged."""
        for partition, offset in self.real.stored().items():
            assert offset >= self.broker.get(partition, 0), "a commit goes back"
            self.broker[partition] = offset

    # ---------------------------------------------------------------- the Calculator

    @rule(limit=st.integers(0, 12) | st.just(ALL), max_iov=st.sampled_from([2, 3, 5, 1024]))
    def write(self, limit: int, max_iov: int) -> None:
        """Write some bytes to STDIN."""
        if not self.rule_broken:
            self.wrote(limit, max_iov, ALL)

    def wrote(self, limit: int, max_iov: int, before: int) -> None:
        """Let both write; the Calculator will find the same lines."""
        reference, cursor = self.reference, self.reference.cursor
        at = len(self.run.stream) - reference.begun_bytes
        stream = self.real.write(limit, max_iov, before)
        expected, finished = reference.write(len(stream) if max_iov < 1024 else limit, before)
        assert stream == expected
        assert stream or not self.unwritten(before, limit), "nothing was written though there was something to write"
        self.run.stream += stream
        assert [record.sequence for record in finished] == list(range(cursor, cursor + len(finished)))
        for record in finished:
            self.finish_line(record, at)
            at += len(record.line)

    def unwritten(self, before: int, limit: int) -> bool:
        """Whether there is a line to write."""
        return limit > 0 and any(record.line and record.sequence < before for record in self.reference.at("taken"))

    def finish_line(self, record: Record, at: int) -> None:
        """A record is in STDIN whole."""
        if not record.line:
            return
        self.run.whole.append(self.line(record))
        self.run.sequences.append(record.sequence)
        ends = [at + i + 1 for i, byte in enumerate(record.line) if byte == ord("\n")]
        self.run.owed.extend(Token(end, record, last=end == ends[-1]) for end in ends)

    def line(self, record: Record) -> bytes:
        """What a record is in STDIN, out of Kafka's value."""
        return line_of(self.values[record.partition, record.offset], self.reference.input_newlines)

    @rule(count=st.integers(1, READ_BYTES))
    def read(self, count: int) -> None:
        """The Calculator is done with what it has read, and reads on."""
        self.handle(ALL, 1)
        self.run.read = min(self.run.read + count, len(self.run.stream))

    @rule(count=st.integers(1, 4), lines=st.integers(0, 2))
    def handle(self, count: int, lines: int) -> None:
        """The Calculator does some lines that it has read, and prints."""
        run = self.run
        while count > 0 and run.owed and run.owed[0].end <= run.read:
            token = run.owed.popleft()
            count -= 1
            if token.record is None:
                self.prints(None, marker=token.marker)
                continue
            for _ in range(1 if self.ack_mode == "line" else max(lines, run.half_bytes)):
                self.prints((token.record.partition, token.record.offset))
            if token.last:
                self.done[token.record.sequence] = len(self.outputs)

    def prints(self, of: tuple[int, int] | None, *, marker: int = 0) -> None:
        """One line of STDOUT, or the rest of one."""
        self.stdout += 3 if self.run.half_bytes else 4
        self.run.half_bytes = 0
        before = self.outputs[-1].mark if self.outputs else 0
        mark = before + 1 if self.ack_mode == "line" else marker or before
        self.outputs.append(Output(self.stdout, mark, self.ack_mode == "line" or marker > 0, of))

    @rule()
    def print_half(self) -> None:
        """The Calculator has begun the next line that it prints."""
        run = self.run
        if run.half_bytes == 0 and run.owed and run.owed[0].end <= run.read and run.owed[0].record is not None:
            run.half_bytes = 1
            self.stdout += 1

    # ---------------------------------------------------------------- the outlet

    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Some more of STDOUT is delivered."""
        self.delivers(data.draw(st.integers(self.delivered, len(self.outputs))))

    def delivers(self, upto: int) -> None:
        """So many outputs are."""
        self.delivered = upto
        self.settle()

    def settle(self) -> None:
        """The inlet looks how far STDOUT is delivered."""
        if self.rule_broken:
            return
        last = self.outputs[self.delivered - 1] if self.delivered else Output(0, 0, True)
        if self.ack_mode == "demand":
            acknowledged, expected = self.real.deliver(last.end), self.reference.deliver(last.end)
        else:
            acknowledged, expected = self.real.deliver_mark(last.mark), self.reference.deliver_mark(last.mark)
        assert acknowledged == expected
        self.acknowledge(acknowledged)

    def acknowledge(self, keys: list[tuple[int, int]]) -> None:
        """The ledger let these go: the Calculator was done with them, and what it printed is delivered."""
        for record in self.take(keys):
            done = self.done.get(record.sequence, ALL) <= self.delivered
            assert done or record.void or not record.line, f"acknowledged before it was done: {record}"
            if done:
                self.done_keys.add((record.partition, record.offset))

    def take(self, keys: list[tuple[int, int]]) -> list[Record]:
        """The records of these; none twice in one epoch."""
        records = [self.in_flight[key].popleft() for key in keys]
        for record in records:
            offsets = self.acknowledged.setdefault((record.partition, record.epoch), [])
            assert not offsets or offsets[-1] < record.offset, "acknowledged twice, or out of order"
            offsets.append(record.offset)
        return records

    # ---------------------------------------------------------------- the end of a run

    @rule()
    def crash(self) -> None:
        """The Calculator dies; half a line that it printed is dropped."""
        self.run_ends()

    def run_ends(self) -> None:
        """Count what came; the next run begins."""
        if self.ack_mode == "demand":
            line_end = self.outputs[-1].end if self.outputs else 0
            assert self.real.rewind(line_end) == self.reference.rewind(line_end)
        else:
            self.rewind_marks(trusted=not self.rule_broken)
        self.next_run()

    def rewind_marks(self, *, trusted: bool) -> None:
        """As many lines came out as came out."""
        mark = self.outputs[-1].mark if self.outputs else 0
        assert self.real.rewind_marks(mark, trusted) == self.reference.rewind_marks(mark, trusted)

    def assert_whole_records(self) -> None:
        """STDIN of this run is whole records in order, but for the one that was begun."""
        run, begun = self.run, self.reference.begun_bytes
        rest = self.line(self.reference.at("taken")[0])[:begun] if begun else b""
        assert run.stream == b"".join(run.whole) + rest
        assert run.sequences == sorted(set(run.sequences)), "out of order"

    def next_run(self) -> None:
        """Begin it; half a line of the last one stands for itself and is never a record."""
        if self.run.half_bytes:
            before = self.outputs[-1].mark if self.outputs else 0
            self.outputs.append(Output(self.stdout, before, self.outputs[-1].may_end if self.outputs else True))
        self.run = Run()
        self.rule_broken = False

    def every_record(self) -> list[Record]:
        """Those in flight."""
        return [record for waiting in self.in_flight.values() for record in waiting]

    # ---------------------------------------------------------------- what always holds

    @invariant()
    def agree(self) -> None:
        """The ledger is as its reference, and every offset to commit is that of a prefix that was acknowledged."""
        self.reference.assert_same(self.real)
        self.assert_whole_records()
        assert self.real.written_position == self.reference.position
        for partition, offset in self.real.stored().items():
            self.assert_prefix(partition, offset)

    def assert_prefix(self, partition: int, offset: int) -> None:
        """Everything of the epoch before the offset is acknowledged."""
        acknowledged = set(self.acknowledged.get((partition, self.reference.epochs[partition]), []))
        due = {known for known in self.read_before[partition] if self.begins[partition] <= known < offset}
        assert due <= acknowledged, f"{sorted(due - acknowledged)} are before {offset} and not acknowledged"

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
        self.commit()
        self.assert_kept()

    def finish(self) -> None:
        """Write, do and deliver everything."""
        self.write(ALL, 1024)
        self.see_all_done()
        self.delivers(len(self.outputs))

    def after_the_last(self) -> None:
        """What follows the last record."""

    def come_back(self) -> None:
        """What the Calculator does after the last."""

    @rule()
    def do_all(self) -> None:
        """The Calculator does all that was written."""
        self.run.read = len(self.run.stream)
        self.handle(ALL, 1)

    def assert_kept(self) -> None:
        """Every record before the committed offset was done, and its lines delivered."""
        for key, value in self.values.items():
            if value is not None and key[1] < self.broker.get(key[0], 0):
                assert key in self.done_keys, f"{key} is lost"


class Demand(LedgerMachine):
    """`demand`: what the Calculator came back after is done."""

    @rule()
    def sample(self) -> None:
        """It has read so far, and does not read ahead more than it may."""
        self.answer(self.reference.position - (len(self.run.stream) - self.run.read) - READ_BYTES)

    @rule()
    def wait_for_input(self) -> None:
        """It does all, and is seen to wait on an empty STDIN."""
        self.do_all()
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
        """What was printed is abandoned: its records are written again."""
        assert self.real.rewind(-1) == self.reference.rewind(-1)
        self.done.clear()


class Line(LedgerMachine):
    """`line`: a line out for each line in."""

    ack_mode = "line"

    @rule(count=st.integers(1, 3), ended=st.booleans())
    def print_unasked(self, count: int, ended: bool) -> None:
        """Lines that nobody asked for break the rule: nothing is acknowledged in this run any more, which is ended."""
        if self.run.owed or self.reference.begun_bytes or self.run.half_bytes:
            return
        for _ in range(count):
            self.prints(None)
        self.rule_broken = True
        if ended:
            self.run_ends()


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


class AtMostOnce(Demand):
    """`at-most-once`: committed first, then written, never twice."""

    def __init__(self) -> None:
        super().__init__()
        self.confirmed = 0  # records before this sequence number may be written
        self.target: int | None = None  # of the commit under way
        self.under_way: dict[int, int] = {}
        self.written: Counter[tuple[int, int]] = Counter()

    @property
    def void_from(self) -> int:
        """What is committed stays."""
        return self.confirmed

    @rule()
    def begin_commit(self) -> None:
        """Commit what was taken."""
        if self.target is not None:
            return
        self.real.note_offsets(self.confirmed)
        self.reference.note_offsets(self.confirmed)
        self.under_way = self.real.stored()
        self.target = self.real.sequence[3]

    @rule(accepted=st.booleans(), confirmed=st.booleans())
    def end_commit(self, accepted: bool, confirmed: bool) -> None:
        """It succeeds, fails, or succeeds without our knowing."""
        if self.target is None:
            return
        if accepted or confirmed:
            self.broker |= self.under_way
        if confirmed:
            self.confirmed = self.target
        self.target = None

    @rule(partition=st.integers(0, PARTITIONS - 1), values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=4))
    def flow(self, partition: int, values: list[bytes | None]) -> None:
        """Some records are taken, committed and begun."""
        super().flow(partition, values)
        self.end_commit(accepted=True, confirmed=True)
        self.begin_commit()
        self.end_commit(accepted=True, confirmed=True)
        self.write(7, 1024)

    def commit(self) -> None:
        """Nothing is committed afterwards."""

    @rule(partition=st.integers(0, PARTITIONS - 1), lost=st.booleans())
    def revoke(self, partition: int, lost: bool) -> None:
        """A commit that is under way is answered or fails before anybody else gets the partition."""
        super().revoke(partition, lost)
        self.under_way.pop(partition, None)

    @rule(limit=st.integers(0, 12) | st.just(ALL), max_iov=st.sampled_from([2, 3, 5, 1024]))
    def write(self, limit: int, max_iov: int) -> None:
        """Write what is committed, and the rest of what was begun."""
        self.wrote(limit, max_iov, max(self.confirmed, self.reference.cursor + (self.reference.begun_bytes > 0)))

    def finish_line(self, record: Record, at: int) -> None:
        """Once and for all."""
        super().finish_line(record, at)
        if record.line:
            self.writes(record)

    def writes(self, record: Record) -> None:
        """Never twice, never before the commit."""
        key = (record.partition, record.offset)
        self.written[key] += 1
        assert self.written[key] == 1, f"{key} written twice"
        assert record.offset < self.broker[record.partition], f"{key} written before it was committed"

    def run_ends(self) -> None:
        """What was written counts as done."""
        begun = self.reference.at("taken")[:1] if self.reference.begun_bytes else []
        for record in begun:
            self.writes(record)
        forfeited = self.real.forfeit()
        assert forfeited == self.reference.forfeit()
        self.take(forfeited)
        self.next_run()

    def acknowledge(self, keys: list[tuple[int, int]]) -> None:
        """Whatever became of them."""
        self.take(keys)

    def forget(self) -> None:
        """There is nothing to write again."""

    def assert_prefix(self, partition: int, offset: int) -> None:
        """Offsets go ahead of acknowledgements."""

    def finish(self) -> None:
        """Commit, write, do."""
        self.end_commit(True, True)
        self.begin_commit()
        self.end_commit(True, True)
        super().finish()

    def assert_kept(self) -> None:
        """What we took, kept, and committed was written."""
        for (partition, epoch), offsets in self.acknowledged.items():
            if epoch == self.reference.epochs[partition] and self.reference.states[partition] == "owned":
                for offset in offsets:
                    assert self.values[partition, offset] is None or self.written[partition, offset] == 1


class ExactlyOnce(LedgerMachine):
    """`exactly-once`: lines and offsets are committed together."""

    def __init__(self) -> None:
        super().__init__()
        self.in_topic: Counter[tuple[int, int]] = Counter()  # committed lines of each record
        self.cut: int | None = None  # outputs before it are in the transaction that is offered
        self.offsets: dict[int, int] = {}
        self.committed_outputs = 0
        self.void = False
        self.abort_owed = False

    @initialize(records=st.sampled_from([200, 5]), nbytes=st.sampled_from([ALL, 3000]), newlines=st.just("space"))
    def open(self, records: int, nbytes: int, newlines: str) -> None:
        """INPUT_NEWLINES=split is refused."""
        super().open(records, nbytes, newlines)

    def settle(self) -> None:
        """Acknowledged is what is committed."""

    @precondition(lambda self: self.cut is None)
    @rule(data=st.data())
    def deliver(self, data: st.DataObject) -> None:
        """Nothing is taken out of STDOUT while a transaction ends."""
        super().deliver(data)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        """Lines that were not framed yet are dropped."""
        if self.cut is None:
            del self.outputs[data.draw(st.integers(self.delivered, len(self.outputs))) :]
        self.run_ends()

    def commit(self) -> None:
        """Offsets go with the transaction alone."""

    @rule(partition=st.integers(0, PARTITIONS - 1))
    def assign(self, partition: int) -> None:
        """Not before a transaction with its offsets ended one way or the other."""
        if self.cut is None or self.owned(partition):
            super().assign(partition)

    @rule(partition=st.integers(0, PARTITIONS - 1), lost=st.booleans())
    def revoke(self, partition: int, lost: bool) -> None:
        """Lines of its records that are done or under way have to be aborted."""
        owes = self.owned(partition) and self.real.in_flight_of(partition) > 0
        super().revoke(partition, lost)
        if owes:
            self.abort_owed = True

    @rule()
    def offer(self) -> None:
        """End the transaction behind what is delivered, if it may end there."""
        if self.void or self.cut is not None or self.rule_broken:
            return
        if self.abort_owed:
            self.abort()
            return
        if self.delivered and not self.outputs[self.delivered - 1].may_end:
            return
        mark = self.outputs[self.delivered - 1].mark if self.delivered else 0
        self.offsets = self.real.offer(mark)
        assert self.offsets == self.reference.offer(mark)
        self.cut = self.delivered

    @rule(partition=st.integers(0, PARTITIONS - 1), values=st.lists(st.sampled_from(VALUES), min_size=1, max_size=4))
    def serve_and_offer(self, partition: int, values: list[bytes | None]) -> None:
        """They are done, delivered, and about to be committed; after a lost transaction, by a new run."""
        if self.abort_owed:
            self.abort()
        if self.void:
            self.run_ends()
        self.serve(partition, values)
        if self.cut is None:
            self.delivers(len(self.outputs))
            self.offer()

    @rule(accepted=st.booleans())
    def end_transaction(self, accepted: bool) -> None:
        """The broker commits it, or does not."""
        if self.cut is None:
            return
        if not accepted:
            self.abort()
            return
        self.broker |= self.offsets
        self.in_topic.update(output.of for output in self.outputs[self.committed_outputs : self.cut] if output.of)
        self.committed_outputs = self.cut
        self.cut = None
        committed = self.real.committed()
        assert committed == self.reference.committed()
        self.acknowledge(committed)

    @rule()
    def abort(self) -> None:
        """The transaction is lost: what was printed since the last commit does not count."""
        self.void, self.abort_owed, self.cut = True, False, None

    def run_ends(self) -> None:
        """Lines that no acknowledgement covers void the transaction, unless it is being committed already."""
        if self.cut is not None:
            del self.outputs[self.cut :]
        self.done = {sequence: outputs for sequence, outputs in self.done.items() if outputs <= len(self.outputs)}
        if self.void or (self.cut is None and self.leaves_lines()):
            self.abort_owed = False
            self.done.clear()
            self.committed_outputs = self.delivered = len(self.outputs)
            self.real.void()
            self.reference.committing = 0
            self.rewind_marks(trusted=False)
            self.void = False
        else:
            self.rewind_marks(trusted=not self.rule_broken)
        self.next_run()

    def leaves_lines(self) -> bool:
        """Whether the open transaction has lines that no acknowledgement covers."""
        return self.rule_broken or (self.ack_mode == "marker" and self.outputs != [] and not self.outputs[-1].may_end)

    def assert_prefix(self, partition: int, offset: int) -> None:
        """The offsets stored are those of the transactions."""

    def finish(self) -> None:
        """Twice: the first transaction may have to be aborted."""
        for _ in range(2):
            self.end_transaction(True)
            if self.abort_owed:
                self.abort()
            if self.void:
                self.run_ends()
            super().finish()
            self.offer()
        self.end_transaction(True)

    def assert_kept(self) -> None:
        """The lines of every record are in the topic once if it is committed, and not at all if it is not."""
        for key, value in self.values.items():
            expected = int(value is not None and key[1] < self.broker.get(key[0], 0))
            assert self.in_topic[key] == expected, f"{key} is {self.in_topic[key]} times in the topic, not {expected}"


class ExactlyOnceLine(ExactlyOnce):
    """With one line for each."""

    ack_mode = "line"
    print_unasked = Line.print_unasked


class ExactlyOnceMarker(ExactlyOnce):
    """With markers; so that lines can be counted, the Calculator prints one for each."""

    ack_mode = "marker"
    mark = Marker.mark
    after_the_last = Marker.after_the_last

    @rule(count=st.integers(1, 4))
    def handle(self, count: int, lines: int = 1) -> None:
        """One line for each; one that was begun is that one."""
        super().handle(count, 1)


SETTINGS = settings(max_examples=60, stateful_step_count=50, deadline=None)
for machine in (Demand, Line, Marker, AtMostOnce, ExactlyOnceLine, ExactlyOnceMarker):
    machine.TestCase.settings = SETTINGS

test_demand = Demand.TestCase
test_line = Line.TestCase
test_marker = Marker.TestCase
test_at_most_once = AtMostOnce.TestCase
test_exactly_once_line = ExactlyOnceLine.TestCase
test_exactly_once_marker = ExactlyOnceMarker.TestCase
