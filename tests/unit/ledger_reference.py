"""The ledger written plainly: a list of records in flight, each with a place and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from supervisor._framing import Ledger

OVERHEAD_BYTES = 512
FENCES = 64
"""So many positions of STDOUT are told apart; further ones count as the newest."""

AckMode = Literal["demand", "line", "marker"]
Place = Literal["taken", "written", "answered", "settled"]
"""Settled: acknowledged, and kept by a dead record that waits for its letter."""


def is_rejected(value: bytes | None, input_newlines: str, prefix: bytes = b"") -> bool:
    """Whether the value becomes a dead letter as it is."""
    body = (value or b"").removesuffix(b"\n")
    return input_newlines == "reject" and (b"\n" in body or _is_like_marker(body, prefix))


def line_of(value: bytes | None, input_newlines: str, prefix: bytes = b"") -> bytes:
    """What is written to STDIN for a value; no line of it begins with the marker lines' prefix."""
    if value is None or is_rejected(value, input_newlines, prefix):
        return b""
    body = value.removesuffix(b"\n")
    lines = body.split(b"\n") if input_newlines == "split" else [body.replace(b"\n", b" ")]
    return b"".join(_unlike_marker(line, prefix) + b"\n" for line in lines)


def _is_like_marker(line: bytes, prefix: bytes) -> bool:
    return prefix != b"" and line.startswith(prefix)


def _unlike_marker(line: bytes, prefix: bytes) -> bytes:
    instead = b"_" if prefix.startswith(b" ") else b" "
    return instead + line[1:] if _is_like_marker(line, prefix) else line


@dataclass(eq=False)
class Record:
    """One record in flight."""

    sequence: int
    partition: int
    offset: int
    epoch: int
    line: bytes
    cost_bytes: int
    place: Place = "taken"
    void: bool = False
    dead: bool = False
    letter: int = 0
    """Dead: the number of its letter, once it has one."""
    end: int = 0
    """Position of STDIN behind it, or the mark that answers it; once it is written."""
    needs: int = 0
    """`demand`: the position of STDOUT whose delivery acknowledges it; once it is answered."""


@dataclass
class Reference:
    """The methods of `Ledger`, by the rules alone; ``write`` also tells which records it finished."""

    max_records: int
    max_bytes: int
    input_newlines: str
    ack_mode: AckMode
    prefix: bytes = b""
    values_changed: int = 0
    records: list[Record] = field(default_factory=list)
    gone: int = 0
    begun_bytes: int = 0
    position: int = 0
    last_mark: int = 0
    committing: int = 0
    letters_delivered: int = 0
    epochs: dict[int, int] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    next_offsets: dict[int, int] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)
    """Partitions of which a record of this epoch was left to who gets them: their offsets stay before it."""

    def at(self, *places: Place) -> list[Record]:
        """The records that are there, in order."""
        return [record for record in self.records if record.place in places]

    @property
    def cursor(self) -> int:
        """Sequence number of the first record that is not written whole."""
        return self.gone + len(self.at("written", "answered", "settled"))

    @property
    def tail(self) -> int:
        """Sequence number of the next record to come."""
        return self.gone + len(self.records)

    @property
    def room(self) -> int:
        """How many more records may be taken."""
        return 0 if self.in_flight_bytes >= self.max_bytes else self.max_records - len(self.records)

    def batch(self, most: int) -> int:
        """How many of these to take at once: until the bound is reached, if they are like those in flight."""
        if not self.records or not self.room:
            return min(self.room, most)
        usual = self.in_flight_bytes // len(self.records)
        return min(self.room, most, 1 + (self.max_bytes - self.in_flight_bytes) // usual)

    @property
    def in_flight_bytes(self) -> int:
        """What the records in flight cost."""
        return sum(record.cost_bytes for record in self.records)

    def owns(self, record: Record) -> bool:
        """Whether its acknowledgement moves an offset."""
        partition = record.partition
        return (
            not record.void
            and self.epochs[partition] == record.epoch
            and self.states[partition] in ("owned", "draining")
        )

    def in_flight_of(self, partition: int) -> int:
        """Records that the partition waits for before it is given up."""
        return sum(record.partition == partition and self.owns(record) for record in self.records)

    def assign(self, partition: int) -> None:
        """A new epoch of ours."""
        self.epochs[partition] = self.epochs.get(partition, 0) + 1
        self.states[partition] = "owned"
        self.next_offsets.pop(partition, None)
        self.stopped.discard(partition)

    def drain(self, partition: int, start: int = 0) -> None:
        """What is not written will not be."""
        if self.states.get(partition) == "owned":
            self.states[partition] = "draining"
            self._void(partition, start)

    def leave(self, start: int) -> None:
        """Likewise of all that drain, from there on."""
        for partition, state in self.states.items():
            if state == "draining":
                self._void(partition, start)

    def revoke(self, partition: int, start: int = 0) -> None:
        """The epoch is over."""
        self._void(partition, start)
        self.states[partition] = "lost"
        self.epochs[partition] = self.epochs.get(partition, 0) + 1
        self.next_offsets.pop(partition, None)
        self.stopped.discard(partition)

    def _void(self, partition: int, start: int) -> None:
        for record in self.at("taken"):
            begun = self.begun_bytes > 0 and record.sequence == self.cursor
            if record.partition == partition and record.sequence >= start and not record.letter and not begun:
                self._void_one(record)

    def _void_one(self, record: Record) -> None:
        record.void, record.line = True, b""

    def append(self, partition: int, offset: int, value: bytes | None, other_bytes: int) -> Record:
        """Take a record."""
        record = Record(
            sequence=self.tail,
            partition=partition,
            offset=offset,
            epoch=self.epochs[partition],
            line=line_of(value, self.input_newlines, self.prefix),
            cost_bytes=len(value or b"") + other_bytes + OVERHEAD_BYTES,
            dead=is_rejected(value, self.input_newlines, self.prefix),
        )
        if value is not None and not record.dead:
            self.values_changed += record.line != value.removesuffix(b"\n") + b"\n"
        self.records.append(record)
        if self.states[partition] != "owned":
            self._void_one(record)
        return record

    def write(self, limit: int, before: int) -> tuple[bytes, list[Record]]:
        """So many bytes of the records before a sequence number; and the records that are whole now."""
        waiting = [record for record in self.at("taken") if record.sequence < before]
        stream = b"".join(record.line for record in waiting)[self.begun_bytes :][:limit]
        left, finished = self.begun_bytes + len(stream), []
        end = self.position - self.begun_bytes
        self.position += len(stream)
        self.begun_bytes = 0
        for record in waiting:
            if left < len(record.line):
                self.begun_bytes = left
                break
            left -= len(record.line)
            end += len(record.line)
            if self.ack_mode == "line":
                self.last_mark += record.line.count(b"\n")
            record.end = {"demand": end, "line": self.last_mark, "marker": self.last_mark + 1}[self.ack_mode]
            record.place = "written"
            finished.append(record)
        return stream, finished

    @property
    def lines_written(self) -> int:
        """Counting lines: whole ones written, also of the record that was begun; those of earlier runs as they came."""
        begun = self.at("taken")[0].line[: self.begun_bytes] if self.begun_bytes else b""
        return self.last_mark + (begun.count(b"\n") if self.ack_mode == "line" else 0)

    def mark(self) -> int:
        """A marker was written."""
        self.last_mark += 1
        return self.last_mark

    def _answered(self, position: int) -> list[Record]:
        answered = list(takewhile(lambda record: record.end <= position, self.at("written")))
        for record in answered:
            record.place = "answered"
        return answered

    def answer(self, position: int, stdout: int) -> bool:
        """What ends there or before waits for the delivery of STDOUT."""
        fences = sorted({record.needs for record in self.at("answered")})
        answered = self._answered(position)
        if answered and len(fences) == FENCES:
            answered += [record for record in self.at("answered") if record.needs == fences[-1]]
        for record in answered:
            record.needs = stdout
        return answered != []

    def _settle(self, records: list[Record]) -> list[tuple[int, int]]:
        """These are acknowledged; what is at the head and not kept by a dead record goes."""
        for record in records:
            record.place = "settled"
        popped = list(takewhile(lambda record: record.place == "settled" and self._is_buried(record), self.records))
        for record in popped:
            self._note(record)
            if record.void and record.epoch == self.epochs[record.partition]:
                self.stopped.add(record.partition)
            self.records.remove(record)
        self.gone += len(popped)
        return [(record.partition, record.offset) for record in popped]

    def _note(self, record: Record) -> None:
        partition = record.partition
        if not self.owns(record) or partition in self.stopped:
            return
        self.next_offsets[partition] = max(record.offset + 1, self.next_offsets.get(partition, 0))

    def deliver(self, position: int) -> list[tuple[int, int]]:
        """STDOUT is delivered up to there."""
        return self._settle([record for record in self.at("answered") if record.needs <= position])

    def deliver_mark(self, mark: int) -> list[tuple[int, int]]:
        """Likewise by marks."""
        return self._settle(self._up_to(mark))

    def _up_to(self, mark: int) -> list[Record]:
        self._answered(mark)
        settled = self.at("settled")
        return settled + list(
            takewhile(lambda record: record.place == "answered" and record.end <= mark, self.records[len(settled) :])
        )

    def offer(self, mark: int) -> dict[int, int]:
        """A transaction up to the mark: its offsets."""
        up_to = self._up_to(mark)
        offered = list(takewhile(self._is_buried, up_to))
        if offered == up_to:  # dead and void ones that come next wait for no line
            rest = self.records[len(up_to) :] if any(record.dead for record in self.records) else []
            following = takewhile(lambda record: (record.dead or record.void) and self._is_buried(record), rest)
            for record in list(following):
                record.place = "answered"
                offered.append(record)
        self.committing = self.gone + len(offered)
        return {record.partition: record.offset + 1 for record in offered if self.owns(record)}

    def committed(self) -> list[tuple[int, int]]:
        """It is committed."""
        return self._settle(self.records[: max(0, self.committing - self.gone)])

    def note_offsets(self, start: int) -> None:
        """These are committed before they are written."""
        for record in self.records:
            if record.sequence >= start:
                self._note(record)

    def forfeit(self) -> list[tuple[int, int]]:
        """What was written or begun is done."""
        if self.begun_bytes:
            self.at("taken")[0].place = "written"
        self.begun_bytes = 0
        return self._settle(self.at("written", "answered"))

    def rewind(self, line_end: int) -> int:
        """A new run: what waits for output that will not come is written again."""
        return self._restart([record for record in self.at("answered") if record.needs > line_end])

    def rewind_marks(self, mark: int, trusted: bool) -> int:
        """Likewise by marks."""
        if trusted:
            self._answered(mark)
        if self.ack_mode == "line":
            self.last_mark = mark
        return self._restart(
            [] if trusted else [record for record in self.at("answered") if record.sequence >= self.committing]
        )

    def _restart(self, unanswered: list[Record]) -> int:
        again = [*unanswered, *self.at("written")]
        for record in again:
            record.place = "taken"
        count = len(again) + (self.begun_bytes > 0)
        self.begun_bytes = 0
        for record in self.at("taken"):
            if record.letter and record.epoch == self.epochs[record.partition]:
                continue
            if record.void or not self.owns(record) or self.states[record.partition] != "owned":
                self._void_one(record)
        return count

    # ---------------------------------------------------------------- the dead

    def _is_buried(self, record: Record) -> bool:
        return not record.dead or 0 < record.letter <= self.letters_delivered

    def first_line(self) -> Record | None:
        """The first unanswered record that has a line."""
        return next((record for record in self.at("written", "taken") if record.line), None)

    def bury(self, partition: int, offset: int) -> Record | None:
        """Put the record aside if it is the first to be written again."""
        first = self.first_line()
        if first is None or (first.partition, first.offset) != (partition, offset):
            return None
        first.dead, first.line = True, b""
        return first

    def post(self, number: int, count: int, *, transactional: bool, before: int) -> list[Record]:
        """Give the dead that were passed over their letters; in a transaction those at the head alone."""
        limit = min(before, self.cursor)
        if transactional:
            limit = min(limit, self.gone + len(list(takewhile(lambda record: record.dead, self.records))))
        posted: list[Record] = []
        for record in list(self.records):
            if record.sequence >= limit or not record.dead or record.letter:
                continue
            if record.void:
                record.dead = False
            elif len(posted) == count:
                break
            else:
                record.letter = number + len(posted)
                posted.append(record)
        return posted

    def recall_letters(self) -> None:
        """Their transaction is lost."""
        for record in self.records:
            record.letter = 0

    @property
    def dead_limit(self) -> int:
        """In a transaction: before the first dead one, behind it and its like once it is first or was passed over."""
        first = next((record.sequence for record in self.records if record.dead), self.tail)
        if first > self.gone and first >= self.cursor:
            return first
        like = list(takewhile(lambda record: record.dead, self.records[first - self.gone :]))
        return max(self.cursor, first + len(like))

    @property
    def lines_in_flight(self) -> int:
        """Records that were passed and may have had a line."""
        return sum(not record.dead for record in self.at("written", "answered", "settled")) + (self.begun_bytes > 0)

    def assert_same(self, real: Ledger) -> None:
        """Borders, offsets and memory are those of the ledger."""
        answered = self.gone + len(self.at("answered", "settled"))
        assert real.sequence == (self.gone, answered, self.cursor, self.tail)
        dead = [record for record in self.records if record.dead]
        assert real.dead == (len(dead), sum(not record.letter for record in dead))
        assert real.dead_limit == self.dead_limit
        assert real.lines_in_flight == self.lines_in_flight
        assert real.lines_written == self.lines_written
        assert real.stored() == {p: offset for p, offset in self.next_offsets.items() if self.states[p] != "lost"}
        assert real.in_flight_bytes == self.in_flight_bytes
        assert real.room == self.room
        assert real.batch(4) == self.batch(4)
        assert real.values_changed == self.values_changed
        for partition in self.epochs:
            assert real.in_flight_of(partition) == self.in_flight_of(partition), partition
