"""A compressed batch that cannot be unpacked: its place is named, the other partitions flow, the remedies work."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from tests.conftest import Names
from tests.services.peers import Manager
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]

LENGTHS: Final = python("import sys\nfor line in sys.stdin.buffer: print(len(line))")

RECORDS: Final = 60
RECORD_BYTES: Final = 1_000_000
NOISE_BYTES: Final = 400
"""Of each record. zstd packs the whole to some 30 kB, and librdkafka guesses twice that and then three times as much
each time: 45 MB are too small for 60 MB, and 135 MB more than it may."""


def test_a_batch_too_large_unpacked_is_named_and_the_other_partitions_flow(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """60 MB by zstd; a larger receive.message.max.bytes reads them, and a group's offset behind them goes on."""
    incoming = kafka.create_topic(names.topic("in"), 2, max_message_bytes="2000000")
    outgoing = kafka.create_topic(names.topic("out"))
    noise = random.Random(1)
    values = [noise.randbytes(NOISE_BYTES).replace(b"\n", b" ") + bytes(RECORD_BYTES) for _ in range(RECORDS)]
    kafka.produce(incoming, [b"before", b"before"], partition=1)
    kafka.produce(
        incoming, values, partition=1, compression_type="zstd", linger_ms=3000, batch_size=100_000_000,
        message_max_bytes=100_000_000, queue_buffering_max_kbytes=200_000,
    )  # fmt: skip
    assert len(values) + 2 == kafka.end_offsets(incoming)[1]
    kafka.produce(incoming, [b"other"] * 100, partition=0)
    manager.route(incoming, outgoing)
    process = supervisor_process(LENGTHS)
    said = process.wait_log("a batch cannot be read, nor what is behind it in its partition", partition=1, offset=2)
    assert "receive.message.max.bytes" in said["remedy"]
    assert kafka.wait_committed(names.group, incoming, 102) == {0: 100, 1: 2}
    kafka.produce(incoming, [b"other"] * 100, partition=0)
    assert kafka.wait_committed(names.group, incoming, 202) == {0: 200, 1: 2}
    check = process.status()["checks"]["supervisor"]
    assert check["status"] == "critical"
    assert f"artition 1 of incoming stream '{incoming}' cannot be read from offset 2 on" in check["output"]
    assert "receive.message.max.bytes=1000000000" in check["output"]
    assert process.terminate() == 0
    # The first remedy.
    process = supervisor_process(LENGTHS, env={"KAFKA_OPTIONS": "receive.message.max.bytes=1000000000"})
    assert kafka.wait_committed(names.group, incoming, 262, deadline_s=40) == {0: 200, 1: 62}
    assert process.status()["checks"]["supervisor"]["status"] == "passing"
    assert process.terminate() == 0
    # The other one, in a group that has no member.
    another = f"{names.group}-another"
    kafka.commit(another, incoming, {0: 0, 1: 62})
    kafka.produce(incoming, [b"behind"], partition=1)
    process = supervisor_process(LENGTHS, group=another)
    assert kafka.wait_committed(another, incoming, 263) == {0: 200, 1: 63}
    assert process.terminate() == 0
