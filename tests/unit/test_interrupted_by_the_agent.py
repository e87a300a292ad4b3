"""Route and registration, with the agent failing at any one of its calls, and the task cancelled in any one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import cast

import pytest

from supervisor.agent import ConsulAgent, KvDirectory
from supervisor.errors import AgentUnavailableError, KafkaError
from supervisor.health import CheckReport
from supervisor.registration import Registration
from supervisor.resync import Resync
from supervisor.route import Route
from supervisor.settings import Options, Settings
from supervisor.states import RegistrationState, RouteState

SETTINGS = Settings.load({"NODE_ID": "w1", "KAFKA_DSN": "h:1", "CONSUL_RESYNC_INTERVAL": "200ms"}, Options("cat"))
CALLS = 40
"""More than any of the walks below makes while it changes something."""

DEADLINE_S = 20.0


class Agent:
    """A KV directory and the services, in memory. Its ``at``-th call is disturbed."""

    def __init__(self, at: int, disturb: Callable[[], None], *, after: bool = False) -> None:
        self.on_restored: list[Callable[[], None]] = []
        self.entries: dict[str, bytes] = {}
        self.services: dict[str, Mapping[str, object]] = {}
        self.index = 1
        self.calls = 0
        self._indexes: dict[str, int] = {}
        self._at = at
        self._disturb = disturb
        self._after = after

    def write(self, **values: str | None) -> None:
        """As the manager does, or all at once."""
        for key, value in values.items():
            self.index += 1
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = value.encode()
                self._indexes[key] = self.index

    @contextlib.asynccontextmanager
    async def _called(self) -> AsyncIterator[None]:
        self.calls += 1
        mine = self.calls == self._at
        await asyncio.sleep(0)
        if mine and not self._after:
            self._disturb()
            await asyncio.sleep(0)
        yield
        if mine and self._after:
            self._disturb()
            await asyncio.sleep(0)

    async def kv_directory(self, index: int, wait_s: float) -> KvDirectory:
        """A blocking query, by looking often."""
        end_s = asyncio.get_running_loop().time() + wait_s
        while index >= self.index and asyncio.get_running_loop().time() < end_s:  # noqa: ASYNC110 - as an agent
            await asyncio.sleep(0.01)
        async with self._called():
            return KvDirectory(self.index, dict(self.entries) or None, dict(self._indexes))

    async def kv_cas(self, key: str, value: str, modify_index: int) -> bool:
        """Write if nobody did since."""
        async with self._called():
            if (self._indexes.get(key, 0) if key in self.entries else 0) != modify_index:
                return False
            self.write(**{key: value})
            return True

    async def register(self, definition: Mapping[str, object]) -> None:
        """As asked."""
        async with self._called():
            self.services[str(definition["ID"])] = definition

    async def ttl_update(self, check_id: str, status: str, output: str) -> None:
        """Of a service that is there."""
        async with self._called():
            if check_id.rpartition(":")[0] not in self.services:
                raise AgentUnavailableError("unknown check")

    async def deregister(self, service_id: str) -> None:
        """Gone, whether it was there or not."""
        async with self._called():
            self.services.pop(service_id, None)

    async def own_address(self) -> str:
        """Any."""
        return "127.0.0.1"


def fail() -> None:
    raise AgentUnavailableError("the agent is away for a moment")


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 - a condition outside asyncio
            await asyncio.sleep(0.01)


class Follower:
    """A resync with what it put in force; ``refusals`` adoptions fail first."""

    def __init__(self, agent: Agent, refusals: int = 0) -> None:
        self.in_force: Route | None = None
        self._refusals = refusals
        self.resync = Resync(cast("ConsulAgent", agent), SETTINGS, self._adopt, self._restart)
        self.running = asyncio.create_task(self.resync.run())

    async def _restart(self, why: str) -> None:
        pytest.fail(f"nobody asked for a restart: {why}")

    async def _adopt(self, route: Route | None) -> None:
        await asyncio.sleep(0)
        if self._refusals:
            self._refusals -= 1
            raise KafkaError("not now")
        self.in_force = route

    async def stop(self) -> None:
        """Cancel it; nothing but that may come of it."""
        self.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.running


async def follow(agent: Agent, follower: Follower) -> None:
    """Routed, changed, decommissioned: each is followed to its end."""
    for version in ("1", "2"):
        agent.write(desired_version=version, incoming_stream=f"in{version}", outgoing_stream="out", adopted_version="0")
        await until(lambda version=version: agent.entries.get("adopted_version") == version.encode())  # type: ignore[misc]
        await until(lambda: follower.resync.lifecycle.state is RouteState.IN_FORCE)
        assert follower.in_force == Route(int(version), f"in{version}", "out", paused=False)
    agent.write(**dict.fromkeys(list(agent.entries)))
    await until(lambda: follower.resync.lifecycle.state is RouteState.ABSENT)
    assert follower.in_force is None


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_route_is_followed_whichever_call_fails(after: bool) -> None:
    """Before it had an effect, or with its answer lost; while an adoption fails too."""

    async def one(at: int) -> int:
        agent = Agent(at, fail, after=after)
        follower = Follower(agent, refusals=at % 2)
        await follow(agent, follower)
        await follower.stop()
        return agent.calls

    async def main() -> None:
        calls = await asyncio.gather(*(one(at) for at in range(1, CALLS)))
        assert min(calls) > 10

    asyncio.run(main())


def test_the_route_is_followed_by_the_next_one_whichever_call_was_cancelled() -> None:
    """What is in the directory is enough for the next process, wherever this one ended."""

    async def one(at: int) -> None:
        follower: Follower | None = None

        def cancel() -> None:
            assert follower is not None
            follower.running.cancel()

        agent = Agent(at, cancel)
        follower = Follower(agent)
        following = asyncio.create_task(follow(agent, follower))
        await asyncio.wait({follower.running, following}, return_when=asyncio.FIRST_COMPLETED)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await follower.stop()
        after = Follower(agent)
        await follow(agent, after)
        await after.stop()

    async def main() -> None:
        await asyncio.gather(*(one(at) for at in range(1, CALLS)))

    asyncio.run(main())


def registration_of(agent: Agent) -> Registration:
    reports = (CheckReport("passing", "a"), CheckReport("passing", "b"))
    return Registration(cast("ConsulAgent", agent), SETTINGS, lambda: reports, heartbeat_s=0.02)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_service_is_there_whichever_call_fails(after: bool) -> None:
    """And gone after the end, but for the call that would remove it."""

    async def one(at: int) -> None:
        agent = Agent(at, fail, after=after)
        registration = registration_of(agent)
        running = asyncio.create_task(registration.run())
        await until(lambda: agent.calls > at + 3 and registration.lifecycle.state is RegistrationState.REGISTERED)
        assert list(agent.services) == [registration.service_id]
        running.cancel()
        await asyncio.wait({running})
        await registration.deregister(1.0)
        assert registration.lifecycle.state is RegistrationState.DEREGISTERED
        assert agent.services == {}

    async def main() -> None:
        await asyncio.gather(*(one(at) for at in range(1, 12)))

    asyncio.run(main())


def test_nothing_is_left_whichever_call_was_cancelled() -> None:
    """A stop in the middle of a registration removes what may have come of it."""

    async def one(at: int, after: bool) -> None:
        running: asyncio.Task[None] | None = None

        def cancel() -> None:
            assert running is not None
            running.cancel()

        agent = Agent(at, cancel, after=after)
        registration = registration_of(agent)
        running = asyncio.create_task(registration.run())
        await asyncio.wait({running}, timeout=DEADLINE_S)
        assert running.cancelled()
        await registration.deregister(1.0)
        assert registration.lifecycle.state is RegistrationState.DEREGISTERED
        assert agent.services == {}

    async def main() -> None:
        await asyncio.gather(*(one(at, after) for at in range(1, 12) for after in (False, True)))

    asyncio.run(main())
