"""A Calculator that floods its STDERR, and a log that nobody reads: records, health and the end wait for neither."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.stderr_log import MAX_PIECE_BYTES
from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

LINES = 100_000
RECORDS = 200_000

FLOOD_LINES = 400_000
"""More than the queue of the log holds."""

# A thread of its own writes to STDERR, as a logger does, while records pass through.
BURST = """
import os, sys, threading
def burst():
    with os.fdopen(2, "wb", closefd=False) as err:
        err.write(b"".join(b"%d of the burst\\n" % n for n in range(int(sys.argv[1]))))
        err.write("ж".encode() * 100_000 + b"\\n")
        err.write(b"bytes \\xff\\xfe\\x00 \\r end\\n")
        err.flush()
        for piece in (b"in ", b"three ", b"pieces\\n", b"without an end"):
            err.write(piece)
            err.flush()
thread = threading.Thread(target=burst)
thread.start()
while data := os.read(0, 1 << 16):
    while data:
        data = data[os.write(1, data):]
thread.join()
"""


@pytest.fixture
def unread() -> Iterator[tuple[int, int]]:
    """A pipe that nobody reads, full before anything is written to it."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    filled = 0
    try:
        while True:
            filled += os.write(write_fd, b"x" * 4095 + b"\n")
    except BlockingIOError:
        os.set_blocking(write_fd, True)
    yield read_fd, write_fd
    for fd in (read_fd, write_fd):
        os.close(fd)


def metric(process: Supervised, name: str) -> float:
    match = re.search(rf"^{name} (\S+)$", process.http("/metrics")[1], re.MULTILINE)
    assert match
    return float(match[1])


def test_every_line_of_a_burst_is_logged_in_order_while_records_flow(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, tmp_path: Path
) -> None:
    """100,000 lines, an enormous one, one of any bytes, one in pieces, one without an end; every record once."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, (b"%d" % number for number in range(RECORDS)))
    manager.route(incoming, outgoing)
    file = tmp_path / "log"
    with file.open("wb") as log:
        process = supervisor_process(("python3", "-c", BURST, str(LINES)), log_fd=log.fileno())
        process.wait_ready()
        kafka.wait_committed(names.group, incoming, RECORDS, deadline_s=40)
        assert metric(process, "supervisor_log_lines_dropped_total") == 0
        assert process.terminate() == 0
    assert [int(frame.value) for frame in persistence(outgoing).read(RECORDS)] == list(range(RECORDS))
    events: list[dict[str, Any]] = [json.loads(line) for line in file.read_bytes().splitlines()]
    said = [event for event in events if event["event"] == "calculator stderr"]
    assert [event["line"] for event in said[:LINES]] == [f"{number} of the burst" for number in range(LINES)]
    *enormous, strange, pieces, endless = said[LINES:]
    assert "".join(event["line"] for event in enormous) == "ж" * 100_000
    assert [event.get("continues", False) for event in enormous] == [True] * (len(enormous) - 1) + [False]
    assert max(len(event["line"].encode()) for event in enormous) <= MAX_PIECE_BYTES
    assert strange["line"] == "bytes \\xff\\xfe\x00 \r end"
    assert [pieces["line"], endless["line"]] == ["in three pieces", "without an end"]
    assert events[-1]["event"] == "supervisor stopped", "the last line before the exit comes out"


def test_a_log_that_nobody_reads_holds_nothing_up(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    unread: tuple[int, int],
) -> None:
    """Start, flow, health, a change of route and what is missing in the log once somebody reads it again."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, (b"%d" % number for number in range(RECORDS)))
    manager.route(incoming, outgoing)
    read_fd, write_fd = unread
    process = supervisor_process(("python3", "-c", BURST, str(FLOOD_LINES)), log_fd=write_fd)
    process.wait_ready()
    kafka.wait_committed(names.group, incoming, RECORDS, deadline_s=40)
    end_s = time.monotonic() + 60
    while process.status()["log_lines_dropped"] < FLOOD_LINES // 2:  # the rest is in the queue
        assert time.monotonic() < end_s, "the Calculator's lines wait for the log's reader"
        time.sleep(0.05)
    manager.route(incoming, outgoing, paused=True)
    manager.wait_adopted()
    assert process.status()["checks"]["supervisor"]["status"] == "passing"
    assert process.memory_bytes() < 200 << 20

    os.set_blocking(read_fd, False)
    read = b""
    end_s = time.monotonic() + 20
    while b"log lines dropped" not in read or b"supervisor stopped" not in read:
        assert time.monotonic() < end_s, "the log does not go on when it is read again"
        try:
            read += os.read(read_fd, 1 << 20)
        except BlockingIOError:
            if process.exit_status is None and b'"paused"' in read:
                process.terminate()
            time.sleep(0.002)
    lines = [line for line in read.split(b"\n") if line.startswith(b"{")]
    events = [json.loads(line) for line in lines]
    numbers = [
        int(event["line"].split()[0])
        for event in events
        if event["event"] == "calculator stderr" and "of the burst" in event["line"]
    ]
    missing = sum(event["lines"] for event in events if event["event"].startswith("log lines dropped"))
    assert numbers == sorted(set(numbers)), "in order, none twice"
    assert missing >= FLOOD_LINES - len(numbers) > 0, "what is missing is said"
    assert len(persistence(outgoing).read(RECORDS)) == RECORDS


def test_the_end_does_not_wait_for_the_log(
    kafka: Kafka, manager: Manager, supervisor_process: Start, unread: tuple[int, int]
) -> None:
    """SIGTERM works although the pipe was full before the first line, and the exit status tells."""
    manager.route(None, None)
    process = supervisor_process(("cat",), log_fd=unread[1])
    process.wait_started()
    began_s = time.monotonic()
    assert process.terminate() == 0
    assert time.monotonic() - began_s < 2.0
