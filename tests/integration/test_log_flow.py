"""Records keep their pace while a Calculator's burst on STDERR is logged."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Producer

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.processes import until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

LINES = 100_000
LAST = b"%d of the burst" % (LINES - 1)
LATE_S = 2.0

# A thread of its own writes to STDERR, as a logger does, when the word comes.
BURST = """
import os, sys, threading
def burst():
    with os.fdopen(2, "wb", closefd=False) as err:
        err.write(b"".join(b"%d of the burst\\n" % n for n in range(int(sys.argv[1]))))
thread = threading.Thread(target=burst)
for line in sys.stdin:
    if line == "burst\\n":
        thread.start()
    print(line, end="", flush=True)
"""


def test_records_keep_their_pace_while_a_burst_is_logged(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, tmp_path: Path
) -> None:
    """From the topic to the Calculator and back, each takes no longer than it does without 100,000 lines beside it."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    file = tmp_path / "log"
    over = threading.Event()
    sent = 0

    def feed() -> None:
        nonlocal sent
        producer = Producer({"bootstrap.servers": kafka.bootstrap, "linger.ms": 0})
        while not over.wait(0.01):
            producer.produce(incoming, b"%d" % time.time_ns())
            producer.poll(0)
            sent += 1
        assert producer.flush(30) == 0

    with file.open("wb") as log:
        process = supervisor_process(("python3", "-c", BURST, str(LINES)), log_fd=log.fileno())
        process.wait_ready()
        feeder = threading.Thread(target=feed)
        feeder.start()
        try:
            process.wait_counter("outlet", "lines_delivered", 10)
            began_ms = time.time_ns() // 1_000_000
            kafka.produce(incoming, [b"burst"])
            until(lambda: LAST in file.read_bytes()[-200_000:], "the burst is logged", 60.0)
            ended_ms = time.time_ns() // 1_000_000
        finally:
            over.set()
            feeder.join()
        kafka.wait_committed(names.group, incoming, sent + 1)
        assert process.terminate() == 0
    frames = [frame for frame in persistence(outgoing).read(sent + 1) if frame.value != "burst"]
    assert len(frames) == sent
    meanwhile = [frame for frame in frames if began_ms <= frame.ts <= ended_ms]
    assert len(meanwhile) > 10, "records came out while the lines were logged"
    late_ms = [frame.ts - int(frame.value) // 1_000_000 for frame in meanwhile]
    assert max(late_ms) < LATE_S * 1000
    logged = [line for line in file.read_bytes().splitlines() if b"of the burst" in line]
    assert len(logged) == LINES
