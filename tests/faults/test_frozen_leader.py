"""The outgoing partition's leader stands still in the middle of a write, and another leads before it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.conftest import Names
from tests.services.broker import Cluster
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]

RECORDS = 100_000
UNDER_WAY = 5_000  # lines delivered before the leader freezes: the flow is full
MAY_OVERTAKE = 10_000  # delivered by the next leader while the old one is frozen
FROZEN_S = 8.0  # at most: longer than a failover


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three brokers of our own."""
    with Cluster(3) as cluster:
        yield cluster


@pytest.mark.timeout(300)
@pytest.mark.parametrize("elected", [True, False], ids=["another is elected at once", "another when it is missed"])
def test_a_leader_that_freezes_in_a_write_does_not_disturb_the_order(
    cluster: Cluster, names: Names, manager: Manager, supervisor_process: Start, elected: bool
) -> None:
    """Every line comes out, first copies in the order they were written.

    A leader that is missed is gone from the metadata, and librdkafka takes its requests back. With an election the old
    one is still there, with a request in its hands, when lines can go to the next one.
    """
    kafka = Kafka(cluster.bootstrap)
    incoming, outgoing = (
        kafka.create_topic(names.topic(role), replicas=3, min_insync_replicas="2") for role in ("in", "out")
    )
    kafka.produce(incoming, (b"%d %s" % (number, b"x" * 990) for number in range(RECORDS)))
    if elected:  # away from the one that an election prefers
        preferred = kafka.leader(outgoing)
        cluster.freeze(preferred)
        _wait_other_leader(_others(cluster, preferred), outgoing, preferred)
        cluster.thaw(preferred)
        cluster.wait_in_sync()
    # It hears soon of another leader, and not over the connection that waits for an answer.
    soon = "topic.metadata.refresh.interval.ms=100,enable.sparse.connections=false"
    process = supervisor_process(kafka=kafka, env={"KAFKA_OPTIONS": soon})
    process.wait_started()
    manager.route(incoming, outgoing)
    process.wait_counter("outlet", "lines_delivered", UNDER_WAY)
    leader = kafka.leader(outgoing)
    others = _others(cluster, leader)
    cluster.freeze(leader)
    try:
        delivered = process.status()["outlet"]["lines_delivered"]
        assert delivered < RECORDS - MAY_OVERTAKE, f"{delivered} lines were delivered before the leader froze"
        end = time.monotonic() + FROZEN_S
        if elected:
            others.ask_for_preferred_leader(outgoing)
        _wait_other_leader(others, outgoing, leader)
        while process.status()["outlet"]["lines_delivered"] < delivered + MAY_OVERTAKE and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        cluster.thaw(leader)
    kafka.wait_committed(names.group, incoming, RECORDS, deadline_s=120)
    cluster.wait_in_sync()
    seen: set[int] = set()
    last = -1
    behind: list[str] = []
    for frame in Persistence(kafka, outgoing).read(RECORDS):
        number = int(frame.value.split()[0])
        if number not in seen and number < last:
            behind.append(f"{number} is behind {last} at offset {frame.record.offset}")
        seen.add(number)
        last = max(last, number)
    assert len(seen) == RECORDS, f"{RECORDS - len(seen)} lines are lost"
    assert not behind, f"{len(behind)} lines out of order, the first: {behind[:5]}"


def _others(cluster: Cluster, node: int) -> Kafka:
    """A client that has never met the node, so that it does not wait for its answer."""
    servers = zip(cluster.nodes, cluster.bootstrap.split(","), strict=True)
    return Kafka(",".join(server for number, server in servers if number != node))


def _wait_other_leader(kafka: Kafka, topic: str, node: int) -> None:
    end = time.monotonic() + 30
    while (leader := kafka.leader(topic)) in {node, -1}:
        assert time.monotonic() < end, f"node {leader} leads 30 s after node {node} froze"
        time.sleep(0.02)
