"""Whole Supervisors led over every edge of their lifecycles, by what happens around them; the log tells the walk."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

from supervisor import states
from tests.conftest import Names
from tests.services.agent import Agent
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Edge = tuple[str, str, str]

# The Calculator's table has a test of its own, with a Calculator alone.
TABLES: dict[str, Mapping[Any, frozenset[Any]]] = {
    "supervisor": states.DAEMON,
    "registration": states.REGISTRATION,
    "route": states.ROUTE,
    "relay": states.RELAY,
}


def edges(name: str) -> set[Edge]:
    table: Mapping[enum.Enum, frozenset[enum.Enum]] = TABLES[name]
    return {(name, old.value, new.value) for old, targets in table.items() for new in targets}


class Walk:
    """One workspace and its Supervisor."""

    def __init__(self, agent: Agent, kafka: Kafka, names: Names, start: Start, role: str) -> None:
        self.node_id = f"{names.node_id}-{role}"
        self.topics = [kafka.create_topic(f"{names.topic(role)}-{number}") for number in range(3)]
        self.manager = Manager(agent, self.node_id)
        self.agent = agent
        self._kafka = kafka
        self._start = start

    def start(self, **env: str) -> None:
        """Start it, its Calculator a plain cat."""
        env = {"CONSUL_RESYNC_INTERVAL": "1s", "ADOPTION_GRACEPERIOD": "1s", **env}
        self.process = self._start(
            ("cat",), kafka=self._kafka, consul=self.agent, node_id=self.node_id, group=self.node_id, env=env
        )

    def sees(self, lifecycle: str, old: str, new: str, count: int = 1) -> None:
        """Wait for an edge."""
        self.process.wait_log(f"{lifecycle} {new}", 20.0, old=old, count=count)

    def route(self, outgoing: int, *, paused: bool = False) -> None:
        """The next version, and wait until it is adopted."""
        self.manager.route(self.topics[0], self.topics[outgoing], paused=paused)
        self.manager.wait_adopted()

    def stop(self) -> None:
        """In order."""
        assert self.process.terminate() == 0

    def walked(self) -> set[Edge]:
        """The edges in its log."""
        return {
            (event["event"].partition(" ")[0], event["old"], event["new"])
            for event in self.process.events
            if event.get("logger") == "supervisor.states"
        }


def the_life_of_a_workspace(walk: Walk) -> None:
    """Wrong, deleted, routed, paused, changed, and the agent loses everything."""
    walk.start()
    walk.sees("route", "unknown", "absent")
    walk.manager.put("desired_version", "x")
    walk.sees("route", "absent", "refused")
    walk.manager.decommission()
    walk.sees("route", "refused", "absent")
    walk.route(1, paused=True)
    walk.sees("relay", "idle", "paused")
    walk.route(1)
    walk.sees("relay", "paused", "flowing")
    good = walk.topics[1]
    walk.manager.put("outgoing_stream", "no such/topic name")
    walk.sees("route", "in-force", "refused")
    walk.manager.put("outgoing_stream", good)
    walk.sees("route", "refused", "in-force")
    walk.manager.put("outgoing_stream", "no such/topic name")
    walk.sees("route", "in-force", "refused", count=2)
    walk.route(2)
    walk.sees("route", "refused", "adopting")
    walk.sees("relay", "draining", "flowing")
    walk.route(2, paused=True)
    walk.sees("relay", "flowing", "paused")
    walk.route(1, paused=True)
    walk.sees("relay", "draining", "paused")
    walk.route(1)
    walk.manager.decommission()
    walk.sees("relay", "draining", "idle")
    walk.sees("route", "adopting", "absent")
    walk.stop()


def one_that_flows_until_the_end(walk: Walk) -> None:
    walk.manager.route(walk.topics[0], walk.topics[1])
    walk.start()
    walk.sees("route", "unknown", "adopting")
    walk.sees("relay", "idle", "flowing")
    walk.stop()


def one_that_is_wrong_from_the_start(walk: Walk) -> None:
    walk.manager.put("desired_version", "-3")
    walk.start()
    walk.sees("route", "unknown", "refused")
    walk.stop()


def one_that_cannot_be_put_in_force(walk: Walk) -> None:
    """What librdkafka has against a consumer comes out when there is to be one."""
    walk.manager.route(*walk.topics[:2])
    walk.start(KAFKA_OPTIONS="max.poll.interval.ms=6000,session.timeout.ms=10000")
    walk.sees("route", "adopting", "refused")
    walk.stop()


def one_that_loses_its_agent(walk: Walk) -> None:
    walk.start()
    walk.sees("registration", "unregistered", "registered")
    walk.agent.restart()
    walk.sees("registration", "registered", "lost")
    walk.sees("registration", "lost", "registered")
    walk.agent.kill()
    walk.sees("registration", "registered", "lost", count=2)
    walk.stop()


def one_that_never_had_an_agent(walk: Walk) -> None:
    walk.start()
    walk.process.wait_log("calculator running")
    walk.stop()


WALKS = [
    the_life_of_a_workspace,
    one_that_flows_until_the_end,
    one_that_is_wrong_from_the_start,
    one_that_cannot_be_put_in_force,
    one_that_loses_its_agent,
    one_that_never_had_an_agent,
]


def test_every_edge_is_walked_by_what_happens(kafka: Kafka, names: Names, supervisor_process: Start) -> None:
    """The tables hold no edge that real Supervisors do not take."""
    walked: set[Edge] = set()
    with Agent() as agent:
        for lead in WALKS:
            walk = Walk(agent, kafka, names, supervisor_process, lead.__name__)
            lead(walk)
            walked |= walk.walked()
    for name in TABLES:
        assert {edge for edge in walked if edge[0] == name} == edges(name)
