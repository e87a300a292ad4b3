"""Topics that are not there yet, and topics that go away under a running Supervisor and come again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.flow import Flow
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]


@pytest.mark.parametrize("missing", ["in", "out"])
def test_a_topic_that_is_missing_at_start(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, missing: str
) -> None:
    """The check says which, and what to do; when it is made, flow begins by itself."""
    incoming, outgoing = names.topic("in"), names.topic("out")
    kafka.create_topic(outgoing if missing == "in" else incoming)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    flow = Flow(kafka, process, names.group, incoming, outgoing)
    if missing == "out":
        flow.send(1000)
    print(flow.trouble(names.topic(missing), "the topic does not exist"))
    kafka.create_topic(names.topic(missing))
    if missing == "in":
        flow.send(1000)
    flow.flows()
    flow.arrived(once=True)


def test_one_topic_for_both_sides_is_adopted_and_warned_of(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """It may be meant: a Calculator that drops what it wrote. The check says it until the route is another one."""
    both, other = kafka.create_topic(names.topic("both")), kafka.create_topic(names.topic("other"))
    kafka.produce(both, [b"one"])
    version = manager.route(both, both)
    process = supervisor_process(("sed", "-u", "/wsp/d"), env={"DEAD_LETTER_STREAM": names.topic("dead")})
    manager.wait_adopted(version)
    kafka.wait_committed(names.group, both, 2)
    check = process.status()["checks"]["supervisor"]
    assert check["status"] == "warning"
    assert f"the same topic, '{both}'" in check["output"]
    manager.route(both, names.topic("dead"))
    process.wait_status(lambda status: "is the dead letter stream" in str(status["checks"]), "it is refused")
    manager.route(both, other)
    process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "passing", "nothing is left of it")


def test_an_outgoing_topic_is_deleted_and_made_again(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """What comes meanwhile waits for it; what lay in it is gone with it."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",))
    flow = Flow(kafka, process, names.group, incoming, outgoing)
    flow.send(1000)
    flow.flows(1000)
    kafka.wait_committed(names.group, incoming, 1000)
    kafka.delete_topic(outgoing)
    flow.send(1000)
    print(flow.trouble(outgoing, "the topic does not exist", deadline_s=60))
    assert kafka.committed(names.group, incoming) == {0: 1000}, "nothing is acknowledged that is not delivered"
    kafka.create_topic(outgoing)
    flow.arrived(first=1000)


@pytest.mark.parametrize(
    ("records", "guarantee"), [(10, "at-least-once"), (3000, "at-least-once"), (3000, "exactly-once")]
)
def test_an_incoming_topic_is_deleted_and_made_again(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    supervisor_process: Start,
    persistence: Read,
    records: int,
    guarantee: str,
) -> None:
    """At once, with fewer and with more records than were read of the old one: no offset of that one hides any."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env={"PROCESSING_GUARANTEE": guarantee, "ACK_MODE": "line"})
    flow = Flow(kafka, process, names.group, incoming, outgoing)
    flow.send(1000)
    flow.flows(1000)
    kafka.wait_committed(names.group, incoming, 1000)
    kafka.delete_topic(incoming)
    kafka.create_topic(incoming)
    kafka.produce(incoming, (b"%d" % number for number in range(1000, 1000 + records)))
    seen = {int(frame.value) for frame in persistence(outgoing).read(1000 + records, deadline_s=60)}
    assert seen == set(range(1000 + records))
    kafka.wait_committed(names.group, incoming, records)
    assert kafka.committed(names.group, incoming) == {0: records}
    flow.passes()
    flow.same_calculator()
