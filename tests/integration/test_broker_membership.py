"""What an instance is in its group: static membership, who keeps its consumer, and a member that is fenced."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.health import SETTLED_S
from tests.conftest import Names
from tests.services.flow import Flow
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]


def static(member: str, session_s: int = 20) -> dict[str, str]:
    """Settings of a static member, which keeps its partitions over a restart of so many seconds."""
    return {"KAFKA_OPTIONS": f"group.instance.id={member},session.timeout.ms={session_s}000", "LOG_LEVEL": "debug"}


def rebalances(process: Supervised) -> int:
    """How often partitions were given to it or taken from it."""
    return sum(event["event"] in ("partitions assigned", "partitions given up") for event in process.events)


def assigned(process: Supervised, partitions: int) -> None:
    """Wait until it has so many partitions."""

    def has_them(status: dict[str, Any]) -> bool:
        return bool(status["inlet"].get("assigned_partitions") == partitions)

    process.wait_status(has_them, f"{partitions} partitions assigned", 30)


def test_a_static_member_comes_back_without_a_rebalance(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Stopped in order and started again: the other member's partitions are not touched."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 4), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    other = supervisor_process(("cat",), env=static("other"))
    assigned(other, 4)
    process = supervisor_process(("cat",), env=static("one"))
    assigned(process, 2)
    assigned(other, 2)
    # The group rebalances twice, and the end of the second may come here after it has come to the new member.
    other.wait_log("partitions assigned", partitions=0, count=2)
    before = rebalances(other)
    flow = Flow(kafka, other, names.group, incoming, outgoing)
    flow.send(1000)
    flow.flows()
    assert process.terminate() == 0
    flow.send(1000)
    process = supervisor_process(("cat",), env=static("one"))
    assigned(process, 2)
    flow.arrived(once=True)
    assert rebalances(other) == before


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once"])
def test_a_fenced_member_makes_a_new_consumer_and_says_why(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, guarantee: str
) -> None:
    """A second instance with the same id fences the first one: the first comes back when the second is gone."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    environment = static("same") | {"PROCESSING_GUARANTEE": guarantee, "ACK_MODE": "line"}
    process = supervisor_process(("cat",), env=environment)
    flow = Flow(kafka, process, names.group, incoming, outgoing)
    flow.send(1000)
    flow.flows(1000)
    second = supervisor_process(("cat",), env=environment)
    second.wait_started()
    process.wait_log("fatal error of the consumer: a new one is made")
    print(flow.trouble("group.instance.id", "another instance"))
    flow.send(1000)
    second.wait_log("fatal error of the consumer: a new one is made")
    assert second.terminate() == 0
    flow.send(1000)
    flow.arrived(once=guarantee == "exactly-once", well=False, same_calculator=guarantee == "at-least-once")
    said = [event for event in process.events if event["event"] == "fatal error of the consumer: a new one is made"]
    assert len(said) < 8, "it backs off"
    assert process.terminate() == 0


def test_a_new_incoming_topic_of_a_static_member(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """It is another member, and gets its partitions when the old one's session has ended."""
    old, new = kafka.create_topic(names.topic("old")), kafka.create_topic(names.topic("new"))
    outgoing = kafka.create_topic(names.topic("out"))
    manager.route(old, outgoing)
    process = supervisor_process(("cat",), env=static("one", 3))
    flow = Flow(kafka, process, names.group, old, outgoing)
    flow.send(1000)
    flow.flows(1000)
    manager.route(new, outgoing)
    manager.wait_adopted()
    assert kafka.committed(names.group, old) == {0: 1000}, "committed before the route is in force"
    kafka.produce(new, [b"1000"])
    kafka.wait_committed(names.group, new, 1)
    flow.passes()
    flow.same_calculator()
    assert not [event for event in process.events if event.get("fatal")]


def test_a_route_with_the_same_incoming_topic_keeps_the_consumer(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """The member of the group is the same, and no partition moves."""
    incoming = kafka.create_topic(names.topic("in"), 2)
    out1, out2 = kafka.create_topic(names.topic("out1")), kafka.create_topic(names.topic("out2"))
    manager.route(incoming, out1)
    process = supervisor_process(("cat",))
    flow = Flow(kafka, process, names.group, incoming, out1)
    flow.send(1000)
    flow.flows(1000)
    members, before = kafka.member_ids(names.group), rebalances(process)
    manager.route(incoming, out2)
    manager.wait_adopted()
    flow.send(1000)
    flow.outgoing = out2
    flow.arrived(first=1000, once=True)
    assert kafka.member_ids(names.group) == members
    assert rebalances(process) == before


def test_a_late_answer_moves_no_offset_of_a_partition_that_went(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, tmp_path: Path
) -> None:
    """The old owner's Calculator answers after the next owner has committed: its commits stay as they are."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    go = tmp_path / "go"
    holding = (
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        f"    while not os.path.exists({str(go)!r}): time.sleep(0.02)\n"
        "    print(line, end='', flush=True)"
    )
    old = supervisor_process(("python3", "-u", "-c", holding), env={"ADOPTION_GRACEPERIOD": "300ms"})
    kafka.produce(incoming, [b"0", b"1"])
    old.wait_counter("inlet", "lines_written", 2)
    new = supervisor_process(("cat",))
    assigned(new, 1)
    went = int(next(iter(new.status()["lag"])))
    kafka.produce(incoming, [b"2", b"3", b"4"], partition=went)
    new.wait_counter("outlet", "lines_delivered", 4)
    kafka.wait_committed(names.group, incoming, 4)
    go.touch()
    old.wait_counter("outlet", "lines_delivered", 2)
    kafka.wait_committed(names.group, incoming, 5)
    assert old.terminate() == 0
    assert kafka.committed(names.group, incoming) == {went: 4, 1 - went: 1}


def test_an_instance_without_a_partition_is_ready_and_takes_over(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """One replica, one partition: a rolling update ends, because the new pod does not wait for the old one to go."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    old = supervisor_process()
    old.wait_ready()
    new = supervisor_process()
    new.wait_ready()
    status = new.status()
    assert (status["inlet"]["assigned_partitions"], status["held_up"]) == (0, None)
    check = status["checks"]["supervisor"]
    assert check["status"] == "passing"
    assert "the other members of the consumer group hold all of them" in check["output"]
    assert old.terminate() == 0
    assigned(new, 1)
    kafka.produce(incoming, [b"1"])
    assert persistence(outgoing).read(1)[0].value == "1"
    assert new.http("/health/ready")[0] == 200
    assert new.terminate() == 0


def test_a_member_of_a_group_without_a_topic_is_not_ready(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Nobody holds the partitions of a topic that is not there."""
    manager.route(names.topic("missing"), kafka.create_topic(names.topic("out")))
    process = supervisor_process()
    manager.wait_adopted()
    process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "critical", "critical")
    time.sleep(SETTLED_S + 3)
    code, why = process.http("/health/ready")
    assert code == 503, why
    assert process.status()["checks"]["supervisor"]["status"] == "critical"
    assert process.terminate() == 0
