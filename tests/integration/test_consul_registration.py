"""The service in a real agent, as the platform sees it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from uuid import uuid4

import pytest

from supervisor.agent import ConsulAgent
from supervisor.health import CheckReport
from supervisor.registration import Registration
from supervisor.settings import Options, Settings
from supervisor.states import RegistrationState
from tests.services.agent import Agent, Consul

REPORTS = (CheckReport("passing", "records flow"), CheckReport("warning", "restarted 2 s ago"))


async def until(condition: Callable[[], object], deadline_s: float = 15.0) -> None:
    """Wait for a condition; its own requests run in a thread, so that the loop goes on."""
    end_s = time.monotonic() + deadline_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end_s, "not so in time"
        await asyncio.sleep(0.05)


class Instance:
    """A registration that runs, its reports changeable."""

    def __init__(self, consul: Consul, *, ttl_s: float = 15.0, heartbeat_s: float = 5.0, **more: str) -> None:
        environ = {"NODE_ID": f"node-{uuid4().hex[:8]}", "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": consul.dsn} | more
        if consul.token:
            environ["CONSUL_HTTP_TOKEN"] = consul.token
        self.consul = consul
        self.settings = Settings.load(environ, Options(program="cat"))
        self.reports = REPORTS
        self.agent = ConsulAgent(self.settings)
        self.registration = Registration(
            self.agent, self.settings, lambda: self.reports, ttl_s=ttl_s, heartbeat_s=heartbeat_s
        )
        self.task: asyncio.Task[None] | None = None

    def checks(self) -> dict[str, tuple[str, str, str]]:
        """(Name, Status, Output) by the CheckID's last part."""
        return {
            check["CheckID"].rpartition(":")[2]: (check["Name"], check["Status"], check["Output"])
            for check in self.consul.checks(self.settings.service_name)
        }

    def healthy(self) -> bool:
        """Whether both checks show what is reported."""
        supervisor, calculator = self.reports
        return self.checks() == {
            "supervisor": ("Supervisor", supervisor.status, supervisor.output),
            "calculator": ("Calculator", calculator.status, calculator.output),
        }

    def state(self) -> RegistrationState:
        """Where the registration's lifecycle is."""
        return self.registration.lifecycle.state

    async def kill(self) -> None:
        """End without a word to the agent."""
        assert self.task is not None
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    async def stop(self, deadline_s: float = 1.0) -> None:
        """End as the daemon ends it."""
        await self.kill()
        await self.registration.deregister(deadline_s)


def scenario(instance: Instance, story: Callable[[Instance], Awaitable[None]]) -> None:
    async def main() -> None:
        instance.task = asyncio.create_task(instance.registration.run())
        try:
            await story(instance)
        finally:
            if not instance.task.done():
                instance.task.cancel()
            instance.agent.close()

    asyncio.run(main())


@pytest.fixture
def own_consul() -> Iterator[Agent]:
    """An agent of the test's own, to be killed."""
    with Agent() as agent:
        yield agent


def test_service_and_both_checks_are_there_and_gone_after_a_stop(consul: Consul) -> None:
    """Name, address, meta, and each check with its sentence; nothing is left."""

    async def story(it: Instance) -> None:
        await until(it.healthy)
        service = (await asyncio.to_thread(consul.services))[it.registration.service_id]
        assert service["Service"] == f"bdz-wsp-{it.settings.node_id}"
        assert service["Address"] == "10.1.2.3"
        assert service["Port"] == 8080
        assert service["Meta"]["node_id"] == it.settings.node_id
        assert service["Meta"]["pid"] == str(os.getpid())
        assert service["Meta"]["version"]
        assert it.state() is RegistrationState.REGISTERED
        await it.stop()
        await until(lambda: not it.checks())
        assert it.registration.service_id not in await asyncio.to_thread(consul.services)
        assert it.state() is RegistrationState.DEREGISTERED

    scenario(Instance(consul, CONSUL_ADVERTISE="10.1.2.3"), story)


def test_the_first_request_has_both_checks_with_their_status(consul: Consul) -> None:
    """No moment at which the service has no check, or one that says what is not so."""

    async def story(it: Instance) -> None:
        await it.kill()
        await it.agent.register(it.registration._definition("10.1.2.3"))
        await until(it.checks)
        assert it.checks() == {"supervisor": ("Supervisor", "passing", ""), "calculator": ("Calculator", "warning", "")}
        it.registration._asked = True
        await it.registration.deregister(1.0)

    scenario(Instance(consul), story)


def test_a_changed_status_is_reported_at_once(consul: Consul) -> None:
    """Long before the next heartbeat."""

    async def story(it: Instance) -> None:
        await until(it.healthy)
        assert not it.registration.out_of_date()
        it.reports = (CheckReport("critical", "no route"), CheckReport("passing", "runs"))
        assert it.registration.out_of_date()
        it.registration.poke()
        await until(it.healthy, deadline_s=5)
        assert not it.registration.out_of_date()
        await it.stop()
        assert not it.registration.out_of_date()

    scenario(Instance(consul, ttl_s=120, heartbeat_s=60), story)


def test_a_changed_sentence_reaches_the_catalogue_in_time(consul: Consul, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent by itself keeps it back for minutes while the status is the same."""
    monkeypatch.setattr("supervisor.registration.PUBLISH_EVERY_S", 1.0)

    async def story(it: Instance) -> None:
        for sentence in ("one", "two", "three"):
            it.reports = (CheckReport("passing", sentence), CheckReport("passing", "runs"))
            await until(it.healthy, deadline_s=5)
        await it.stop()

    scenario(Instance(consul, heartbeat_s=0.3), story)


def test_heartbeats_keep_the_checks_alive_and_their_end_turns_them_critical(consul: Consul) -> None:
    """What a SIGKILL leaves behind speaks the truth after the TTL."""

    async def story(it: Instance) -> None:
        await until(it.healthy)
        end_s = time.monotonic() + 2.5
        while time.monotonic() < end_s:
            assert it.healthy()
            await asyncio.sleep(0.1)
        await it.kill()
        await until(lambda: {status for _, status, _ in it.checks().values()} == {"critical"})
        await it.registration.deregister(1.0)

    scenario(Instance(consul, ttl_s=1, heartbeat_s=0.3), story)


def test_a_service_deregistered_behind_our_back_comes_back(consul: Consul) -> None:
    """The next heartbeat's answer tells."""

    async def story(it: Instance) -> None:
        await until(it.healthy)
        consul.request("PUT", f"agent/service/deregister/{it.registration.service_id}", {})
        await until(it.healthy)
        await it.stop()

    scenario(Instance(consul, heartbeat_s=0.5), story)


def test_a_check_deregistered_behind_our_back_comes_back(consul: Consul) -> None:
    """Either of the two."""

    async def story(it: Instance) -> None:
        for check_id in it.registration.check_ids:
            await until(it.healthy)
            consul.request("PUT", f"agent/check/deregister/{check_id}", {})
            await until(it.healthy)
        await it.stop()

    scenario(Instance(consul, heartbeat_s=0.5), story)


def test_an_agent_that_came_back_empty_has_the_service_again(own_consul: Agent) -> None:
    """Killed, started again with empty state."""

    async def story(it: Instance) -> None:
        await until(it.healthy)
        own_consul.kill()
        await until(lambda: it.registration.lifecycle.state is RegistrationState.LOST)
        await asyncio.to_thread(own_consul.start)
        await until(it.healthy)
        assert it.registration.lifecycle.state is RegistrationState.REGISTERED
        await it.stop()
        await until(lambda: not it.checks())

    scenario(Instance(own_consul, heartbeat_s=0.5), story)


def test_any_answer_of_a_restored_agent_registers_at_once(own_consul: Agent) -> None:
    """Not only that to a heartbeat, which may be long in coming."""

    async def story(it: Instance) -> None:
        await until(it.healthy)
        own_consul.kill()
        with suppress(Exception):
            await it.agent.kv_directory(0, 0)
        await asyncio.to_thread(own_consul.start)
        await it.agent.kv_directory(0, 0)
        await until(it.healthy, deadline_s=5)
        await it.stop()

    scenario(Instance(own_consul, ttl_s=120, heartbeat_s=60), story)


def test_a_stop_without_an_agent_is_bounded(own_consul: Agent) -> None:
    """Said in the log, and gone on."""

    async def story(it: Instance) -> None:
        await until(it.healthy)
        own_consul._service.send(signal.SIGSTOP)
        began_s = time.monotonic()
        await it.stop(deadline_s=0.5)
        assert time.monotonic() - began_s < 1.5
        assert it.state() is RegistrationState.DEREGISTERED

    scenario(Instance(own_consul), story)


def test_a_critical_check_of_a_living_instance_is_registered_anew_in_time(consul: Consul) -> None:
    """An agent deregisters after a minute what is critical, and registering begins that minute anew."""

    async def story(it: Instance) -> None:
        it.reports = (CheckReport("critical", "no route"), CheckReport("passing", "runs"))
        it.registration._renew_critical_after_s = 0.4
        await until(it.healthy)
        first_s = it.registration._registered_at_s
        await until(lambda: it.registration._registered_at_s > first_s)
        assert it.healthy()
        await it.stop()

    scenario(Instance(consul, heartbeat_s=0.2), story)


def test_replicas_of_one_node_have_services_of_their_own(consul: Consul) -> None:
    """One name, two IDs."""
    one, other = Instance(consul, NODE_ID="twin"), Instance(consul, NODE_ID="twin")
    assert one.settings.service_name == other.settings.service_name
    assert one.registration.service_id != other.registration.service_id
