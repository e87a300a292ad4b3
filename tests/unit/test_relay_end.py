"""The end of a relay in the middle of something: no broker is there, and none is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from supervisor.relay import Relay
from supervisor.route import Route
from supervisor.settings import Options, Settings
from supervisor.states import RelayState
from supervisor.stream import StreamEnd

ENVIRON = {"NODE_ID": "wsp-7", "KAFKA_DSN": "127.0.0.1:1", "CONSUL_DSN": "127.0.0.1:1"}


async def restart(_why: str) -> None:
    """There is no Calculator."""


async def make_consumer_anew(relay: Relay) -> asyncio.Task[None] | None:
    """The consumer tells of a fatal error."""
    relay._on_inlet_notice("fatal", 82, "fenced")
    return None


async def adopt_another(relay: Relay) -> asyncio.Task[None] | None:
    """The incoming topic is another one."""
    return asyncio.create_task(relay.adopt(Route(2, "other", "out", paused=False)))


@pytest.mark.parametrize("begin", [make_consumer_anew, adopt_another])
def test_a_stop_while_the_inlet_is_replaced_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, begin: Callable[[Relay], Awaitable[asyncio.Task[None] | None]]
) -> None:
    """The old one is being closed and the new one is made: all native memory is given back, whoever was cancelled."""
    closing = asyncio.Event()
    close = StreamEnd.close

    async def close_slowly(end: StreamEnd, deadline_s: float, destroy_deadline_s: float) -> None:
        closing.set()
        await asyncio.sleep(0.05)
        await close(end, deadline_s, destroy_deadline_s)

    async def main() -> dict[str, int]:
        relay = Relay(Settings.load(ENVIRON, Options(program="cat")), restart, lambda _why: None)
        await relay.start()
        await relay.adopt(Route(1, "in", "out", paused=False))
        monkeypatch.setattr(StreamEnd, "close", close_slowly)
        adoption = await begin(relay)
        await asyncio.wait_for(closing.wait(), 10)
        relay.stop_taking(1.0)
        if adoption is not None:
            adoption.cancel()
            await asyncio.gather(adoption, return_exceptions=True)
        del adoption
        await relay.stop()
        assert relay.lifecycle.state is RelayState.STOPPED
        return dict(await relay.let_go())

    assert not any(asyncio.run(main()).values())
