"""Three brokers: partitions move to other leaders and other nodes in full flow, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.broker import Cluster
from tests.services.flow import Flow
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]

MODES = {
    "at-least-once": {"ACK_MODE": "demand"},
    "exactly-once": {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line"},
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Three nodes."""
    with Cluster(3) as cluster:
        yield cluster


def under_both_modes(
    kafka: Kafka, consul: Consul, names: Names, supervisor_process: Start, partitions: int, **topic: Any
) -> dict[str, Flow]:
    """Start a Supervisor in each mode, each with topics of its own."""
    flows: dict[str, Flow] = {}
    for mode, environment in MODES.items():
        incoming, outgoing = (
            kafka.create_topic(f"{names.topic(role)}-{mode}", partitions, **topic) for role in ("in", "out")
        )
        node_id, group = f"{names.node_id}-{mode}", f"{names.group}-{mode}"
        Manager(consul, node_id).route(incoming, outgoing)
        process = supervisor_process(("cat",), kafka=kafka, env=environment, node_id=node_id, group=group)
        flows[mode] = Flow(kafka, process, group, incoming, outgoing)
    return flows


def test_leaders_move_in_full_flow(cluster: Cluster, consul: Consul, names: Names, supervisor_process: Start) -> None:
    """Killed, and back as the leader it was, under both modes at once: flow goes on by itself, and nothing is lost."""
    kafka = cluster.admin
    flows = under_both_modes(kafka, consul, names, supervisor_process, 3, replicas=3, min_insync_replicas="2")

    def send_more() -> None:
        for flow in flows.values():
            flow.send(20_000)

    send_more()
    for flow in flows.values():
        flow.flows()
    watched = flows["at-least-once"].outgoing
    gone = kafka.leaders(watched)[0]
    cluster.kill(gone)
    send_more()
    assert gone not in kafka.leaders(watched).values()
    cluster.restart(gone)
    cluster.wait_in_sync()
    send_more()
    kafka.elect_preferred_leaders(*(topic for flow in flows.values() for topic in (flow.incoming, flow.outgoing)))
    send_more()
    for mode, flow in flows.items():
        once = mode == "exactly-once"  # where a transaction that met the kill is aborted, which restarts the Calculator
        flow.arrived(once=once, same_calculator=not once, deadline_s=60)
    assert kafka.leaders(watched)[0] == gone


def test_partitions_move_to_other_nodes_in_full_flow(
    cluster: Cluster, consul: Consul, names: Names, supervisor_process: Start
) -> None:
    """What an operator does to empty a node: both topics in both modes; nothing is lost, doubled or overtaken."""
    kafka = cluster.admin
    flows = under_both_modes(kafka, consul, names, supervisor_process, 1)
    for flow in flows.values():
        flow.send(20_000)
        flow.flows()
    for flow in flows.values():
        for topic in (flow.outgoing, flow.incoming):
            flow.send(20_000)
            kafka.move(topic, kafka.leaders(topic)[0] % len(cluster.nodes) + 1)
    for mode, flow in flows.items():
        flow.send(1000)
        flow.arrived(once=True, same_calculator=mode == "at-least-once", deadline_s=60)
        flow.in_order()
