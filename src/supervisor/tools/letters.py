"""Dead letters as ``supervisor redrive`` sees them: where each came from, whether it was asked for, what is sent. Pure.

Their headers are those of Kafka Connect's dead letter queues, behind the headers that the record had before. A record's
letter says topic, partition and offset; that of a line of the Calculator the topic it could not become a record of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

Headers = Sequence[tuple[str, bytes | None]]

COUNT_HEADER: Final = "supervisor.redrives"
"""How often a record was sent back; it stays with the record, and with its next dead letter."""

TRUNCATED_CLASS: Final = "supervisor.LineTooLong"

_PREFIX: Final = "__connect.errors."
_OURS: Final = ("topic", "partition", "offset", "connector.name", "stage", "exception.class.name", "exception.message")


@dataclass(frozen=True)
class Letter:
    """A dead letter. ``partition`` and ``offset``: its place in the dead letter stream, ``origin_…``: the record's."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def origin_topic(self) -> str | None:
        """The topic it came from, or that its line was for."""
        return self._said("topic")

    @property
    def origin_partition(self) -> int | None:
        """None of a line, which came from nowhere."""
        return self._number("partition")

    @property
    def origin_offset(self) -> int | None:
        """Likewise."""
        return self._number("offset")

    @property
    def cause(self) -> str:
        """The class of what went wrong."""
        return self._said("exception.class.name") or ""

    @property
    def redrives(self) -> int:
        """How often it was sent back before."""
        found = [value for name, value in self.headers if name == COUNT_HEADER and value is not None]
        return int(found[-1]) if found and found[-1].isdigit() and len(found[-1]) < 10 else 0

    def place(self, stream: str) -> str:
        """Name its place in the stream."""
        return f"{stream}[{self.partition}]@{self.offset}"

    def why_not(self) -> str | None:
        """Say why it cannot go back whatever is there to take it; None if it can."""
        if self.cause == TRUNCATED_CLASS:
            return "truncated"
        if self.origin_topic is None:
            return "no dead letter"
        if self.origin_partition is None and not _is_dataframe(self.value):
            return "no dataframe"  # a bare line: readers of the outgoing stream could not decode it
        return None

    def sent_headers(self) -> list[tuple[str, bytes | None]]:
        """Return the headers the record had, and the count."""
        kept = [*self.headers]
        for name in (_PREFIX + name for name in _OURS):
            # The last of each: an earlier one came with the record, out of somebody else's dead letter queue.
            last = max((at for at, (met, _) in enumerate(kept) if met == name), default=None)
            if last is not None:
                del kept[last]
        kept = [header for header in kept if header[0] != COUNT_HEADER]
        return [*kept, (COUNT_HEADER, str(self.redrives + 1).encode())]

    def _said(self, name: str) -> str | None:
        found = [value for met, value in self.headers if met == _PREFIX + name and value is not None]
        return found[-1].decode("utf-8", "replace") if found else None

    def _number(self, name: str) -> int | None:
        text = self._said(name)
        return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else None


@dataclass(frozen=True)
class Span:
    """Offsets from ``first`` to ``last``, both included; None is no bound."""

    first: int | None = None
    last: int | None = None

    def holds(self, offset: int) -> bool:
        """Whether it is one of them."""
        return (self.first is None or offset >= self.first) and (self.last is None or offset <= self.last)


@dataclass(frozen=True)
class Filter:
    """Which letters were asked for; what is None is not asked. Times are Unix milliseconds."""

    partitions: frozenset[int] | None = None
    offsets: Span = field(default_factory=Span)
    cause: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    origin_topic: str | None = None
    origin_partition: int | None = None
    origin_offsets: Span | None = None

    def wants(self, letter: Letter) -> bool:
        """Whether this one was."""
        return (
            (self.partitions is None or letter.partition in self.partitions)
            and self.offsets.holds(letter.offset)
            and (self.cause is None or self.cause in (letter.cause, letter.cause.rpartition(".")[2]))
            and (self.since_ms is None or letter.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or letter.timestamp_ms < self.until_ms)
            and (self.origin_topic is None or letter.origin_topic == self.origin_topic)
            and (self.origin_partition is None or letter.origin_partition == self.origin_partition)
            and (self.origin_offsets is None or _held(self.origin_offsets, letter.origin_offset))
        )


def places(positions: Mapping[int, int]) -> str:
    """Write offsets by partition as ``--from`` reads them."""
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(positions.items()))


def _held(span: Span, offset: int | None) -> bool:
    return offset is not None and span.holds(offset)


def _is_dataframe(value: bytes | None) -> bool:
    try:
        frame = json.loads(value or b"")
    except (ValueError, RecursionError):
        return False
    return (
        isinstance(frame, dict)
        and isinstance(frame.get("wsp"), str)
        and type(frame.get("ts")) is int
        and ("raw" in frame or "parsed" in frame)
    )
