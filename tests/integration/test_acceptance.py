"""The acceptance test: the platform's manager and persistence service around a Supervisor, on real parts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

RECORDS = 100_000

_KINDS = (
    lambda r: b"plain text of some length " * r.randrange(1, 6),
    lambda r: b'"quotes" and \\backslashes\\ ' * r.randrange(1, 4),
    lambda r: bytes(r.choices([*range(10), *range(11, 32), 127], k=r.randrange(1, 40))),
    lambda r: "Съешь же ещё этих мягких французских булок ".encode() * r.randrange(1, 4),
    lambda r: "😀🚀 emoji 🎉".encode() * r.randrange(1, 4),
    lambda r: bytes(r.choices([*range(10), *range(11, 256)], k=r.randrange(1, 60))),  # mostly broken UTF-8
    lambda _: b"",
    lambda r: b'{"id": %d, "values": [1.5, null, true, "x"]}' % r.randrange(10**6),
    lambda _: b"carriage return\r",
)


def _values(count: int) -> list[bytes]:
    """Values of all kinds, each but the empty ones with a number of its own in front; three of them are 900 kB."""
    chance = random.Random(20260101)
    values = []
    for number in range(count):
        tail = _KINDS[number % len(_KINDS)](chance)
        values.append(b"%d " % number + tail if tail else b"")
    for number in (count // 4, count // 2, count - 1):
        values[number] = b"%d " % number + b"long " * 179_990
    return values


def test_the_platform_is_served(
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Callable[[str], Persistence],
    supervisor_process: Callable[..., Supervised],
) -> None:
    """100,000 records of all kinds, three partitions in, two out: every one comes out once, readable, in order."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"), 2)
    values = _values(RECORDS)
    process = supervisor_process(("cat",))
    manager.route(incoming, outgoing)
    kafka.produce(incoming, values)
    manager.wait_adopted()
    process.wait_ready()
    frames = persistence(outgoing).read(RECORDS, deadline_s=60)

    # One line for one value; bytes that are no UTF-8 arrive as the persistence service would read them.
    expected = Counter(value.decode("utf-8", "replace") for value in values)
    assert Counter(frame.value for frame in frames) == expected
    assert {frame.wsp for frame in frames} == {names.node_id}
    assert all(abs(frame.ts - frame.record.timestamp_ms) < 60_000 for frame in frames)

    kafka.wait_committed(names.group, incoming, RECORDS)
    assert process.terminate() == 0
    assert sum(kafka.committed(names.group, incoming).values()) == RECORDS
