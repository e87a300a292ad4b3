"""Trouble with the agent while records flow: they go on, it is said, and all is right one heartbeat after its end."""

from __future__ import annotations

import itertools
import re
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from supervisor.registration import HEARTBEAT_S
from tests.conftest import Names
from tests.services.agent import Agent, Consul
from tests.services.fake_agent import Answer, Asked, FakeAgent, Script
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]

# The heartbeat itself, its two requests, an agent's bringing it to the catalogue, and our own looking.
BACK_WITHIN_S = HEARTBEAT_S + 1.5
SINCE = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
GOES_ON = r"; records go on by the last good route \(version 1, '[^']+' to '[^']+'\)\.$"


class Workspace:
    """A Supervisor whose records flow, the topics, and what the platform sees of it by ``consul``."""

    def __init__(self, kafka: Kafka, names: Names, start: Start, consul: Consul, agent: Consul, **env: str) -> None:
        self._kafka = kafka
        self._consul = consul
        self._incoming, self._outgoing = (kafka.create_topic(names.topic(role)) for role in ("in", "out"))
        self._numbers = itertools.count()
        self._sent: list[str] = []
        self.manager = Manager(consul, names.node_id)
        self.manager.route(self._incoming, self._outgoing)
        self.process = start(("cat",), consul=agent, env={"CONSUL_RESYNC_INTERVAL": "1s"} | env)
        self.process.wait_ready()
        self.service = f"bdz-wsp-{names.node_id}"
        self.pid = self.process.status()["calculator_pid"]
        self.flows()
        self.assert_well()

    def flows(self) -> None:
        """Ten records more go through, now."""
        values = [str(next(self._numbers)) for _ in range(10)]
        self._kafka.produce(self._incoming, [value.encode() for value in values])
        self._sent += values
        self.process.wait_counter("outlet", "lines_delivered", len(self._sent), deadline_s=5)

    def said(self, part: str = "supervisor") -> str:
        """The check's sentence, from the Supervisor itself."""
        sentence: str = self.process.status()["checks"][part]["output"]
        return sentence

    def wait_said(self, pattern: str) -> None:
        """Wait until the Supervisor's sentence is like that."""
        self.process.wait_status(
            lambda status: bool(re.search(pattern, status["checks"]["supervisor"]["output"])), pattern, 20
        )

    def checks(self) -> dict[str, dict[str, Any]]:
        """What the platform is shown: the checks by their names."""
        return {check["Name"]: check for check in self._consul.checks(self.service)}

    def well(self) -> bool:
        """Registered, both checks passing, nothing wrong with the agent."""
        status = self.process.status()
        try:
            checks = self.checks()
        except (OSError, ValueError):
            return False
        return (
            {name: check["Status"] for name, check in checks.items()}
            == {"Supervisor": "passing", "Calculator": "passing"}
            and status["registration"] == "registered"
            and status["agent_error"] is None
            and status["registration_error"] is None
        )

    def assert_well(self, since_s: float | None = None, within_s: float = BACK_WITHIN_S) -> None:
        """Wait until it is well again, not longer than a heartbeat from ``since_s``; the Calculator is the same."""
        end_s = (since_s or time.monotonic()) + within_s
        while not self.well():
            assert time.monotonic() < end_s, f"{self.process.status()}\n{self.checks()}\n{self.process.log_text(40)}"
            time.sleep(0.05)
        status = self.process.status()
        assert (status["calculator_pid"], status["restarts"]) == (self.pid, 0)

    def assert_all_arrived(self, persistence: Callable[[str], Persistence]) -> None:
        """Each record once, in order."""
        assert [frame.value for frame in persistence(self._outgoing).read(len(self._sent))] == self._sent


def service_id(workspace: Workspace, agent: Consul) -> str:
    return next(key for key, service in agent.services().items() if service["Service"] == workspace.service)


@contextmanager
def agents() -> Iterator[tuple[Agent, Agent]]:
    """A server that keeps its store, and beside it an agent without one, as a node of the platform has it."""
    with Agent(lasting=True) as server, Agent(member_of=server) as agent:
        yield server, agent


def wait_answers(agent: Consul) -> float:
    """Wait until the agent answers a look at the store; when that was."""
    end_s = time.monotonic() + 20
    while True:
        try:
            agent.kv_get("anything")
            return time.monotonic()
        except (OSError, urllib.error.HTTPError):
            assert time.monotonic() < end_s
            time.sleep(0.05)


def test_a_real_agent_in_every_trouble(
    kafka: Kafka, names: Names, supervisor_process: Start, persistence: Callable[[str], Persistence]
) -> None:
    """Deregistered behind our back, without a leader, frozen, killed and empty again after a while."""
    with agents() as (server, agent):
        it = Workspace(kafka, names, supervisor_process, agent, agent)

        for what in ("service/deregister/{}", "check/deregister/{}:supervisor", "check/deregister/{}:calculator"):
            agent.request("PUT", "agent/" + what.format(service_id(it, agent)), {})
            began_s = time.monotonic()
            _until(lambda: len(agent.get("agent/checks")) == 2, began_s + BACK_WITHIN_S)
            # Passing from the first moment on: that it was not there is not true any more.
            assert {check["Status"] for check in agent.get("agent/checks").values()} == {"passing"}
            it.assert_well(began_s)
        why = it.process.wait_log("registration lost")["why"]
        assert re.search(r"answered 404 \(.*\) when asked to update the check '.*'; the agent does not know it$", why)
        it.flows()

        # No leader: the agent answers for itself, and passes on what is wrong.
        server.kill()
        it.wait_said(f"^Trouble with the Consul agent {SINCE}: Consul agent at .* answered 500 .*{GOES_ON}")
        it.flows()
        check = f"{service_id(it, agent)}:supervisor"
        _until(lambda: agent.get("agent/checks")[check]["Status"] == "warning", time.monotonic() + BACK_WITHIN_S)
        assert "answered 500" in agent.get("agent/checks")[check]["Output"]
        server.start()
        it.assert_well(wait_answers(agent))
        assert it.process.wait_log("configuration cannot be read")["meanwhile"] == "version 1 stays in force"
        it.process.wait_log("configuration can be read again")

        # Slow beyond every timeout: nothing is refused, nothing answered.
        agent.send(signal.SIGSTOP)
        it.wait_said(
            f"^(Trouble with the Consul agent|The service in Consul is not renewed,?) {SINCE}.*no answer in time"
        )
        it.flows()
        agent.send(signal.SIGCONT)
        it.assert_well(wait_answers(agent))

        # Gone, and empty when it comes back: it knows neither service nor checks, and the catalogue forgets them.
        agent.kill(forget=True)
        it.wait_said(f"^Trouble with the Consul agent {SINCE}: .*connection refused, when asked to .*{GOES_ON}")
        it.process.wait_status(lambda status: status["registration"] == "lost", "lost")
        it.flows()
        # A route that came while nobody here could read it is adopted with the rest.
        server.kv_put(f"{it.manager.directory}/adopted_version", "0")
        server.kv_put(f"{it.manager.directory}/desired_version", "2")
        agent.start()
        answered_s = wait_answers(agent)
        it.assert_well(answered_s)
        it.manager.wait_adopted(2, deadline_s=answered_s + BACK_WITHIN_S - time.monotonic())
        it.flows()
        it.assert_all_arrived(persistence)
        assert it.process.terminate() == 0
        assert not agent.services()


def test_a_token_that_expired_and_is_replaced(
    kafka: Kafka, names: Names, supervisor_process: Start, tmp_path: Path
) -> None:
    """The file is written anew some time after its token was worth nothing any more."""
    rules = 'key_prefix "buldozer/" { policy = "write" } service_prefix "bdz-wsp-" { policy = "write" }'
    with Agent.with_acl(str(uuid4())) as agent:
        old, new = (agent.make_token(f'{rules} node_prefix "" {{ policy = "read" }}') for _ in range(2))
        file = tmp_path / "token"
        file.write_text(old)
        given = {"CONSUL_HTTP_TOKEN": "", "CONSUL_HTTP_TOKEN_FILE": str(file)}
        it = Workspace(kafka, names, supervisor_process, agent, agent, **given)
        agent.delete_token(old)
        it.wait_said(f"^Trouble with the Consul agent {SINCE}: .*answered 403 .*CONSUL_HTTP_TOKEN_FILE{GOES_ON}")
        it.process.wait_status(lambda status: status["registration"] == "lost", "lost")
        assert "answered 403" in it.process.wait_log("registration lost")["why"]
        it.flows()
        file.write_text(new)
        it.assert_well(time.monotonic())
        it.flows()
        assert old not in it.process.log_text() + it.said()
        assert new not in it.process.log_text() + it.said()


def _until(condition: Callable[[], object], end_s: float) -> None:
    while not condition():
        assert time.monotonic() < end_s, "not so in time"
        time.sleep(0.05)


def test_an_agent_that_answers_wrongly(
    kafka: Kafka, consul: Consul, names: Names, supervisor_process: Start, persistence: Callable[[str], Persistence]
) -> None:
    """Everything it says is wrong for a while; afterwards a real one answers at the same address."""
    index = {"X-Consul-Index": "5"}
    troubles: dict[str, tuple[Script, str]] = {
        "errors": (lambda _: Answer(500, b"internal error"), r"answered 500 \(internal error\)"),
        "a limit": (lambda _: Answer(429, b"rate limit"), r"answered 429 \(rate limit\)"),
        "a portal": (lambda _: Answer(body=b"<html>", headers=index), "answered 200 as no Consul agent does"),
        "an empty list": (lambda _: Answer(body=b"[]", headers=index), "answered 200 as no Consul agent does"),
        "wrong types": (
            lambda _: Answer(body=b'[{"Key": 7, "Value": [], "ModifyIndex": {}}]', headers=index),
            "answered 200 as no Consul agent does",
        ),
        "half": (lambda _: Answer(body=b"[" * 500, headers=index, cut_at=250), "the connection broke"),
        "much": (lambda _: Answer(body=b"[" * (1 << 20), times=64, headers=index), "answer is over 4 MiB"),
    }
    with FakeAgent(behind=consul) as agent:
        it = Workspace(kafka, names, supervisor_process, consul, agent)
        for script, reason in troubles.values():
            agent.script = script
            it.wait_said(f"^Trouble with the Consul agent {SINCE}: .*{reason}.*{GOES_ON}")
            it.flows()
            agent.script = _forwards
            it.assert_well(time.monotonic())
        it.assert_all_arrived(persistence)
        it.manager.decommission()


def _forwards(_: Asked) -> None:
    return None


def test_an_agent_that_is_slow(kafka: Kafka, consul: Consul, names: Names, supervisor_process: Start) -> None:
    """It answers after a minute: given up each time, asked no oftener than once at a time, and right when it is well.

    The requests of the slow time are never answered within the test.
    """
    with FakeAgent(behind=consul) as agent:
        it = Workspace(kafka, names, supervisor_process, consul, agent)
        agent.script = lambda _: Answer(delay_s=60)
        began_s = time.monotonic()
        it.wait_said(f"(Consul agent|not renewed) {SINCE}.*no answer in time")
        it.flows()
        assert len(agent.asked(since_s=began_s)) <= 8
        agent.script = _forwards
        it.assert_well(time.monotonic())
        it.manager.decommission()
