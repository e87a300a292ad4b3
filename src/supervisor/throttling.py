"""Kafka clients that brokers slow down because of a quota: since when, and for how long they asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger("supervisor.throttling")

QUIET_S: Final = 15.0
"""A broker reckons over some 11 s: one that has asked for nothing for so long is content."""


@dataclass(frozen=True)
class Throttled:
    """A client that is slowed down. ``client``: producer or consumer."""

    client: str
    client_id: str
    for_s: float
    broker: int
    last_ms: int
    """For so long the broker asked the client to be silent, the last time."""
    asked_ms: int
    """And in all, since this began."""


class Throttling:
    """Of one client; told its counters now and then."""

    def __init__(self, client: str, client_id: str) -> None:
        self._client = client
        self._client_id = client_id
        self._count = 0
        self._since_s: float | None = None
        self._until_s = 0.0
        self._asked_before_ms = 0
        self._counters: Mapping[str, int] = {}

    def look(self, counters: Mapping[str, int], now_s: float) -> None:
        """Note what was asked for since the last look, and log where that begins and where it is over."""
        count, asked_ms = counters.get("throttles", 0), counters.get("throttled_ms", 0)
        if count < self._count:  # of another client
            self._count = self._asked_before_ms = 0
        if count > self._count:
            self._count = count
            last_ms = counters["throttled_last_ms"]
            self._until_s = now_s + last_ms / 1000 + QUIET_S
            if self._since_s is None:
                self._since_s = now_s
                log.warning(
                    "a broker slows a Kafka client down because of a quota",
                    client=self._client,
                    client_id=self._client_id,
                    broker=counters["throttled_broker"],
                    throttle_ms=last_ms,
                )
            self._counters = counters
        elif self._since_s is not None and now_s >= self._until_s:
            log.info("the brokers do not slow the Kafka client down any more", client=self._client,
                     client_id=self._client_id, throttled_ms=self._asked_ms)  # fmt: skip
            self._since_s = None
        if self._since_s is None:
            self._asked_before_ms = asked_ms

    @property
    def _asked_ms(self) -> int:
        return self._counters["throttled_ms"] - self._asked_before_ms

    def at(self, now_s: float) -> Throttled | None:
        """What there is to tell, None while the client is not slowed down; nothing is changed by it."""
        if self._since_s is None:
            return None
        return Throttled(
            self._client,
            self._client_id,
            now_s - self._since_s,
            self._counters["throttled_broker"],
            self._counters["throttled_last_ms"],
            self._asked_ms,
        )
