"""STDIN to the incoming topic and the outgoing topic to STDOUT, a thread each, never ahead of the embedded cluster.

The cluster keeps 5 MiB a partition and forgets older records without a word. So STDIN is read only as fast as the inlet
takes records. On the other side it is the broker that is slowed down: it leads the outgoing topic alone, and answers
the producer's next request late, or not at all for as long as STDOUT takes nothing. That is what a slow Kafka looks
like, and everything upstream waits for it as it would there. Records are read from another broker, and never wait.
"""

from __future__ import annotations

import json
import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from supervisor.kafka import MockCluster
from supervisor.tools.local import write_all

INCOMING: Final = "stdin"
OUTGOING: Final = "stdout"
DEAD_LETTERS: Final = "dead-letters"
GROUP: Final = "pipe"

MAX_LINE_BYTES: Final = 64 << 20
"""Longest line of STDIN."""

AHEAD_BYTES: Final = 2 << 20
"""Most that is in the incoming topic and not taken from it; a longer line is there alone."""

UNREAD_BYTES: Final = 1 << 20
"""Most that is in the outgoing topic or behind it and not on STDOUT, before the broker does not answer any more."""

REQUEST_BYTES: Final = 128 << 10
_OPEN_MS: Final = 10
"""One request of REQUEST_BYTES in so many ms is the most that can come: 13 MB/s, 0.3 s until 4 MiB are there unread."""

_SHUT_MS: Final = 3_600_000
_LET_ONE_THROUGH_S: Final = 60.0  # or librdkafka would give the request up, and send it again
_RECORD_BYTES: Final = 80  # what a record takes beside its value, at most
_READ_BYTES: Final = 1 << 18


def cluster(dead_letters: str | None) -> MockCluster:
    """Return brokers for one `Feeder` and one `Printer`."""
    made = MockCluster(INCOMING, OUTGOING, *([dead_letters] if dead_letters else []), partitions=1, brokers=2)
    made.coordinate(GROUP, 1)
    made.lead(OUTGOING, 2, read_from=1)
    return made


class Feeder:
    """STDIN to the incoming topic. ``taken`` tells how many records and bytes of values the inlet took."""

    def __init__(self, made: MockCluster, taken: Callable[[], tuple[int, int]]) -> None:
        self.records = 0
        self.error: str | None = None
        self.over = False
        """All of STDIN is in the topic."""
        self._bytes = 0
        self._taken = taken
        self._producer = made.producer(message_max_bytes=MAX_LINE_BYTES + 1024)
        self._thread = threading.Thread(target=self._run, name="stdin", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            for line in self._lines():
                self._send(line)
            while self._producer.flush(10):
                pass
            self.over = True
        except ValueError as error:
            self.error = str(error)
        except OSError as error:
            self.error = f"STDIN cannot be read: {error.strerror or error}"

    def _lines(self) -> Any:
        rest = bytearray()
        while True:
            data = os.read(0, _READ_BYTES)
            *lines, last = data.split(b"\n")
            if lines:
                yield bytes(rest + lines[0])
                yield from lines[1:]
                rest.clear()
            rest += last
            if len(rest) > MAX_LINE_BYTES:
                raise ValueError(f"line {self.records + 1} of STDIN is longer than {MAX_LINE_BYTES >> 20} MiB")
            if not data:
                break
        if rest:
            yield bytes(rest)

    def _send(self, line: bytes) -> None:
        size = len(line) + _RECORD_BYTES
        while self._ahead_bytes() and self._ahead_bytes() + size > AHEAD_BYTES:
            self._producer.poll(0.001)
        self._producer.produce(INCOMING, line, partition=0)
        self.records += 1
        self._bytes += size

    def _ahead_bytes(self) -> int:
        records, taken_bytes = self._taken()
        return self._bytes - taken_bytes - records * _RECORD_BYTES


class Printer:
    """The outgoing topic to STDOUT. ``delivered`` tells how many records are there and how many bytes one has."""

    def __init__(
        self, made: MockCluster, dead_letters: str | None, delivered: Callable[[], tuple[int, float]], *, raw: bool
    ) -> None:
        self.records = 0
        self.dead: list[str] = []
        """What became a dead letter, and why; the first of them."""
        self.dead_count = 0
        self.error: str | None = None
        self.reader_gone = False
        """Whoever read STDOUT has enough."""
        self._made = made
        self._delivered = delivered
        self._raw = raw
        self._stop = threading.Event()
        self._reader = made.reader(
            OUTGOING,
            *([dead_letters] if dead_letters else []),
            fetch_wait_max_ms=5,
            fetch_queue_backoff_ms=1,
            queued_max_messages_kbytes=1 << 20,
            socket_timeout_ms=300_000,
        )
        self._starved = False
        self._threads = [
            threading.Thread(target=body, name=name, daemon=True)
            for body, name in ((self._print, "stdout"), (self._slow_down, "back-pressure"))
        ]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Print no more."""
        self._stop.set()

    @property
    def behind(self) -> bool:
        """Whether there are records that STDOUT has not taken yet."""
        return self._delivered()[0] > self.records

    def look(self) -> None:
        """See whether whoever reads STDOUT is gone: nothing may be left to print that would show it."""
        poll = select.poll()
        poll.register(1, 0)
        if any(events & select.POLLERR for _, events in poll.poll(0)):
            self.reader_gone = True

    def _print(self) -> None:
        try:
            while not self._stop.is_set():
                records = self._reader.consume(5000, 0.1)
                self._starved = not records
                lines = [line for record in records if (line := self._line(record)) is not None]
                if lines:
                    write_all(1, b"".join(lines))
                    self.records += len(lines)
        except BrokenPipeError:
            self.reader_gone = True
        except OSError as error:
            self.error = f"STDOUT cannot be written: {error.strerror or error}"
        except ValueError as error:
            self.error = str(error)

    def _line(self, record: Any) -> bytes | None:
        if record.error() is not None:
            if not record.error().retriable():
                raise ValueError(
                    f"the embedded cluster has lost records before they were printed: {record.error().str()}"
                )
            return None
        if record.topic() != OUTGOING:
            self._note_dead(dict(record.headers() or []), record.value())
            return None
        value: bytes = record.value()
        return (raw_line(value) if self._raw else value) + b"\n"

    def _note_dead(self, headers: Mapping[str, bytes], value: bytes) -> None:
        self.dead_count += 1
        if len(self.dead) < 10:
            why = headers.get("__connect.errors.exception.message", b"").decode()
            at = headers.get("__connect.errors.offset")
            where = "a line of STDOUT" if at is None else f"line {int(at) + 1} of STDIN"
            self.dead.append(f"{where}: {why}: {value[:100]!r}")

    def _slow_down(self) -> None:
        """Let the broker of the outgoing topic answer, or not."""
        shut_since_s: float | None = None
        while not self._stop.wait(0.005):
            count, mean_bytes = self._delivered()
            shut = (count - self.records) * mean_bytes > UNREAD_BYTES and not self._starved
            now_s = time.monotonic()
            if not shut or shut_since_s is None or now_s - shut_since_s > _LET_ONE_THROUGH_S:
                # Each time: the mock cluster looks at an answer that was to be late again when it is told to alone.
                self._made.answer_after(2, _OPEN_MS)
                shut_since_s = None
            if shut and shut_since_s is None:
                self._made.answer_after(2, _SHUT_MS)
                shut_since_s = now_s


def raw_line(dataframe: bytes) -> bytes:
    """Return the line that a dataframe of this workspace carries."""
    at = dataframe.index(b',"', len('{"wsp":"pipe","ts":'))  # behind the time
    if dataframe.startswith(b',"parsed":', at):
        return dataframe[at + 10 : -1]
    line: str = json.loads(dataframe)["raw"]
    return line.encode()
