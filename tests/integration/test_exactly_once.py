"""PROCESSING_GUARANTEE=exactly-once on a real broker, as those see it who read committed records only."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.broker import Cluster
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

MODES = {
    "line": {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line", "RESTART_BACKOFF_MAX": "200ms"},
    "marker": {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "marker", "RESTART_BACKOFF_MAX": "200ms"},
}
# Two lines for one, and each marker line as it is.
FAN_OUT = r"/^\x1eBDZ-ACK /b;s/.*/&a\n&b/"
PROGRAMS = {"line": ("sed", "-u", "s/$/a/"), "marker": ("sed", "-u", FAN_OUT)}
SLOWLY = {
    mode: (
        "python3",
        "-u",
        "-c",
        (
            "import sys, time\n"
            "for number, line in enumerate(line.rstrip('\\n') for line in sys.stdin):\n"
            "    if line.startswith('\\x1e'): print(line)\n"
            f"    else: {answer}\n"
            "    number % 300 or time.sleep(0.01)"
        ),
    )
    for mode, answer in {"line": "print(line + 'a')", "marker": "print(line + 'a'); print(line + 'b')"}.items()
}


def expected(mode: str, records: int) -> list[str]:
    """Return the lines that so many numbered records become."""
    return [f"{number}{half}" for number in range(records) for half in ("a" if mode == "line" else "ab")]


@pytest.mark.parametrize("mode", MODES)
def test_records_and_offsets_are_committed_together(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: str
) -> None:
    """Several partitions, tombstones, and a quiet end."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"), 2)
    kafka.produce(incoming, [None if number % 5 == 0 else b"%d" % number for number in range(50_000)])
    manager.route(incoming, outgoing)
    process = supervisor_process(PROGRAMS[mode], env=MODES[mode])
    kafka.wait_committed(names.group, incoming, 50_000, deadline_s=30)
    lines = [line for line in expected(mode, 50_000) if int(line[:-1]) % 5]
    assert sorted(frame.value for frame in persistence(outgoing).read(len(lines))) == sorted(lines)
    kafka.produce(incoming, [None, None])
    kafka.wait_committed(names.group, incoming, 50_002)
    status = process.status()
    assert status["inlet"]["in_flight_records"] == status["outlet"]["transactions_aborted"] == 0
    assert process.terminate() == 0


@pytest.mark.parametrize("mode", MODES)
def test_killing_the_calculator_doubles_nothing(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: str
) -> None:
    """At random moments under load: every line once, in order."""
    records, kills = 40_000, 6
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(PROGRAMS[mode], env=MODES[mode])
    process.wait_ready()
    chance = random.Random()
    for share in range(kills):
        first, last = share * records // kills, (share + 1) * records // kills
        kafka.produce(incoming, (b"%d" % number for number in range(first, last)))
        time.sleep(chance.random() * 0.3)
        pid = process.status()["calculator_pid"]
        if pid:
            os.kill(pid, signal.SIGKILL)
            process.wait_log("calculator ended", pid=pid)
    kafka.wait_committed(names.group, incoming, records, deadline_s=60)
    assert [frame.value for frame in persistence(outgoing).read(len(expected(mode, records)))] == expected(
        mode, records
    )


@pytest.mark.parametrize("mode", MODES)
def test_killing_the_supervisor_doubles_nothing(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: str
) -> None:
    """The open transaction of a killed instance is aborted within its 10 s; the next one goes on behind the last."""
    records, kills = 40_000, 2
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    kafka.produce(incoming, (b"%d" % number for number in range(records)))
    environment = MODES[mode] | {"KAFKA_OPTIONS": "session.timeout.ms=6000"}
    chance = random.Random()
    for _ in range(kills):
        process = supervisor_process(SLOWLY[mode], env=environment)
        process.wait_ready(40)
        process.wait_counter("inlet", "records_read", 1, deadline_s=40)
        time.sleep(chance.random() * 0.3)
        process.kill()
    assert sum(kafka.committed(names.group, incoming).values()) < records, "killed in full flow"
    supervisor_process(PROGRAMS[mode], env=environment)
    kafka.wait_committed(names.group, incoming, records, deadline_s=60)
    assert [frame.value for frame in persistence(outgoing).read(len(expected(mode, records)))] == expected(
        mode, records
    )


@pytest.mark.parametrize("mode", MODES)
def test_replicas_that_come_and_go_double_nothing(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: str
) -> None:
    """Rebalances in full flow: what a partition's old owner could not commit, its new owner reads again."""
    records = 60_000
    incoming, outgoing = kafka.create_topic(names.topic("in"), 4), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    first = supervisor_process(PROGRAMS[mode], env=MODES[mode])
    first.wait_ready()
    kafka.produce(incoming, (b"%d" % number for number in range(records // 2)))
    second = supervisor_process(PROGRAMS[mode], env=MODES[mode])
    second.wait_ready(40)
    kafka.produce(incoming, (b"%d" % number for number in range(records // 2, records)))
    assert first.terminate() == 0
    kafka.wait_committed(names.group, incoming, records, deadline_s=60)
    lines = expected(mode, records)
    assert sorted(frame.value for frame in persistence(outgoing).read(len(lines))) == sorted(lines)
    assert second.terminate() == 0


def test_a_broker_that_goes_away_loses_and_doubles_nothing(
    names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Killed in full flow and back after the transaction's timeout: flow resumes by itself."""
    records, mode = 30_000, "marker"
    with Cluster() as cluster:
        kafka = Kafka(cluster.bootstrap)
        incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
        kafka.produce(incoming, (b"%d" % number for number in range(records)))
        manager.route(incoming, outgoing)
        process = supervisor_process(PROGRAMS[mode], env=MODES[mode], kafka=kafka)
        process.wait_counter("inlet", "records_read", 1, deadline_s=40)
        cluster.kill()
        time.sleep(12)  # what is tested: an absence longer than the transaction's timeout
        cluster.restart()
        kafka.wait_committed(names.group, incoming, records, deadline_s=90)
        lines = expected(mode, records)
        assert [frame.value for frame in Persistence(kafka, outgoing).read(len(lines))] == lines


def test_a_line_too_many_is_aborted_with_its_transaction(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """`line`: what came in that run is void, its records come once."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    mark = f"/tmp/{names.node_id}"
    stray = f"test -e {mark} || {{ touch {mark}; echo stray; }}; exec sed -u s/$/a/"
    manager.route(incoming, outgoing)
    process = supervisor_process(("sh", "-c", stray), env=MODES["line"])
    process.wait_log("the Calculator broke the rule of ACK_MODE=line, one line out for each line in")
    kafka.produce(incoming, (b"%d" % number for number in range(100)))
    kafka.wait_committed(names.group, incoming, 100)
    assert [frame.value for frame in persistence(outgoing).read(100)] == expected("line", 100)
    os.unlink(mark)  # noqa: PTH108


def test_lines_that_nobody_asked_for_are_committed(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """`marker`: a Calculator that prints by the clock, with no record under way."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("sh", "-c", "echo one; sleep 1; echo two; exec cat"), env=MODES["marker"])
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["one", "two"]
    kafka.produce(incoming, [b"three"])
    kafka.wait_committed(names.group, incoming, 1)
    assert [frame.value for frame in persistence(outgoing).read(3)] == ["one", "two", "three"]
    assert process.terminate() == 0


def test_a_workspace_that_only_produces_is_refused(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """There is no offset to commit with its lines."""
    outgoing = kafka.create_topic(names.topic("out"))
    manager.route(None, outgoing)
    process = supervisor_process(("cat",), env=MODES["line"])
    process.wait_status(
        lambda status: "exactly-once needs an incoming stream" in status["checks"]["supervisor"]["output"],
        "the check says why the route is refused",
    )
