"""Calls that may wait, made off the loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from supervisor.off_loop import off_loop


def test_the_loop_goes_on_meanwhile() -> None:
    """It is the loop that ends what the call waits for."""
    waited_for = threading.Event()

    def call() -> str:
        assert waited_for.wait(10)
        return "done"

    async def main() -> str:
        task = asyncio.create_task(off_loop(call))
        await asyncio.sleep(0)
        waited_for.set()
        return await task

    assert asyncio.run(main()) == "done"


def test_an_error_is_raised_where_the_result_is_waited_for() -> None:
    """As if it had been called there."""

    def call() -> None:
        raise ValueError("refused")

    async def main() -> None:
        with pytest.raises(ValueError, match="refused"):
            await off_loop(call)

    asyncio.run(main())


def test_nobody_waits_for_a_call_that_was_given_up() -> None:
    """Neither who cancelled it, nor the end of the loop; what it returns later is let go."""
    waited_for, begun = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        assert waited_for.wait(10)

    async def main() -> None:
        task = asyncio.create_task(off_loop(call))
        await asyncio.sleep(0)
        assert begun.wait(10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    waited_for.set()
