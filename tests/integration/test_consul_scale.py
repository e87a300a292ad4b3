"""One agent for many instances, as on a node of a large cluster."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from supervisor.agent import ConsulAgent
from supervisor.health import CheckReport
from supervisor.registration import HEARTBEAT_S, TTL_S, Registration
from supervisor.settings import Options, Settings
from supervisor.states import RegistrationState
from tests.services.agent import Agent, Consul

INSTANCES = 400
REPORTS = (CheckReport("passing", "records flow"), CheckReport("passing", "it runs"))


class Many:
    """So many registrations in one process; ``beats`` has the time of each update of a check."""

    def __init__(self, consul: Consul, prefix: str) -> None:
        self.beats: list[float] = []
        self.agents: list[ConsulAgent] = []
        self.registrations: list[Registration] = []
        for number in range(INSTANCES):
            environ = {"NODE_ID": f"{prefix}-{number}", "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": consul.dsn}
            settings = Settings.load(environ, Options(program="cat"))
            agent = ConsulAgent(settings)
            self.agents.append(agent)
            self.registrations.append(Registration(agent, settings, self._facts))

    def _facts(self) -> tuple[CheckReport, CheckReport]:
        return REPORTS

    def count_beats(self) -> None:
        """Note when each check is updated from now on."""
        for agent in self.agents:
            update = agent.ttl_update

            async def counted(check_id: str, status: str, output: str, update: object = update) -> None:
                self.beats.append(time.monotonic())
                await update(check_id, status, output)  # type: ignore[operator]  # the agent's own

            agent.ttl_update = counted  # type: ignore[method-assign]

    def registered(self) -> int:
        """How many are."""
        return sum(one.lifecycle.state is RegistrationState.REGISTERED for one in self.registrations)


@pytest.fixture
def consul() -> Iterator[Agent]:
    """An agent that takes so many connections from one address, as docs/OPERATING.md says; by default it takes 200."""
    with Agent({"limits": {"http_max_conns_per_client": 10 * INSTANCES}}) as agent:
        yield agent


@pytest.mark.timeout(180)
def test_eight_hundred_checks_on_one_agent_do_not_flap(consul: Agent) -> None:
    """Heartbeats are spread, and stay so when all instances register again at the same moment."""
    prefix = f"many-{time.monotonic_ns()}"

    def critical() -> list[str]:
        return [check["CheckID"] for check in consul.get("health/state/critical") if prefix in check["ServiceName"]]

    async def main() -> None:
        many = Many(consul, prefix)
        many.count_beats()
        tasks = [asyncio.create_task(one.run()) for one in many.registrations]
        try:
            end_s = time.monotonic() + 60
            while many.registered() < INSTANCES:
                assert time.monotonic() < end_s, f"{many.registered()} are registered"
                await asyncio.sleep(0.1)
            for agent in many.agents:  # each was away and is there again
                for restored in agent.on_restored:
                    restored()
            await asyncio.sleep(HEARTBEAT_S)
            end_s = time.monotonic() + TTL_S + 2
            while time.monotonic() < end_s:
                assert await asyncio.to_thread(critical) == []
                await asyncio.sleep(1)
            assert many.registered() == INSTANCES
            last = many.beats[-1]
            bins = Counter(int((last - beat) * 2) for beat in many.beats if last - beat < HEARTBEAT_S)
            assert sum(bins.values()) >= INSTANCES * 2 * 0.9, "each check is updated every five seconds"
            assert max(bins.values()) < 2 * sum(bins.values()) / len(bins), bins
            assert len(bins) == HEARTBEAT_S * 2, "at all times"
        finally:
            for task in tasks:
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*(one.deregister(20.0) for one in many.registrations))
            for agent in many.agents:
                agent.close()

    asyncio.run(main())
