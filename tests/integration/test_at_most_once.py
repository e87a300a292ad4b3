"""PROCESSING_GUARANTEE=at-most-once on a real broker: committed before it is written, never written twice."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.broker import Cluster
from tests.services.peers import Manager, Persistence
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]
AT_MOST_ONCE = {"PROCESSING_GUARANTEE": "at-most-once", "RESTART_BACKOFF_MAX": "200ms"}


@pytest.mark.parametrize("ack_mode", ["demand", "line"])
def test_without_a_crash_every_record_comes_out_once(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, ack_mode: str
) -> None:
    """A stop in order and a start again in the middle lose nothing either."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"), 2)
    values = [None if number % 100 == 0 else b"%d" % number for number in range(100_000)]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    first = supervisor_process(("cat",), env=AT_MOST_ONCE | {"ACK_MODE": ack_mode})
    first.wait_status(lambda status: status["inlet"].get("lines_written", 0) > 1000, "records flow")
    assert first.terminate() == 0
    second = supervisor_process(("cat",), env=AT_MOST_ONCE | {"ACK_MODE": ack_mode})
    expected = {int(value) for value in values if value is not None}
    seen = Counter(int(frame.value) for frame in persistence(outgoing).read(len(expected)))
    assert set(seen) == expected
    assert max(seen.values()) == 1
    kafka.wait_committed(names.group, incoming, len(values))
    assert second.status()["inlet"]["replayed"] == 0


def test_what_was_written_is_committed_and_never_written_again(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """A Calculator that dies with records in its hands: they are lost, the next run goes on behind them."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys\n"
        f"marker = '/tmp/{names.node_id}'\n"
        "if not os.path.exists(marker):\n"
        "    open(marker, 'w').close(); line = sys.stdin.readline(); os._exit(1)\n"
        "for line in sys.stdin: print(line, end='', flush=True)"
    )
    kafka.produce(incoming, [b"lost"])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(program), env=AT_MOST_ONCE)
    process.wait_log("calculator ended", status="exit status 1")
    assert kafka.wait_committed(names.group, incoming, 1) == {0: 1}
    kafka.produce(incoming, [b"kept"])
    assert [frame.value for frame in persistence(outgoing).read(1)] == ["kept"]


def test_partitions_that_move_in_order_lose_nothing(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """In full flow a commit is always under way: what it covers stays with who made it, or is left if it fails."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 8), kafka.create_topic(names.topic("out"), 2)
    manager.route(incoming, outgoing)
    first = supervisor_process(("cat",), env=AT_MOST_ONCE)
    first.wait_ready()
    enough, sent = threading.Event(), 0

    def feed() -> None:
        nonlocal sent
        while not enough.is_set():
            kafka.produce(incoming, (b"%d" % number for number in range(sent, sent + 500)))
            sent += 500

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    for _ in range(4):
        second = supervisor_process(("cat",), env=AT_MOST_ONCE)
        kafka.wait_shares(names.group, 4, 4)
        second.wait_counter("inlet", "acknowledged", 100)
        assert second.terminate() == 0
        kafka.wait_shares(names.group, 8)
    enough.set()
    feeder.join()
    kafka.wait_committed(names.group, incoming, sent, deadline_s=60)
    assert first.terminate() == 0
    seen = Counter(int(frame.value) for frame in persistence(outgoing).read())
    missing = set(range(sent)) - set(seen)
    assert not missing, f"{len(missing)} of {sent} records are committed and were not written"
    assert max(seen.values()) == 1


def test_kills_of_the_supervisor_double_nothing(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """SIGKILL of Supervisor and Calculator in full flow: records in flight are gone, none comes out twice."""
    records = 60_000
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"), 2)
    manager.route(incoming, outgoing)
    env = AT_MOST_ONCE | {"KAFKA_OPTIONS": "session.timeout.ms=6000"}
    process = supervisor_process(("cat",), env=env)
    process.wait_ready()
    for share in range(3):
        first = share * records // 3
        kafka.produce(incoming, (b"%d" % n for n in range(first, first + records // 3)))
        if share == 0:
            process.wait_status(lambda status: status["inlet"].get("lines_written", 0) > 100, "records flow")
            os.kill(process.status()["calculator_pid"], signal.SIGKILL)
        if share == 1:
            process.kill()
            process = supervisor_process(("cat",), env=env)
    kafka.wait_committed(names.group, incoming, records, deadline_s=40)
    assert process.terminate() == 0
    seen = Counter(int(frame.value) for frame in persistence(outgoing).read(1))
    assert max(seen.values()) == 1
    assert len(seen) > records // 2, "what was not in flight came out"


def test_a_broker_that_dies_doubles_no_line(names: Names, manager: Manager, supervisor_process: Start) -> None:
    """A line under way may have arrived: it is lost rather than sent again, and that is said."""
    records = 100_000
    with Cluster() as cluster:
        kafka = Kafka(cluster.bootstrap)
        incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
        kafka.produce(incoming, (b"%d" % number for number in range(records)))
        manager.route(incoming, outgoing)
        slowly = (
            "import sys, time\n"
            "for number, line in enumerate(sys.stdin):\n"
            "    print(line, end='')\n"
            "    number % 500 or time.sleep(0.01)"
        )
        process = supervisor_process(("python3", "-u", "-c", slowly), env=AT_MOST_ONCE, kafka=kafka)
        for part in range(1, 3):
            process.wait_counter("outlet", "lines_delivered", 20_000 * part, deadline_s=40)
            cluster.kill()
            cluster.restart()
        kafka.wait_committed(names.group, incoming, records, deadline_s=60)
        process.wait_status(lambda status: status["outlet"]["undelivered"] == 0, "everything is delivered or lost")
        counters = process.status()["outlet"]
        assert counters["lines_delivered"] + counters["lines_lost"] <= records
        assert counters["lines_lost"] < records // 2
        seen = Counter(int(frame.value) for frame in Persistence(kafka, outgoing).read(counters["lines_delivered"]))
        assert max(seen.values()) == 1
        assert process.terminate() == 0
