"""SIGTERM in every state: exit status 0 in the time promised, out of Consul first, committed, out of the group."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.agent import Agent, Consul
from tests.services.broker import Cluster
from tests.services.peers import Manager, Persistence
from tests.services.processes import children, until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

GRACE_S = 1.0
FLUSH_DEADLINE_S = 5.0
LEFT_BEHIND_S = 2.0
"""For clients of librdkafka that do not let go, one on each side."""

RECORDS = 200

# Answers each line; when STDIN has ended, and at SIGTERM, it goes on for a while.
SLOW_TO_END = "trap '' TERM; while read -r line; do echo \"$line\"; done; sleep 0.7"
# As slow as a shell: records are under way whenever a peer is killed.
READS_BYTE_BY_BYTE = 'while read -r line; do echo "$line"; done'
# Answers the first line only, and hears nothing.
DEAF = "trap '' TERM; read -r line; echo \"$line\"; while true; do sleep 300; done"


def stop(process: Supervised, *, within_s: float = GRACE_S + FLUSH_DEADLINE_S + LEFT_BEHIND_S) -> float:
    """SIGTERM; return how many seconds it took, and nothing went wrong on the way."""
    began_s = time.monotonic()
    assert process.terminate(within_s) == 0
    took_s = time.monotonic() - began_s
    events = process.events
    assert events[-1]["event"] == "supervisor stopped"
    assert not [event for event in events if "exception" in event or event["level"] == "text"]
    return took_s


def position(process: Supervised, name: str) -> int:
    return next(at for at, event in enumerate(process.events) if event["event"] == name)


def instances(consul: Consul, node_id: str) -> list[str]:
    """IDs of this workspace's services at the agent, and of its checks in the catalogue."""
    services = [name for name, service in consul.services().items() if service["Service"] == f"bdz-wsp-{node_id}"]
    return services + [check["CheckID"] for check in consul.checks(f"bdz-wsp-{node_id}")]


@pytest.fixture
def topics(kafka: Kafka, names: Names) -> tuple[str, str]:
    """One partition in and one out."""
    return kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))


def test_an_idle_instance_is_gone_at_once(  # noqa: PLR0917 - fixtures
    kafka: Kafka, consul: Consul, names: Names, manager: Manager, topics: tuple[str, str], supervisor_process: Start
) -> None:
    """Nothing of the grace is slept away, and what had been answered is committed."""
    manager.route(*topics)
    process = supervisor_process(("cat",), env={"SHUTDOWN_GRACEPERIOD": "30s"})
    process.wait_ready()
    kafka.produce(topics[0], [b"%d" % number for number in range(RECORDS)])
    process.wait_counter("outlet", "lines_delivered", RECORDS)
    until(lambda: instances(consul, names.node_id), "registered")
    stop(process, within_s=2.0)
    assert kafka.committed(names.group, topics[0]) == {0: RECORDS}
    assert kafka.members(names.group) == []
    assert instances(consul, names.node_id) == []


def test_it_leaves_consul_before_it_closes(  # noqa: PLR0917 - fixtures
    kafka: Kafka, consul: Consul, names: Names, manager: Manager, topics: tuple[str, str], supervisor_process: Start
) -> None:
    """While its Calculator still has something to do, nobody is sent there any more."""
    manager.route(*topics)
    process = supervisor_process(("sh", "-c", SLOW_TO_END))
    process.wait_ready()
    until(lambda: instances(consul, names.node_id), "registered")
    process.send(15)
    process.wait_log("calculator stopping")
    assert instances(consul, names.node_id) == []
    assert process.exit_status is None
    assert process.wait() == 0
    order = ["registration deregistered", "relay draining", "calculator stopping", "relay stopped"]
    assert sorted(order, key=lambda name: position(process, name)) == order
    assert kafka.members(names.group) == []


# Slow. With a handler it ends soon after the signal, with status 0 and what it read last in its own buffer.
SLOW = """
import os, signal, sys, time
stops = []
if sys.argv[1] == "handler": signal.signal(signal.SIGTERM, lambda *_: stops.append(1))
while chunk := os.read(0, 65536):
    last = bool(stops)
    for line in chunk.splitlines(keepends=True):
        time.sleep(0.04)
        os.write(1, line)
        if last: sys.exit(0)
"""


@pytest.mark.parametrize("first", ["calculator", "supervisor"])
@pytest.mark.parametrize("kind", ["default", "handler"])
def test_a_stop_that_reaches_both_is_orderly(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    topics: tuple[str, str],
    persistence: Read,
    supervisor_process: Start,
    first: str,
    kind: str,
) -> None:
    """As systemd stops a control group: no failure, no record accused, and none lost that the Calculator had read."""
    manager.route(*topics)
    process = supervisor_process(("python3", "-c", SLOW, kind))
    process.wait_ready()
    kafka.produce(topics[0], [b"%d" % number for number in range(RECORDS)])
    process.wait_counter("outlet", "lines_delivered", 10)
    (calculator,) = children(process.pid)
    both = [process.pid, calculator] if first == "supervisor" else [calculator, process.pid]
    os.kill(both[0], signal.SIGTERM)
    time.sleep(0.01)
    os.kill(both[1], signal.SIGTERM)
    assert process.wait() == 0
    ended = process.wait_log("calculator ended")
    assert (ended["status"], ended["asked"]) == ("exit status 0" if kind == "handler" else "killed by SIGTERM", True)
    said = {event["event"] for event in process.events if event["level"] in {"warning", "error"}}
    assert said <= {"librdkafka"}, said
    assert len([event for event in process.events if event["event"] == "calculator starting"]) == 1
    assert set(kafka.committed_metadata(names.group, topics[0]).values()) <= {""}
    again = supervisor_process(("cat",))
    kafka.wait_committed(names.group, topics[0], RECORDS)
    again.terminate()
    values = {frame.value for frame in persistence(topics[1]).read()}
    assert values == {str(number) for number in range(RECORDS)}


def no_route(manager: Manager, topics: tuple[str, str], process: Supervised, kafka: Kafka) -> None:
    process.wait_log("route absent")


def paused(manager: Manager, topics: tuple[str, str], process: Supervised, kafka: Kafka) -> None:
    manager.route(*topics)
    manager.wait_adopted()
    kafka.produce(topics[0], [b"%d" % number for number in range(RECORDS)])
    process.wait_counter("outlet", "lines_delivered", 1)
    manager.route(*topics, paused=True)
    manager.wait_adopted()


def draining(manager: Manager, topics: tuple[str, str], process: Supervised, kafka: Kafka) -> None:
    manager.route(*topics)
    manager.wait_adopted()
    kafka.produce(topics[0], [b"%d" % number for number in range(RECORDS)])
    process.wait_counter("outlet", "lines_delivered", 1)
    manager.route(topics[0], kafka.create_topic(f"{topics[1]}-next"))
    process.wait_log("relay draining")


def crash_loop(manager: Manager, topics: tuple[str, str], process: Supervised, kafka: Kafka) -> None:
    manager.route(*topics)
    process.wait_log("calculator crash-loop")


STATES = [
    pytest.param(("yes",), no_route, id="no-route-and-a-full-pipe"),
    pytest.param(("sh", "-c", DEAF), paused, id="paused-and-deaf"),
    pytest.param(("sh", "-c", DEAF), draining, id="draining-and-deaf"),
    pytest.param(("false",), crash_loop, id="crash-loop"),
]


@pytest.mark.parametrize(("command", "bring_about"), STATES)
def test_a_stop_in_any_state_keeps_its_time(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    consul: Consul,
    names: Names,
    manager: Manager,
    topics: tuple[str, str],
    supervisor_process: Start,
    persistence: Read,
    command: tuple[str, ...],
    bring_about: Callable[..., None],
) -> None:
    """With nothing left in Consul and the group, and nothing committed that did not come out."""
    settings = {"SHUTDOWN_GRACEPERIOD": f"{GRACE_S:g}s", "ADOPTION_GRACEPERIOD": "1m", "RESTART_BACKOFF_MAX": "1m"}
    process = supervisor_process(command, env=settings)
    bring_about(manager, topics, process, kafka)
    until(lambda: instances(consul, names.node_id), "registered")
    stop(process, within_s=GRACE_S + FLUSH_DEADLINE_S)
    assert instances(consul, names.node_id) == []
    assert kafka.members(names.group) == []
    committed = kafka.committed(names.group, topics[0]).get(0, 0)
    assert committed <= len(persistence(topics[1]).read())


def test_a_stop_without_peers_keeps_its_time(names: Names, supervisor_process: Start) -> None:
    """Broker and agent are killed with everything full of lines: what cannot be delivered is read again."""
    with Cluster() as cluster, Agent() as agent:
        kafka = Kafka(cluster.bootstrap)
        processes: list[Supervised] = []
        for guarantee in ("at-least-once", "exactly-once"):
            manager = Manager(agent, f"{names.node_id}-{guarantee}")
            incoming, outgoing = (kafka.create_topic(f"{names.topic(role)}-{guarantee}") for role in ("in", "out"))
            kafka.produce(incoming, (b"%d" % number + b"x" * 2000 for number in range(50_000)))
            manager.route(incoming, outgoing, paused=True)
            settings = {"SHUTDOWN_GRACEPERIOD": f"{GRACE_S:g}s", "PROCESSING_GUARANTEE": guarantee, "ACK_MODE": "line"}
            process = supervisor_process(
                ("sh", "-c", READS_BYTE_BY_BYTE),
                kafka=kafka,
                consul=agent,
                node_id=f"{names.node_id}-{guarantee}",
                group=guarantee,
                env=settings,
            )
            manager.wait_adopted()
            manager.route(incoming, outgoing)
            processes.append(process)
        for process in processes:
            process.wait_counter("outlet", "lines_delivered", 1)
        cluster.kill()
        agent.kill()
        # All of them before the first stop: a session that ends takes the records in flight with it.
        for process in processes:
            process.wait_counter("inlet", "unacknowledged", 1)
            process.wait_status(lambda status: status["producer_error"] is not None, "the broker is missed")
            assert process.http("/health/ready")[0] == 503
        for process in processes:
            stop(process)
