"""What the process holds under the worst that records can be, on a real broker: within the README's sum."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from bench.measure import peaks_bytes
from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

MIB = 1 << 20
PROCESS = 60 * MIB  # 55 with another Python or libc
IN_FLIGHT = 64 * MIB
RECORD = 512
PREFETCHED = 10_000
FETCH_OF_TINY_RECORDS = 45 * MIB
OUTGOING = 56 * MIB  # envelopes, and librdkafka's messages of them
SILENT = ("sed", "-n", "d")
"""A Calculator that reads everything, prints nothing, and answers no marker: all that may be in flight stays there."""


def peak_bytes(process: Supervised) -> int:
    """The Supervisor's own."""
    return peaks_bytes([process.pid])[process.pid]


def wait_full(process: Supervised, records: int, bytes_: int) -> None:
    """Wait until so many records are in flight, or so many bytes."""
    process.wait_status(
        lambda status: bool(
            status["inlet"].get("in_flight_records", 0) >= records
            or status["inlet"].get("in_flight_bytes", 0) >= bytes_
        ),
        f"{records} records or {bytes_} bytes in flight",
        60,
    )


def test_tiny_records_in_compressed_batches(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Each record that is fetched ahead takes some 350 bytes, and of zstd two are enough for it."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, (b"x" for _ in range(1_000_000)), compression_type="zstd", batch_num_messages=10_000)
    manager.route(incoming, outgoing)
    process = supervisor_process(SILENT, env={"ACK_MODE": "marker"})
    wait_full(process, 100_000, IN_FLIGHT)
    assert peak_bytes(process) < PROCESS + IN_FLIGHT + PREFETCHED * RECORD + FETCH_OF_TINY_RECORDS


@pytest.mark.parametrize("key_bytes", [0, 1000], ids=["headers", "headers and a key"])
def test_headers_and_keys_of_records(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, *, key_bytes: int
) -> None:
    """They are in no value, and librdkafka holds them all the same: they count as values do."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    count, header_bytes = 60_000, 4 * 1500
    headers = [(f"header-{number}", os.urandom(1500)) for number in range(4)]
    keys = [os.urandom(8) + b"k" * (key_bytes - 8) for _ in range(count)] if key_bytes else ()
    kafka.produce(incoming, (b"x" for _ in range(count)), headers=headers, keys=keys)
    manager.route(incoming, outgoing)
    process = supervisor_process(SILENT, env={"ACK_MODE": "line", "PROPAGATE_KEY": "true", "ACK_IDLE": "1h"})
    wait_full(process, count, IN_FLIGHT)
    inlet = process.status()["inlet"]
    record = 1 + header_bytes + 4 * (len("header-0") + 4) + 2 * key_bytes + RECORD
    assert inlet["in_flight_bytes"] == inlet["in_flight_records"] * record
    assert IN_FLIGHT <= inlet["in_flight_bytes"] < IN_FLIGHT + 2 * record
    assert peak_bytes(process) < PROCESS + IN_FLIGHT + PREFETCHED * (RECORD + header_bytes + key_bytes)


def test_keys_of_lines_that_came_are_given_back(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """However many have passed: what is held is what is in flight."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    count, tail = 50_000, b"k" * 5000
    kafka.produce(incoming, (b"%d" % n for n in range(count)), keys=[b"%d " % n + tail for n in range(count)])
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env={"ACK_MODE": "line", "PROPAGATE_KEY": "true"})
    kafka.wait_committed(names.group, incoming, count, 60)
    assert process.status()["outlet"]["key_bytes"] < 200_000
    assert peak_bytes(process) < PROCESS + IN_FLIGHT + PREFETCHED * (RECORD + len(tail)) + OUTGOING
    found = persistence(outgoing).read(count)
    assert [frame.record.key for frame in found] == [frame.value.encode() + b" " + tail for frame in found]
    assert len({frame.value for frame in found}) == count


@pytest.mark.parametrize("dead_takes", [True, False], ids=["dead letters", "refused dead letters"])
@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_line_that_is_too_large_with_its_key(
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    *,
    guarantee: str,
    dead_takes: bool,
) -> None:
    """It goes to the dead letter stream, where it fits without its key; if it does not fit, it is dropped and said."""
    incoming = kafka.create_topic(names.topic("in"), max_message_bytes="3000000")
    outgoing = kafka.create_topic(names.topic("out"))
    dead = kafka.create_topic(names.topic("dead"), max_message_bytes="1000000" if dead_takes else "100000")
    large = [n % 25 == 7 for n in range(100)]
    values = [b"%d " % n + b"v" * 200_000 if large[n] else b"%d " % n for n in range(100)]
    kafka.produce(incoming, values, keys=[b"k" * 900_000 if is_large else b"k" for is_large in large])
    manager.route(incoming, outgoing)
    env = {
        "ACK_MODE": "line",
        "PROPAGATE_KEY": "true",
        "PROCESSING_GUARANTEE": guarantee,
        "DEAD_LETTER_STREAM": dead,
        "RESTART_BACKOFF_MAX": "100ms",
    }
    process = supervisor_process(("cat",), env=env)
    kafka.wait_committed(names.group, incoming, 100, 60)
    found = [int(frame.value) for frame in persistence(outgoing).read(96)]
    assert found == [n for n in range(100) if not large[n]]
    letters = [frame.value for frame in persistence(dead).read()]
    assert letters == [value.decode() for value in values if len(value) > 1000 and dead_takes]
    if not dead_takes:
        process.wait_log("line dropped: the broker does not take it")
    assert process.terminate() == 0
