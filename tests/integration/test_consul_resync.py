"""Adoption from a real agent's KV store, written as the platform's manager writes."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from uuid import uuid4

import pytest

from supervisor.agent import ConsulAgent, KvDirectory
from supervisor.errors import KafkaError
from supervisor.resync import Resync
from supervisor.route import Route
from supervisor.settings import Options, Settings
from supervisor.states import RouteState
from tests.services.agent import Agent, Consul


async def until(condition: Callable[[], object], deadline_s: float = 15.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end_s, "not so in time"
        await asyncio.sleep(0.02)


def keys_of(version: int, *, paused: str = "False") -> dict[str, str]:
    return {
        "desired_version": str(version),
        "adopted_version": "0",
        "incoming_stream": f"in.{version}",
        "outgoing_stream": f"out.{version}",
        "pause_stream": paused,
    }


def route_of(version: int, *, paused: bool = False) -> Route:
    return Route(version, f"in.{version}", f"out.{version}", paused=paused)


class Workspace:
    """A resync that runs, what it adopted, and the manager's side of the directory."""

    def __init__(self, consul: Consul, **more: str) -> None:
        environ = {"NODE_ID": f"node-{uuid4().hex[:8]}", "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": consul.dsn} | more
        if consul.token:
            environ["CONSUL_HTTP_TOKEN"] = consul.token
        self.consul = consul
        self.settings = Settings.load(environ, Options(program="cat"))
        self.agent = ConsulAgent(self.settings)
        self.adopted: list[Route | None] = []
        self.adoption: Callable[[Route | None], Awaitable[None]] | None = None
        self.resync = Resync(self.agent, self.settings, self._adopt, self._restart)

    async def _restart(self, why: str) -> None:
        pytest.fail(f"nobody asked for a restart: {why}")

    async def _adopt(self, route: Route | None) -> None:
        if self.adoption is not None:
            await self.adoption(route)
        self.adopted.append(route)

    def write(self, entries: Mapping[str, str | bytes]) -> None:
        """Write the keys one by one, in the order given."""
        for key, value in entries.items():
            self.consul.kv_put(f"{self.settings.kv_directory}/{key}", value)

    def read(self, key: str) -> bytes | None:
        """What the key holds now."""
        return self.consul.kv_get(f"{self.settings.kv_directory}/{key}")

    def delete(self) -> None:
        """Decommission the workspace."""
        self.consul.kv_delete(f"{self.settings.kv_directory}/", recurse=True)

    def provisioned(self, version: int) -> bool:
        """As the platform's interface sees it, and in force here."""
        adopted, desired = self.read("adopted_version"), self.read("desired_version")
        return adopted == desired == str(version).encode() and self.resync.route == route_of(version)


def scenario(workspace: Workspace, story: Callable[[Workspace], Coroutine[None, None, None]]) -> None:
    async def main() -> None:
        running = asyncio.create_task(workspace.resync.run())
        try:
            told = asyncio.create_task(story(workspace))
            await asyncio.wait({running, told}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            await told
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            workspace.agent.close()

    asyncio.run(main())


def test_keys_in_many_orders_end_provisioned_with_the_final_route(consul: Consul) -> None:
    """Each order as a new version of one workspace, with pauses of up to the time of settling."""
    orders = random.Random(7).sample(list(itertools.permutations(keys_of(1))), 12)

    async def story(it: Workspace) -> None:
        for version, order in enumerate(orders, 1):
            entries = keys_of(version)
            for key in order:
                await asyncio.to_thread(it.write, {key: entries[key]})
                await asyncio.sleep(random.uniform(0, 0.12))
            await until(partial(it.provisioned, version))
        assert it.resync.lifecycle.state is RouteState.IN_FORCE
        assert it.resync.adoption_delay_s is not None
        assert it.resync.adoption_delay_s < 5

    scenario(Workspace(consul), story)


def test_a_change_written_in_one_go_is_adopted_once_and_soon(consul: Consul) -> None:
    """No half of it is ever put in force."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(1))
        await until(lambda: it.provisioned(1))
        began_s = time.monotonic()
        await asyncio.to_thread(it.write, keys_of(2))
        await until(lambda: it.provisioned(2))
        assert time.monotonic() - began_s < 2
        assert it.adopted == [route_of(1), route_of(2)]

    scenario(Workspace(consul), story)


@pytest.mark.parametrize("late", ["incoming_stream", "outgoing_stream"])
def test_a_side_that_comes_late_is_never_joined_to_the_other_routes(consul: Consul, late: str) -> None:
    """The manager's last key takes its time, everything else of the new version is there."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(1))
        await until(lambda: it.provisioned(1))
        for version in range(2, 5):
            entries = keys_of(version)
            last = entries.pop(late)
            await asyncio.to_thread(it.write, entries)
            await asyncio.sleep(random.uniform(0.2, 1.2))
            await asyncio.to_thread(it.write, {late: last})
            await until(partial(it.provisioned, version))
        assert it.adopted == [route_of(version) for version in range(1, 5)]

    scenario(Workspace(consul), story)


def test_a_change_of_one_side_is_in_force_in_time_and_its_pause_at_once(consul: Consul) -> None:
    """Nothing tells it from half a change; 3 s are promised, and a pause waits for no stream."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(1))
        await until(lambda: it.provisioned(1))
        began_s = time.monotonic()
        await asyncio.to_thread(it.write, keys_of(2, paused="True") | {"outgoing_stream": "out.1"})
        await until(lambda: len(it.adopted) == 2)
        assert time.monotonic() - began_s < 1
        await until(lambda: it.read("adopted_version") == b"2")
        assert time.monotonic() - began_s < 3
        assert it.adopted == [route_of(1), route_of(1, paused=True), Route(2, "in.2", "out.1", paused=True)]

    scenario(Workspace(consul), story)


def test_a_late_zero_is_answered_with_the_version_again(consul: Consul) -> None:
    """However often, and without adopting anew."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(3))
        for _ in range(3):
            await until(lambda: it.provisioned(3))
            await asyncio.to_thread(it.write, {"adopted_version": "0"})
        await until(lambda: it.provisioned(3))
        assert it.adopted == [route_of(3)]

    scenario(Workspace(consul), story)


def test_a_larger_adopted_version_is_not_overwritten(consul: Consul) -> None:
    """It is a replica's."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(3) | {"adopted_version": "9"})
        await until(lambda: it.resync.lifecycle.state is RouteState.IN_FORCE)
        before = it.adopted.copy()
        await asyncio.to_thread(it.write, {"unknown": "1"})
        it.resync.look_now()
        await asyncio.sleep(0.3)
        assert it.read("adopted_version") == b"9"
        assert it.adopted == before == [route_of(3)]

    scenario(Workspace(consul), story)


def test_a_version_raised_while_adopting_is_what_is_reported(consul: Consul) -> None:
    """The overtaken one is never called adopted."""

    async def story(it: Workspace) -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()
        reported: list[str] = []
        cas = it.agent.kv_cas

        async def spy(key: str, value: str, modify_index: int) -> bool:
            reported.append(value)
            return await cas(key, value, modify_index)

        it.agent.kv_cas = spy  # type: ignore[method-assign]

        async def slow(_route: Route | None) -> None:
            begun.set()
            await go_on.wait()

        it.adoption = slow
        await asyncio.to_thread(it.write, keys_of(1))
        await begun.wait()
        assert it.resync.lifecycle.state is RouteState.ADOPTING
        await asyncio.to_thread(it.write, keys_of(2))
        go_on.set()
        await until(lambda: it.provisioned(2))
        assert it.adopted == [route_of(1), route_of(2)]
        assert reported == ["2"]

    scenario(Workspace(consul), story)


def test_a_restarted_supervisor_adopts_what_is_there(consul: Consul) -> None:
    """After a crash at any point, with the manager's zero still there or late."""
    first = Workspace(consul)

    async def story(it: Workspace) -> None:
        await until(lambda: it.provisioned(1))

    first.write(keys_of(1))
    scenario(first, story)
    first.write({"adopted_version": "0"})
    second = Workspace(consul, NODE_ID=first.settings.node_id)
    scenario(second, story)
    assert second.adopted == [route_of(1)]


def test_a_missing_directory_is_waited_for(consul: Consul) -> None:
    """Absent, not refused; seen at once when it comes."""

    async def story(it: Workspace) -> None:
        await until(lambda: it.resync.lifecycle.state is RouteState.ABSENT)
        assert it.adopted == []
        assert it.resync.problems == ()
        await asyncio.to_thread(it.write, keys_of(1))
        await until(lambda: it.provisioned(1), deadline_s=5)

    scenario(Workspace(consul), story)


def test_being_asked_looks_at_once_beside_the_blocking_query(consul: Consul) -> None:
    """As SIGHUP does; the query that waits is not given up."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(1))
        await until(partial(it.provisioned, 1))
        looked: list[int] = []
        look = it.agent.kv_directory

        async def spy(index: int, wait_s: float) -> KvDirectory:
            looked.append(index)
            return await look(index, wait_s)

        it.agent.kv_directory = spy  # type: ignore[method-assign]
        for count in range(1, 4):
            it.resync.look_now()
            await until(lambda count=count: looked.count(0) == count, deadline_s=5)  # type: ignore[misc]
        assert len([index for index in looked if index > 0]) <= 1

    scenario(Workspace(consul), story)


def test_a_deleted_directory_stops_the_streams_and_stays_deleted(consul: Consul) -> None:
    """And can come back."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(1))
        await until(lambda: it.provisioned(1))
        await asyncio.to_thread(it.delete)
        await until(lambda: it.resync.lifecycle.state is RouteState.ABSENT)
        assert it.adopted == [route_of(1), None]
        assert it.resync.route is None
        assert it.read("adopted_version") is None
        await asyncio.to_thread(it.write, keys_of(2))
        await until(lambda: it.provisioned(2))

    scenario(Workspace(consul), story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"desired_version": "eight"},
        {"incoming_stream": ""},
        {"outgoing_stream": "no/slashes"},
        {"pause_stream": "perhaps"},
        {"incoming_stream": b"\xff"},
    ],
)
def test_a_wrong_directory_is_refused_and_the_last_good_route_stays(
    consul: Consul, wrong: dict[str, str | bytes]
) -> None:
    """Until it is right again."""

    async def story(it: Workspace) -> None:
        await asyncio.to_thread(it.write, keys_of(7))
        await until(lambda: it.provisioned(7))
        await asyncio.to_thread(it.write, wrong)
        await until(lambda: it.resync.lifecycle.state is RouteState.REFUSED)
        assert it.resync.route == route_of(7)
        problems = list(it.resync.problems)
        assert len(problems) == 1
        assert next(iter(wrong)) in problems[0]
        await asyncio.to_thread(it.write, keys_of(7))
        await until(lambda: it.resync.lifecycle.state is RouteState.IN_FORCE and it.provisioned(7))
        assert not it.resync.problems
        assert it.adopted == [route_of(7)]

    scenario(Workspace(consul), story)


def test_an_adoption_that_failed_is_tried_again(consul: Consul) -> None:
    """Not reported before it succeeded; the route in force is the old one meanwhile."""

    async def story(it: Workspace) -> None:
        failures = 2

        async def failing(_route: Route | None) -> None:
            nonlocal failures
            if failures:
                failures -= 1
                raise KafkaError("broker says no")

        it.adoption = failing
        await asyncio.to_thread(it.write, keys_of(1))
        await until(lambda: it.resync.lifecycle.state is RouteState.REFUSED)
        assert it.resync.route is None
        assert it.read("adopted_version") == b"0"
        await until(lambda: it.provisioned(1))
        assert failures == 0

    scenario(Workspace(consul), story)


def test_a_lost_agent_changes_nothing_but_is_said() -> None:
    """The route stays; what changed meanwhile is adopted when the agent is back."""
    with Agent() as consul:

        async def story(it: Workspace) -> None:
            await asyncio.to_thread(it.write, keys_of(1))
            await until(lambda: it.provisioned(1))
            consul.kill()
            await until(lambda: it.resync.agent_error is not None)
            assert it.resync.route == route_of(1)
            assert it.resync.lifecycle.state is RouteState.IN_FORCE
            # A development agent forgets its store; for a moment there may be no directory.
            await asyncio.to_thread(consul.start)
            await asyncio.to_thread(it.write, keys_of(2))
            await until(lambda: it.provisioned(2))
            await until(lambda: it.resync.agent_error is None)

        scenario(Workspace(consul), story)


def test_replicas_race_for_the_report_and_agree(consul: Consul) -> None:
    """Compare-and-set: one writes, the others see it written."""
    one = Workspace(consul)
    other = Workspace(consul, NODE_ID=one.settings.node_id)

    async def story(it: Workspace) -> None:
        running = asyncio.create_task(other.resync.run())
        for version in range(1, 4):
            await asyncio.to_thread(it.write, keys_of(version))
            await until(partial(one.provisioned, version))
            await until(partial(other.provisioned, version))
        running.cancel()
        other.agent.close()

    scenario(one, story)
