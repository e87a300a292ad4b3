"""PROPAGATE_KEY with ACK_MODE=line: a record's key becomes the key of its line's record, and its partition follows."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

KEYED = {"ACK_MODE": "line", "PROPAGATE_KEY": "true", "RESTART_BACKOFF_MAX": "100ms"}
MODES = [KEYED, KEYED | {"PROCESSING_GUARANTEE": "exactly-once"}]


@pytest.mark.parametrize("mode", MODES, ids=["at-least-once", "exactly-once"])
def test_keys_survive_the_calculator_and_its_crashes(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, mode: dict[str, str]
) -> None:
    """Every answer has its record's key and lies where Java's clients would put it; keys of all kinds, and none."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 4), kafka.create_topic(names.topic("out"), 4)
    count = 30_000
    keys = [None if n % 11 == 0 else b"" if n % 13 == 0 else b"\x00\xff" * (n % 300) + b"%d" % n for n in range(count)]
    values = [None if n % 17 == 0 else b"%d" % n for n in range(count)]
    kafka.produce(incoming, values, keys=keys)
    manager.route(incoming, outgoing)
    slow = ("python3", "-u", "-c", "import sys, time\nfor line in sys.stdin: print(line, end=''); time.sleep(0.0001)")
    process = supervisor_process(slow, env=mode)
    for lines in (3_000, 9_000, 15_000):
        process.wait_counter("outlet", "lines_delivered", lines, 60)
        os.kill(process.status()["calculator_pid"], signal.SIGKILL)
    answered = [n for n in range(count) if values[n] is not None]
    kafka.wait_committed(names.group, incoming, count, 60)
    found = persistence(outgoing).read(len(answered))
    homes = {record.key: record.partition for record in kafka.read(incoming) if record.key}
    for frame in found:
        key = keys[int(frame.value)]
        assert frame.record.key == key, f"the answer to record {frame.value} has another record's key"
        if key:
            assert frame.record.partition == homes[key], "as many partitions, so the same one"
    assert {int(frame.value) for frame in found} == set(answered)
    if "PROCESSING_GUARANTEE" in mode:
        assert len(found) == len(answered)
    assert process.terminate() == 0


def test_keys_are_right_behind_a_change_of_the_incoming_topic(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """The Calculator goes on, and so does the count of its lines; what is read now is another topic."""
    first, second, outgoing = (kafka.create_topic(names.topic(role)) for role in ("in1", "in2", "out"))
    for topic in (first, second):
        kafka.produce(topic, [b"%s %d" % (topic[-1:].encode(), n) for n in range(500)],
                      keys=[b"%s %d" % (topic[-1:].encode(), n) for n in range(500)])  # fmt: skip
    manager.route(first, outgoing)
    process = supervisor_process(("cat",), env=KEYED)
    kafka.wait_committed(names.group, first, 500)
    manager.route(second, outgoing)
    kafka.wait_committed(names.group, second, 500)
    found = persistence(outgoing).read(1000)
    assert len(found) == 1000
    assert [frame.record.key for frame in found] == [frame.value.encode() for frame in found]
    assert process.status()["restarts"] == 0


def test_keys_are_right_behind_many_records_without_a_line(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """They cost nothing to write, so what is written at once may lie far apart."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    values = [b"%d" % n if n % 1500 == 0 else None for n in range(30_000)]
    kafka.produce(incoming, values, keys=[b"%d" % n for n in range(len(values))])
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=KEYED | {"PROCESSING_GUARANTEE": "at-most-once"})
    found = persistence(outgoing).read(20)
    assert [frame.record.key for frame in found] == [frame.value.encode() for frame in found]
    assert process.terminate() == 0
