"""Exactly-once, when the producer is fenced, a right is missing, and both topics change: read by read_committed."""

from __future__ import annotations

from collections.abc import Callable

from tests.conftest import Names
from tests.services.flow import Flow
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
EXACTLY_ONCE = {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line", "RESTART_BACKOFF_MAX": "200ms"}


def test_a_fenced_producer_is_made_anew(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Somebody else takes its transactional.id in full flow: abort, a new client, and every record once."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=EXACTLY_ONCE)
    flow = Flow(kafka, process, names.group, incoming, outgoing)
    flow.send(1000)
    flow.flows()
    transactional_id = kafka.transactional_ids(names.node_id).pop()
    for times in range(1, 4):
        flow.send(20_000)
        kafka.fence(transactional_id)
        flow.send(1000)  # the fence is met by the next transaction, if none was open
        process.wait_log("transaction aborted; its records will be written again", deadline_s=30, count=times)
        # The next fence is to meet a producer that is there.
        committed = process.status()["outlet"]["transactions_committed"]
        process.wait_counter("outlet", "transactions_committed", committed + 1, 30)
    flow.arrived(once=True, same_calculator=False, deadline_s=60)


def test_both_topics_change_in_full_flow(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Each record once, in the topic of its route."""
    ways = [(kafka.create_topic(names.topic(f"in{way}")), kafka.create_topic(names.topic(f"out{way}"))) for way in "12"]
    manager.route(*ways[0])
    process = supervisor_process(("cat",), env=EXACTLY_ONCE)
    flows = [Flow(kafka, process, names.group, *way) for way in ways]
    for flow in flows:
        flow.send(40_000)
    flows[0].flows(1000)
    for way in (1, 0, 1):
        manager.route(*ways[way])
        manager.wait_adopted()
        committed = sum(kafka.committed(names.group, ways[way][0]).values())
        kafka.wait_committed(names.group, ways[way][0], min(committed + 5000, 40_000))
    for way in (0, 1):
        manager.route(*ways[way])
        manager.wait_adopted()
        flows[way].arrived(once=True, same_calculator=False)
    assert process.terminate() == 0
