"""Where a partition is read from, when its committed offset is not to be had at once."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.mock import OFFSET_FETCH, MockProcess
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
CONNECTION_LOST = -195  # no answer comes
UNKNOWN_SERVER_ERROR = -1
COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR = 14, 15, 16
TOPIC_AUTHORIZATION_FAILED, GROUP_AUTHORIZATION_FAILED = 29, 30
UNSTABLE_OFFSET_COMMIT = 88


def test_offsets_that_are_undecided_while_the_group_rebalances(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Somebody was killed within its commit, and others come and go: nothing is read twice, nothing passed over."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 4), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    kafka.produce(incoming, (b"%d" % number for number in range(1000)))
    ends = kafka.end_offsets(incoming)
    kafka.commit(names.group, incoming, ends)
    kafka.produce(incoming, (b"%d" % number for number in range(1000, 1500)))
    with kafka.undecided(names.group, incoming):
        environment = {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line", "KAFKA_AUTO_OFFSET_RESET": "latest"}
        process = supervisor_process(("cat",), env=environment)
        for _ in range(2):
            process.wait_counter("inlet", "unplaced_partitions", 4)
            with kafka.another_member(names.group, incoming):
                kafka.wait_shares(names.group, 2, 2)
            kafka.wait_shares(names.group, 4)
        assert process.status()["inlet"]["records_read"] == 0
    kafka.produce(incoming, (b"%d" % number for number in range(1500, 2000)))
    kafka.wait_committed(names.group, incoming, 2000)
    assert process.terminate() == 0
    read = sorted(int(frame.value) for frame in Persistence(kafka, outgoing).read())
    assert read == list(range(1000, 2000))


@pytest.mark.parametrize(
    ("committed", "deleted", "reset", "first"),
    [
        (None, 0, "earliest", 0),
        (None, 0, "latest", 100),
        (10, 5, "latest", 10),
        (10, 50, "earliest", 50),
        (10, 50, "latest", 100),
    ],
)
def test_the_first_record(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    supervisor_process: Start,
    committed: int | None,
    deleted: int,
    reset: str,
    first: int,
) -> None:
    """Is that of the committed offset; KAFKA_AUTO_OFFSET_RESET is for when there is none, or its record is deleted."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(100)])
    kafka.delete_records(incoming, deleted)
    if committed is not None:
        kafka.commit(names.group, incoming, {0: committed})
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env={"KAFKA_AUTO_OFFSET_RESET": reset})
    process.wait_counter("inlet", "readable_partitions", 1)
    kafka.produce(incoming, [b"%d" % number for number in range(100, 110)])
    kafka.wait_committed(names.group, incoming, 110)
    assert [int(frame.value) for frame in Persistence(kafka, outgoing).read()] == list(range(first, 110))


@pytest.mark.parametrize(
    "errors",
    [
        (NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS),
        (UNSTABLE_OFFSET_COMMIT,) * 5,
        (CONNECTION_LOST, CONNECTION_LOST),
        (GROUP_AUTHORIZATION_FAILED,),
        (UNKNOWN_SERVER_ERROR, TOPIC_AUTHORIZATION_FAILED),
    ],
)
def test_a_coordinator_that_has_no_answer_is_asked_again(
    names: Names, manager: Manager, supervisor_process: Start, errors: tuple[int, ...]
) -> None:
    """Whatever it says instead: the first record is that of the committed offset, and an error is told until then."""
    manager.route("in", "out")
    with MockProcess("in", "out") as mock:
        kafka = Kafka(mock.bootstrap_servers)
        kafka.produce("in", [b"%d" % number for number in range(200)])
        kafka.commit(names.group, "in", {0: 100})
        mock.answer_with(OFFSET_FETCH, *errors)
        process = supervisor_process(("cat",), kafka=kafka)
        process.wait_counter("outlet", "lines_delivered", 100)
        process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "passing", "it passes")
        told = {line["code"] for line in process.events if line["event"] == "kafka error"}
        assert told >= set(errors) & {GROUP_AUTHORIZATION_FAILED, TOPIC_AUTHORIZATION_FAILED, UNKNOWN_SERVER_ERROR}
        assert [int(frame.value) for frame in Persistence(kafka, "out").read()] == list(range(100, 200))


@pytest.mark.parametrize("guarantee", ["at-least-once", "at-most-once", "exactly-once"])
def test_where_latest_was_is_committed_at_once(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, guarantee: str
) -> None:
    """An instance that is killed before its first record leaves its place to the next: nothing is passed over."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(100)])
    ends = kafka.end_offsets(incoming)
    manager.route(incoming, outgoing)
    environment = {"KAFKA_AUTO_OFFSET_RESET": "latest", "PROCESSING_GUARANTEE": guarantee, "ACK_MODE": "line"}
    process = supervisor_process(("cat",), env=environment)
    process.wait_counter("inlet", "assigned_partitions", 2)
    assert kafka.wait_committed(names.group, incoming, 100) == ends
    process.kill()
    kafka.produce(incoming, [b"%d" % number for number in range(100, 200)])
    supervisor_process(("cat",), env=environment)
    kafka.wait_committed(names.group, incoming, 200, deadline_s=30)
    assert sorted(int(frame.value) for frame in Persistence(kafka, outgoing).read(100)) == list(range(100, 200))


def test_partitions_that_came_later_are_read_from_their_beginning(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """With `latest` too: what is in them when the consumer hears of them came after it began."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"old"] * 100)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env={"KAFKA_AUTO_OFFSET_RESET": "latest"})
    process.wait_counter("inlet", "assigned_partitions", 2)
    kafka.wait_committed(names.group, incoming, 100)
    kafka.add_partitions(incoming, 5)
    for partition in (2, 3):
        kafka.produce(incoming, [b"%d" % (1000 * partition + number) for number in range(100)], partition=partition)
    assert process.status()["inlet"]["assigned_partitions"] == 2, "it has not heard of them"
    kafka.wait_committed(names.group, incoming, 300, deadline_s=30)
    assert kafka.committed(names.group, incoming)[4] == 0, "also of the one without a record"
    assert process.terminate() == 0
    read = sorted(int(frame.value) for frame in Persistence(kafka, outgoing).read())
    assert read == [1000 * partition + number for partition in (2, 3) for number in range(100)]
