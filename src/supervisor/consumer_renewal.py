"""A consumer that is of no use any more: when the next one is made, and what is said meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from supervisor.backoff import Backoff
from supervisor.errors import KafkaError

log = structlog.get_logger("supervisor.consumer_renewal")

DELAY_MAX_S: Final = 30.0

STABLE_S: Final = 60.0
"""A consumer that lasts this long is good; longer than DELAY_MAX_S, so that two that fence each other back off."""


class ConsumerRenewal:
    """Calls ``make_anew``, at once the first time, later with back-off, until it raises no KafkaError."""

    def __init__(self, make_anew: Callable[[], Awaitable[None]]) -> None:
        self._make_anew = make_anew
        self._backoff = Backoff(DELAY_MAX_S)
        self._task: asyncio.Task[None] | None = None
        self._error: str | None = None
        self._made_at_s = -STABLE_S
        self._ended = False

    @property
    def unstable(self) -> str | None:
        """The last fatal error, until the consumer made after it has proved stable; None if there is none."""
        return self._error if self._pending or not self._stable else None

    def fatal(self, error: str) -> None:
        """The consumer met this error, from which there is no way back."""
        self._error = error
        log.error("fatal error of the consumer: a new one is made", error=error)
        self._begin()

    def replaced(self, why: str) -> None:
        """The consumer's topic is another one now."""
        log.warning("a new consumer is made", why=why)
        if self._stable:
            self._error = None
        self._begin()

    def cancel(self) -> None:
        """Make none any more."""
        self._ended = True
        if self._task is not None:
            self._task.cancel()

    @property
    def _stable(self) -> bool:
        return time.monotonic() - self._made_at_s >= STABLE_S

    @property
    def _pending(self) -> bool:
        return self._task is not None and not self._task.done()

    def _begin(self) -> None:
        if not self._ended and not self._pending:
            if self._stable:
                self._backoff.reset()
            self._task = asyncio.create_task(self._renew(), name="make the consumer anew")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._backoff.failed())
            try:
                await self._make_anew()
            except KafkaError as error:
                log.warning("the consumer could not be made anew", error=str(error))
            except Exception:
                log.exception("the consumer could not be made anew")  # nobody else would ever try again
            else:
                self._made_at_s = time.monotonic()
                return
