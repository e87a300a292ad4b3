"""A small world round the ledger: partitions with offsets, a Calculator, an outlet that delivers, dead letters.

The ledger and its plain reference take every step and must agree. What is promised is looked up in the world: what
Kafka has, what was written, printed, delivered and committed. `ledger_machine` plays it in any order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field

from supervisor._framing import Ledger
from tests.unit.ledger_reference import AckMode, Record, Reference, line_of

ALL = 1 << 30
PARTITIONS = 3


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

    first_output: int = 0
    """So many outputs are of the runs before it."""
    stream: bytes = b""
    """Everything written to its STDIN."""
    whole: list[bytes] = field(default_factory=list)
    """The lines of the records that should be in there, and the markers."""
    sequences: list[int] = field(default_factory=list)
    read: int = 0
    owed: deque[Token] = field(default_factory=deque)
    found: int = 0
    """So much of the stream is whole lines, which are owed or handled."""
    half_bytes: int = 0
    """Of an output line that it has begun."""


class World:
    """What happens, one thing at a time; `at-least-once` as it stands."""

    ack_mode: AckMode = "demand"
    transactional = False
    written_again = True
    """Whether a record that was not done is; else none is suspected of ending the Calculator."""

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
        self.gone = 0  # so many records were let go
        self.in_flight: dict[tuple[int, int], deque[Record]] = defaultdict(deque)
        self.rule_broken = False
        self.dead: set[int] = set()  # sequence numbers of the records that get a letter instead of a line
        self.issued = 0  # letters have been posted
        self.waiting: dict[int, Record] = {}  # by the number of their letter, which is not there yet
        self.letters_there: set[int] = set()  # sequence numbers of those whose letter is
        self.letters: Counter[tuple[int, int]] = Counter()  # in the dead letter stream, of each record

    def opens(self, records: int, nbytes: int, newlines: str, prefix: bytes) -> None:
        """With these settings, and two partitions."""
        self.real = Ledger(records, nbytes, newlines, ack_mode=self.ack_mode, marker_prefix=prefix)
        self.reference = Reference(records, nbytes, newlines, self.ack_mode, prefix)
        for partition in range(PARTITIONS - 1):
            self.assigns(partition)

    # ---------------------------------------------------------------- the group

    def owned(self, partition: int) -> bool:
        """Whether it is ours, draining or not."""
        return self.reference.states.get(partition, "lost") != "lost"

    def assigns(self, partition: int) -> None:
        """A partition comes; it is read from its committed offset on."""
        self.real.assign(partition)
        self.reference.assign(partition)
        self.fetched[partition] = self.begins[partition] = self.broker.get(partition, 0)

    @property
    def void_from(self) -> int:
        """Of a partition that goes, records from here on are not written."""
        return 0

    @property
    def drain_from(self) -> int:
        """Likewise of one that is asked back."""
        return self.void_from

    # ---------------------------------------------------------------- Kafka

    def takes(self, partition: int, value: bytes | None, gap: int = 0) -> None:
        """The next record, or the one that Kafka has there already; none if there is no room."""
        if partition not in self.begins or self.reference.room <= 0:
            return
        read = self.read_before[partition]
        if read and self.fetched[partition] <= read[-1]:
            offset = read[bisect_left(read, self.fetched[partition])]
            value = self.values[partition, offset]
        else:
            offset = self.fetched[partition] + gap  # compaction leaves gaps
            read.append(offset)
            self.values[partition, offset] = value
        self.fetched[partition] = offset + 1
        other_bytes = 300 * (offset % 3)  # its key and headers
        self.real.append(partition, offset, value, other_bytes)
        record = self.reference.append(partition, offset, value, other_bytes)
        self.in_flight[partition, offset].append(record)
        if record.dead:
            self.dead.add(record.sequence)

    def commits(self) -> None:
        """Commit what is acknowledged."""
        for partition, offset in self.real.stored().items():
            assert offset >= self.broker.get(partition, 0), "a commit goes back"
            self.broker[partition] = offset

    # ---------------------------------------------------------------- STDIN

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
        if reference.begun_bytes:
            self.owe_lines(reference.at("taken")[0], at)

    def owe_lines(self, record: Record, at: int) -> None:
        """The Calculator will find these whole lines of a record that begins there, written to its end or not."""
        run, end = self.run, at + len(record.line)
        for position in range(max(at, run.found), min(end, len(run.stream))):
            if run.stream[position] == ord("\n"):
                run.found = position + 1
                run.owed.append(Token(run.found, record, last=run.found == end))

    def unwritten(self, before: int, limit: int) -> bool:
        """Whether there is a line to write."""
        return limit > 0 and any(record.line and record.sequence < before for record in self.reference.at("taken"))

    def finish_line(self, record: Record, at: int) -> None:
        """A record is in STDIN whole."""
        if not record.line:
            return
        assert record.sequence not in self.dead, f"dead, and written: {record}"
        self.run.whole.append(self.line(record))
        self.run.sequences.append(record.sequence)
        self.owe_lines(record, at)

    def line(self, record: Record) -> bytes:
        """What a record is in STDIN, out of Kafka's value."""
        return line_of(
            self.values[record.partition, record.offset], self.reference.input_newlines, self.reference.prefix
        )

    # ---------------------------------------------------------------- the Calculator

    def handles(self, count: int, lines: int) -> None:
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

    def handles_all(self) -> None:
        """All that was written."""
        self.run.read = len(self.run.stream)
        self.handles(ALL, 1)

    def prints(self, of: tuple[int, int] | None, *, marker: int = 0) -> None:
        """One line of STDOUT, or the rest of one."""
        self.stdout += 3 if self.run.half_bytes else 4
        self.run.half_bytes = 0
        before = self.outputs[-1].mark if self.outputs else 0
        mark = before + 1 if self.ack_mode == "line" else marker or before
        self.outputs.append(Output(self.stdout, mark, self.ack_mode == "line" or marker > 0, of))

    def after_the_last(self) -> None:
        """What follows the last record."""

    def come_back(self) -> None:
        """What the Calculator does after the last."""

    def see_all_done(self) -> None:
        """The Calculator does all that was written, and shows it."""
        self.after_the_last()
        self.handles_all()
        self.come_back()

    # ---------------------------------------------------------------- the outlet

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
        """The ledger let these go: the Calculator was done with them, and what it printed or their letter is there."""
        for record in self.take(keys):
            if record.sequence in self.dead:
                done = record.sequence in self.letters_there
                assert done or record.void, f"acknowledged before its letter was there: {record}"
            else:
                done = self.done.get(record.sequence, ALL) <= self.delivered
                assert done or record.void or not record.line, f"acknowledged before it was done: {record}"
            if done:
                self.done_keys.add((record.partition, record.offset))

    def take(self, keys: list[tuple[int, int]]) -> list[Record]:
        """The records of these; none twice in one epoch, and none before what came before it."""
        records = [self.in_flight[key].popleft() for key in keys]
        for record in records:
            assert record.sequence == self.gone, "one before it is still there"
            self.gone += 1
            offsets = self.acknowledged.setdefault((record.partition, record.epoch), [])
            assert not offsets or offsets[-1] < record.offset, "acknowledged twice, or out of order"
            offsets.append(record.offset)
        return records

    # ---------------------------------------------------------------- dead letters

    def buries(self, key: tuple[int, int]) -> None:
        """The record is to be put aside; nothing if it is not the first any more."""
        record = self.reference.bury(*key)
        assert self.real.bury(*key) == (record is not None)
        if record is not None:
            assert self.reference.owns(record), f"of an epoch that is over: {record}"
            assert record.sequence not in self.dead, f"buried twice: {record}"
            self.dead.add(record.sequence)

    @property
    def letters_before(self) -> int:
        """Of records before this one letters may be posted."""
        return ALL

    def posts(self, count: int) -> None:
        """Letters of some dead records are posted."""
        number, before = self.issued + 1, self.letters_before
        posted = self.real.post(number, count, transactional=self.transactional, before=before)
        records = self.reference.post(number, count, transactional=self.transactional, before=before)
        assert posted == [record.sequence for record in records]
        for record in records:
            assert record.sequence in self.dead, f"alive: {record}"
            self.issued += 1
            self.waiting[self.issued] = record

    def letter_arrives(self, number: int) -> None:
        """One that waits is there; what it held up may go when all before it are there too."""
        self.letter_is_there(self.waiting.pop(number))
        self.letters_told(min(self.waiting, default=self.issued + 1) - 1)
        self.settle()

    def letter_is_there(self, record: Record) -> None:
        """In the dead letter stream."""
        self.letters_there.add(record.sequence)
        self.letters[record.partition, record.offset] += 1

    def letters_told(self, upto: int) -> None:
        """The inlet may know of these."""
        self.real.deliver_letters(upto)
        self.reference.letters_delivered = upto

    def letters_all_arrive(self) -> None:
        """All that can be posted are there."""
        self.posts(ALL)
        for number in list(self.waiting):
            self.letter_arrives(number)

    # ---------------------------------------------------------------- the end of a run

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

    def next_run(self) -> None:
        """Begin it; half a line of the last one stands for itself and is never a record."""
        if self.run.half_bytes:
            before = self.outputs[-1].mark if self.outputs else 0
            self.outputs.append(Output(self.stdout, before, self.outputs[-1].may_end if self.outputs else True))
        self.run = Run(len(self.outputs))
        self.rule_broken = False

    def finish(self) -> None:
        """Write, do and deliver everything."""
        self.wrote(ALL, 1024, self.may_write_before)
        self.letters_all_arrive()
        self.see_all_done()
        self.delivers(len(self.outputs))

    @property
    def may_write_before(self) -> int:
        """Writing stops before this record."""
        return ALL

    # ---------------------------------------------------------------- what always holds

    def every_record(self) -> list[Record]:
        """Those in flight."""
        return [record for waiting in self.in_flight.values() for record in waiting]

    def assert_whole_records(self) -> None:
        """STDIN of this run is whole records in order, but for the one that was begun."""
        run, begun = self.run, self.reference.begun_bytes
        rest = self.line(self.reference.at("taken")[0])[:begun] if begun else b""
        assert run.stream == b"".join(run.whole) + rest
        assert run.sequences == sorted(set(run.sequences)), "out of order"

    def assert_prefix(self, partition: int, offset: int) -> None:
        """Everything of the epoch before the offset is acknowledged."""
        acknowledged = set(self.acknowledged.get((partition, self.reference.epochs[partition]), []))
        due = {known for known in self.read_before[partition] if self.begins[partition] <= known < offset}
        assert due <= acknowledged, f"{sorted(due - acknowledged)} are before {offset} and not acknowledged"

    def assert_kept(self) -> None:
        """Of every record before the committed offset the lines, or the letter, are delivered."""
        for key, value in self.values.items():
            if value is not None and key[1] < self.broker.get(key[0], 0):
                assert key in self.done_keys, f"{key} is lost"
