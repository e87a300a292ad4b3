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
Place = Literal["taken", "written", "answered"]


def line_of(value: bytes | None, input_newlines: str) -> bytes:
    """What is written to STDIN for a value."""
    if value is None:
        return b""
    body = value.removesuffix(b"\n")
    return (body.replace(b"\n", b" ") if input_newlines == "space" else body) + b"\n"


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
    records: list[Record] = field(default_factory=list)
    gone: int = 0
    begun_bytes: int = 0
    position: int = 0
    last_mark: int = 0
    committing: int = 0
    epochs: dict[int, int] = field(default_factory=dict)
    states: dict[int, str] = field(default_factory=dict)
    next_offsets: dict[int, int] = field(default_factory=dict)

    def at(self, *places: Place) -> list[Record]:
        """The records that are there, in order."""
        return [record for record in self.records if record.place in places]

    @property
    def cursor(self) -> int:
        """Sequence number of the first record that is not written whole."""
        return self.gone + len(self.at("written", "answered"))

    @property
    def room(self) -> int:
        """How many more records may be taken."""
        return 0 if self.in_flight_bytes >= self.max_bytes else self.max_records - len(self.records)

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

    def drain(self, partition: int, start: int = 0) -> None:
        """What is not written will not be."""
        if self.states.get(partition) == "owned":
            self.states[partition] = "draining"
            self._void(partition, start)

    def revoke(self, partition: int, start: int = 0) -> None:
        """The epoch is over."""
        self._void(partition, start)
        self.states[partition] = "lost"
        self.epochs[partition] = self.epochs.get(partition, 0) + 1
        self.next_offsets.pop(partition, None)

    def _void(self, partition: int, start: int) -> None:
        for record in self.at("taken"):
            if record.partition == partition and record.sequence >= start:
                self._void_one(record)

    def _void_one(self, record: Record) -> None:
        record.void = True
        if not (self.begun_bytes and record.sequence == self.cursor):
            record.line = b""

    def append(self, partition: int, offset: int, value: bytes | None) -> Record:
        """Take a record."""
        record = Record(
            sequence=self.gone + len(self.records),
            partition=partition,
            offset=offset,
            epoch=self.epochs[partition],
            line=line_of(value, self.input_newlines),
            cost_bytes=len(value or b"") + OVERHEAD_BYTES,
        )
        self.records.append(record)
        if self.states[partition] != "owned":
            self._void_one(record)
        return record

    def write(self, limit: int, before: int) -> tuple[bytes, list[Record]]:
        """So many bytes of the records before a sequence number; and the records that are whole now."""
        waiting = self.at("taken")
        stream = b"".join(record.line for record in waiting if record.sequence < before)[self.begun_bytes :][:limit]
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

    def _pop(self, records: list[Record]) -> list[tuple[int, int]]:
        for record in records:
            self._note(record)
            self.records.remove(record)
        self.gone += len(records)
        return [(record.partition, record.offset) for record in records]

    def _note(self, record: Record) -> None:
        if self.owns(record) and record.offset >= self.next_offsets.get(record.partition, -1):
            self.next_offsets[record.partition] = record.offset + 1

    def deliver(self, position: int) -> list[tuple[int, int]]:
        """STDOUT is delivered up to there."""
        return self._pop([record for record in self.at("answered") if record.needs <= position])

    def deliver_mark(self, mark: int) -> list[tuple[int, int]]:
        """Likewise by marks."""
        return self._pop(self._up_to(mark))

    def _up_to(self, mark: int) -> list[Record]:
        self._answered(mark)
        return list(takewhile(lambda record: record.place == "answered" and record.end <= mark, self.records))

    def offer(self, mark: int) -> dict[int, int]:
        """A transaction up to the mark: its offsets."""
        offered = self._up_to(mark)
        self.committing = self.gone + len(offered)
        return {record.partition: record.offset + 1 for record in offered if self.owns(record)}

    def committed(self) -> list[tuple[int, int]]:
        """It is committed."""
        return self._pop(self.records[: max(0, self.committing - self.gone)])

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
        return self._pop(self.at("written", "answered"))

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
            if record.void or not self.owns(record) or self.states[record.partition] != "owned":
                self._void_one(record)
        return count

    def assert_same(self, real: Ledger) -> None:
        """Borders, offsets and memory are those of the ledger."""
        answered = self.gone + len(self.at("answered"))
        assert real.sequence == (self.gone, answered, self.cursor, self.gone + len(self.records))
        assert real.stored() == {p: offset for p, offset in self.next_offsets.items() if self.states[p] != "lost"}
        assert real.in_flight_bytes == self.in_flight_bytes
        assert real.room == self.room
        for partition in self.epochs:
            assert real.in_flight_of(partition) == self.in_flight_of(partition), partition
