"""The rules of blocking queries and the bound on their rate, against an agent that follows a script."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from supervisor.agent import ConsulAgent
from supervisor.registration import HEARTBEAT_S
from supervisor.resync import AGENT_BACKOFF_MAX_S, LOOKS_AT_ONCE, LOOKS_PER_S, Resync
from supervisor.route import Route
from supervisor.settings import Options, Settings
from tests.services.fake_agent import Answer, Asked, FakeAgent, directory

UNDER = "buldozer/subordinate/node"


def keys(version: int) -> dict[str, str]:
    return {
        "desired_version": str(version),
        "adopted_version": str(version),
        "incoming_stream": f"in.{version}",
        "outgoing_stream": f"out.{version}",
    }


def route(version: int) -> Route:
    return Route(version, f"in.{version}", f"out.{version}", paused=False)


class Store:
    """A KV directory with an index; a blocking query waits until the index is another one than it waits beyond.

    ``told_index`` is what the answers say, if it is not the store's own.
    """

    def __init__(self) -> None:
        self.version: int | None = 1
        self.index = 100
        self.told_index: int | None = None
        self.changed = threading.Condition()

    def change(self, version: int | None, index: int) -> None:
        """Write."""
        with self.changed:
            self.version, self.index = version, index
            self.changed.notify_all()

    def answer(self, asked: Asked) -> Answer:
        """The script."""
        with self.changed:
            if asked.index is not None:
                wait_s = int(asked.query["wait"].removesuffix("ms")) / 1000
                self.changed.wait_for(lambda: self.index != asked.index, wait_s)
            index = self.index if self.told_index is None else self.told_index
            if self.version is None:
                return Answer(404, headers={"X-Consul-Index": str(index)})
            return directory(index, keys(self.version), UNDER)


class Watching:
    """A resync that runs against the fake agent, and what it adopted."""

    def __init__(self, fake: FakeAgent, **more: str) -> None:
        environ = {"NODE_ID": "node", "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": fake.dsn} | more
        settings = Settings.load(environ, Options(program="cat"))
        self.fake = fake
        self.client = ConsulAgent(settings)
        self.adopted: list[Route | None] = []
        self.resync = Resync(self.client, settings, self._adopt, self._restart)

    async def _restart(self, why: str) -> None:
        pytest.fail(f"nobody asked for a restart: {why}")

    async def _adopt(self, adopted: Route | None) -> None:
        self.adopted.append(adopted)

    def watched(self) -> list[int]:
        """What the blocking queries so far waited beyond."""
        return [asked.index for asked in self.fake.asked() if asked.index is not None]


def watch(script: Callable[[Asked], Answer], story: Callable[[Watching], Awaitable[None]], **more: str) -> None:
    async def main(fake: FakeAgent) -> None:
        it = Watching(fake, **more)
        running = asyncio.create_task(it.resync.run())
        try:
            await story(it)
            assert not running.done()
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            it.client.close()

    with FakeAgent(script) as fake:
        asyncio.run(main(fake))


async def until(condition: Callable[[], object], deadline_s: float = 10.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "not so in time"
        await asyncio.sleep(0.01)


async def assert_rate_bounded(it: Watching, observed_s: float = 2.0) -> None:
    """The churn uses the burst up, and no more than the bucket's rate beyond it."""
    began_s = time.monotonic()
    await until(lambda: len(it.fake.asked()) >= LOOKS_AT_ONCE)
    await asyncio.sleep(observed_s)
    # Looks, and what each may bring about beside itself: the query that stays when one is asked for meanwhile.
    assert len(it.fake.asked()) <= LOOKS_AT_ONCE + LOOKS_PER_S * (time.monotonic() - began_s) + 3


def test_an_index_that_goes_backwards_is_begun_anew() -> None:
    """A restored snapshot: with the old index the query would wait for a change that was long ago."""
    store = Store()

    async def story(it: Watching) -> None:
        await until(lambda: it.watched() == [100])
        store.change(2, 40)
        await until(lambda: it.adopted == [route(1), route(2)])
        await until(lambda: it.watched()[-1] == 40)
        assert it.watched() == [100, 40]
        # With nothing to adopt it shows: read anew without an index, then wait beyond the index of that.
        store.change(2, 20)
        await until(lambda: it.watched()[-1] == 20)
        assert [asked.index for asked in it.fake.asked()][-3:] == [40, None, 20]

    watch(store.answer, story)


def test_an_index_of_zero_never_becomes_a_query_that_does_not_block() -> None:
    """Below 1 a query is answered at once; the change is seen all the same, and the rate has its bound."""
    store = Store()
    store.told_index = 0

    async def story(it: Watching) -> None:
        await assert_rate_bounded(it, observed_s=1.0)
        assert min(it.watched()) >= 1
        store.change(2, 0)
        await until(lambda: it.adopted[-1] == route(2))

    watch(store.answer, story)


def test_data_that_changed_under_the_same_index_is_seen_within_the_interval() -> None:
    """The data decides, not the index alone."""
    store = Store()

    async def story(it: Watching) -> None:
        await until(lambda: it.watched() == [100])
        store.version = 2
        await until(lambda: it.adopted == [route(1), route(2)], deadline_s=3)

    watch(store.answer, story, CONSUL_RESYNC_INTERVAL="1s")


def test_a_thundering_index_without_a_change_costs_a_bounded_rate_and_nothing_else() -> None:
    """Each query is answered at once with a larger index and the same data."""
    index = itertools.count(100)

    async def story(it: Watching) -> None:
        await assert_rate_bounded(it)
        assert it.adopted == [route(1)]
        assert all(asked.method == "GET" for asked in it.fake.asked())

    watch(lambda _: directory(next(index), keys(1), UNDER), story)


def test_data_that_never_comes_to_rest_costs_a_bounded_rate_and_is_adopted_all_the_same() -> None:
    """The looks of the settling count too."""
    version = itertools.count(1)

    def script(asked: Asked) -> Answer:
        if asked.method == "PUT":
            return Answer(body=b"true")
        number = next(version)
        return directory(100 + number, keys(number) | {"adopted_version": "0"}, UNDER)

    async def story(it: Watching) -> None:
        await assert_rate_bounded(it, observed_s=4.0)
        assert it.adopted
        assert it.adopted == sorted(it.adopted, key=lambda adopted: adopted.version if adopted else 0)

    watch(script, story)


def test_neighbours_writes_wake_the_query_for_a_missing_directory_at_a_bounded_rate() -> None:
    """404 with an index that rises: there is nothing to stop and nothing to adopt."""
    index = itertools.count(7)

    async def story(it: Watching) -> None:
        await assert_rate_bounded(it)
        assert it.watched()[0] == 7
        assert it.adopted == []
        assert it.resync.agent_error is None

    watch(lambda _: Answer(404, headers={"X-Consul-Index": str(next(index))}), story)


def test_a_directory_that_was_missing_is_seen_at_once_when_it_comes() -> None:
    """The query waits beyond the index of the 404."""
    store = Store()
    store.version = None

    async def story(it: Watching) -> None:
        await until(lambda: it.watched() == [100])
        store.change(1, 101)
        await until(lambda: it.adopted == [route(1)], deadline_s=3)

    watch(store.answer, story)


def test_errors_are_asked_again_ever_more_slowly_and_the_end_of_them_is_seen_within_a_heartbeat() -> None:
    """At once, then with growing pauses, no two series alike; the cap is a heartbeat."""
    assert AGENT_BACKOFF_MAX_S <= HEARTBEAT_S
    store = Store()
    broken = True

    def script(asked: Asked) -> Answer:
        return Answer(429, b"rate limit exceeded") if broken else store.answer(asked)

    async def story(it: Watching) -> None:
        nonlocal broken
        await until(lambda: len(it.fake.asked()) == 4)
        times_s = [asked.at_s for asked in it.fake.asked()]
        pauses_s = [later_s - earlier_s for earlier_s, later_s in itertools.pairwise(times_s)]
        assert pauses_s[0] < 0.5
        assert 0.7 < pauses_s[1] < 1.5
        assert 1.4 < pauses_s[2] < 2.5
        assert it.resync.agent_error is not None
        assert "429 (rate limit exceeded)" in it.resync.agent_error
        assert it.resync.agent_error_since_s is not None
        broken = False
        await until(lambda: it.adopted == [route(1)], deadline_s=HEARTBEAT_S)
        await until(lambda: it.resync.agent_error is None, deadline_s=1)

    watch(script, story)
