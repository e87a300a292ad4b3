"""The rhythm of the heartbeat: under slow answers, under a wall clock that jumps, and what is said of its failures."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
import structlog

from supervisor.agent import ConsulAgent
from supervisor.health import CheckReport
from supervisor.registration import HEARTBEAT_S, TTL_S, Registration
from supervisor.resync import Resync
from supervisor.route import Route
from supervisor.settings import Options, Settings
from supervisor.states import RegistrationState
from tests.services.agent import Consul
from tests.services.fake_agent import Answer, Asked, FakeAgent

REPORTS = (CheckReport("passing", "records flow"), CheckReport("passing", "runs"))


class Node:
    """Registration and resync beside one agent, heartbeat and TTL in the real ones' proportion."""

    def __init__(self, consul: Consul, heartbeat_s: float) -> None:
        environ = {"NODE_ID": f"node-{uuid4().hex[:8]}", "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": consul.dsn}
        self.settings = Settings.load(environ | {"CONSUL_RESYNC_INTERVAL": "1s"}, Options(program="cat"))
        self.client = ConsulAgent(self.settings)
        self.ttl_s = heartbeat_s * TTL_S / HEARTBEAT_S
        self.registration = Registration(
            self.client, self.settings, lambda: REPORTS, ttl_s=self.ttl_s, heartbeat_s=heartbeat_s
        )
        self.adopted: list[Route | None] = []
        self.resync = Resync(self.client, self.settings, self._adopt, self._restart)

    async def _restart(self, why: str) -> None:
        pytest.fail(f"nobody asked for a restart: {why}")

    async def _adopt(self, route: Route | None) -> None:
        self.adopted.append(route)


def alive(node: Node, story: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        parts = [asyncio.create_task(part) for part in (node.registration.run(), node.resync.run())]
        try:
            await story()
            assert not any(part.done() for part in parts)
        finally:
            for part in parts:
                part.cancel()
                with suppress(asyncio.CancelledError):
                    await part
            await node.registration.deregister(1.0)
            node.client.close()

    asyncio.run(main())


async def until(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end_s, "not so in time"
        await asyncio.sleep(0.02)


def test_slow_answers_do_not_carry_the_next_heartbeat_beyond_the_ttl(consul: Consul) -> None:
    """Each answer takes most of a heartbeat: the rest is counted from start to start, not from end to start."""
    with FakeAgent(behind=consul) as agent:
        node = Node(agent, heartbeat_s=0.8)

        def slowly(asked: Asked) -> None:
            if asked.path.startswith("agent/"):
                agent.pause(0.7)

        async def story() -> None:
            await until(lambda: len(agent.asked("agent/service/register")) >= 2)  # the second brings the sentences
            agent.script = slowly
            began_s = time.monotonic()
            await until(lambda: len(agent.asked("agent/check/update", began_s)) >= 8, 20)
            for check_id in node.registration.check_ids:
                times_s = [asked.at_s for asked in agent.asked(f"agent/check/update/{check_id}", began_s)]
                # Two answers, 1.4 s; with a whole rest of 0.8 s behind them it would be 2.2 s, of a TTL of 2.4 s.
                assert all(later_s - earlier_s < 2.0 for earlier_s, later_s in itertools.pairwise(times_s)), times_s
            assert node.registration.lifecycle.state is RegistrationState.REGISTERED

        alive(node, story)


def test_a_wall_clock_that_jumps_moves_nothing(consul: Consul, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours and years, in both directions, at every look: heartbeats keep their rhythm, a change is adopted at once."""
    chance = random.Random(5)
    real_s = time.time
    monkeypatch.setattr(time, "time", lambda: real_s() + chance.choice((-1e9, -3600, 3600, 1e9)))
    monkeypatch.setattr(time, "time_ns", lambda: int(time.time() * 1e9))
    with FakeAgent(behind=consul) as agent:
        node = Node(agent, heartbeat_s=0.3)

        async def story() -> None:
            await until(lambda: node.registration.lifecycle.state is RegistrationState.REGISTERED)
            for version in (1, 2):
                for key, value in (("incoming_stream", "in"), ("desired_version", str(version))):
                    await asyncio.to_thread(consul.kv_put, f"{node.settings.kv_directory}/{key}", value)
                await until(lambda version=version: node.resync.adopted_version == version, 3)  # type: ignore[misc]
            began_s = time.monotonic()
            while time.monotonic() < began_s + 2.5:
                checks = await asyncio.to_thread(consul.checks, node.settings.service_name)
                assert {check["Status"] for check in checks} == {"passing"}
                await asyncio.sleep(0.1)
            beats = len(agent.asked(f"agent/check/update/{node.registration.check_ids[0]}", began_s))
            assert 5 <= beats <= 10

        alive(node, story)


def test_a_failure_is_kept_with_its_beginning_and_each_kind_is_logged_once() -> None:
    """Away, then refusing: two things to know. The same answer again and again is one."""
    refusing = Answer(403, b"Permission denied: token lacks permission 'service:write'")
    with FakeAgent(lambda _: Answer(500, b"internal error")) as agent:
        node = Node(agent, heartbeat_s=0.2)

        async def story() -> None:
            with structlog.testing.capture_logs() as lines:
                await until(lambda: len(agent.asked("agent/")) >= 4)
                assert node.registration.error is not None
                assert "answered 500 (internal error) when asked to register the service" in node.registration.error
                since_s = node.registration.error_since_s
                agent.script = lambda _: refusing
                await until(lambda: "answered 403" in str(node.registration.error))
                await until(lambda: len(_of(lines)) >= 2)
                assert node.registration.error_since_s == since_s
                agent.script = lambda _: Answer()
                await until(lambda: node.registration.error is None)
                assert node.registration.error_since_s is None
                assert node.registration.lifecycle.state is RegistrationState.REGISTERED
            said = _of(lines)
            assert ["answered 500" in said[0]["error"], "answered 403" in said[1]["error"]] == [True, True]
            assert "CONSUL_HTTP_TOKEN" in said[1]["error"]
            assert len(said) == 2

        alive(node, story)


def _of(lines: list[Any]) -> list[Mapping[str, Any]]:
    return [line for line in lines if line["event"] == "service cannot be registered"]
