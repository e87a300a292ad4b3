"""When a consumer is made anew, and how long that is said."""

from __future__ import annotations

import asyncio

import pytest

from supervisor import consumer_renewal
from supervisor.consumer_renewal import ConsumerRenewal
from supervisor.errors import KafkaError


class Maker:
    """Makes a consumer after so many failures."""

    def __init__(self, failures: int = 0) -> None:
        self.calls = 0
        self._failures = failures

    async def __call__(self) -> None:
        """Make one, or fail."""
        self.calls += 1
        if self.calls <= self._failures:
            raise KafkaError("not now")


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was waited for, in seconds; nobody waits."""
    slept: list[float] = []
    moment = asyncio.sleep

    async def sleep(delay_s: float) -> None:
        slept.append(delay_s)
        await moment(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


async def settle() -> None:
    """Let tasks run."""
    loop = asyncio.get_running_loop()
    for _ in range(50):
        turn = loop.create_future()
        loop.call_soon(turn.set_result, None)
        await turn


def test_the_first_is_made_at_once_and_stays_unstable(slept: list[float]) -> None:
    """The error is said until the consumer has lasted."""

    async def run() -> None:
        maker = Maker()
        made = ConsumerRenewal(maker)
        made.fatal("fenced")
        await settle()
        assert (maker.calls, slept) == (1, [0.0])
        assert made.unstable == "fenced"

    asyncio.run(run())


def test_failures_back_off(slept: list[float]) -> None:
    """Up to the cap, and two that fence each other as well."""

    async def run() -> None:
        maker = Maker(failures=3)
        made = ConsumerRenewal(maker)
        made.fatal("fenced")
        made.fatal("while one is being made")
        await settle()
        assert maker.calls == 4
        for _ in range(8):
            made.fatal("fenced again")
            await settle()
        assert maker.calls == 12

    asyncio.run(run())
    assert slept[0] == 0.0
    assert all(0.75 <= delay_s <= consumer_renewal.DELAY_MAX_S for delay_s in slept[1:])
    assert consumer_renewal.DELAY_MAX_S * 0.75 <= slept[-1] <= consumer_renewal.DELAY_MAX_S


def test_a_stable_consumer_wipes_the_slate(slept: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """What happened before is neither said nor waited for."""

    async def run() -> None:
        made = ConsumerRenewal(Maker(failures=2))
        made.fatal("fenced")
        await settle()
        monkeypatch.setattr(consumer_renewal, "STABLE_S", 0.0)
        assert made.unstable is None
        made.replaced("another topic")
        await settle()
        assert made.unstable is None
        assert slept[-1] == 0.0

    asyncio.run(run())


def test_after_the_end_none_is_made(slept: list[float]) -> None:
    """Neither one that is waited for nor a later one."""

    async def run() -> None:
        maker = Maker()
        made = ConsumerRenewal(maker)
        made.fatal("fenced")
        made.cancel()
        await settle()
        made.fatal("closing")
        await settle()
        assert maker.calls == 0

    asyncio.run(run())
