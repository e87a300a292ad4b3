"""The platform's side: the workspace manager that writes routes, and the persistence service that reads dataframes."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from .agent import Consul
from .topics import Kafka, Record

_ROUTE_KEYS = ("desired_version", "adopted_version", "incoming_stream", "outgoing_stream", "pause_stream")


class Manager:
    """Writes a workspace's keys one by one, as plain text, in any order; reads back which version was adopted."""

    def __init__(self, consul: Consul, node_id: str, directory: str = "buldozer/subordinate") -> None:
        self.directory = f"{directory}/{node_id}"
        self.version = 0
        self._consul = consul

    def route(
        self,
        incoming: str | None = None,
        outgoing: str | None = None,
        *,
        paused: bool = False,
        order: Sequence[str] | None = None,
    ) -> int:
        """Write the next version's keys, in ``order`` of their names (default: a random one); returns the version."""
        self.version += 1
        values = {
            "desired_version": str(self.version),
            "adopted_version": "0",
            "incoming_stream": incoming,
            "outgoing_stream": outgoing,
            "pause_stream": str(paused).lower(),
        }
        for key in order or random.sample(_ROUTE_KEYS, len(_ROUTE_KEYS)):
            self.put(key, values[key])
        return self.version

    def put(self, key: str, value: str | None) -> None:
        """Write one key of the workspace as it stands; None deletes it."""
        if value is None:
            self._consul.kv_delete(f"{self.directory}/{key}")
        else:
            self._consul.kv_put(f"{self.directory}/{key}", value)

    def adopted(self) -> str | None:
        """The text of ``adopted_version``; None when there is no such key."""
        value = self._consul.kv_get(f"{self.directory}/adopted_version")
        return None if value is None else value.decode()

    def wait_adopted(self, version: int | None = None, deadline_s: float = 15.0) -> None:
        """Wait until ``version`` (default: the last written) is adopted; AssertionError with what was met if not."""
        wanted = str(self.version if version is None else version)
        end = time.monotonic() + deadline_s
        while (met := self.adopted()) != wanted:
            assert time.monotonic() < end, f"adopted_version is {met} after {deadline_s} s, expected {wanted}"
            time.sleep(0.02)

    def decommission(self) -> None:
        """Delete the workspace's directory."""
        self._consul.kv_delete(f"{self.directory}/", recurse=True)


class Frame(NamedTuple):
    """A dataframe as the persistence service takes it in; ``value`` is ``parsed`` where there is one, else ``raw``."""

    wsp: str
    ts: int
    value: Any
    record: Record


def decode(record: Record) -> Frame:
    """One record through the standard JSON parser; what it cannot decode raises, as it stops the real service."""
    assert record.value is not None, f"record {record.partition}:{record.offset} has no value"
    frame = json.loads(record.value.decode("utf-8", "strict"))
    parsed = frame.get("parsed")
    return Frame(frame["wsp"], int(frame["ts"]), frame["raw"] if parsed is None else parsed, record)


class Persistence:
    """Reads a topic of dataframes."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic

    def read(self, at_least: int = 0, deadline_s: float = 30.0) -> list[Frame]:
        """Every dataframe from the topic's start to its end, partition by partition in order.

        Waits until there are ``at_least`` that many; AssertionError with the number met if not within ``deadline_s``.
        """
        return [decode(record) for record in self._kafka.read(self._topic, at_least, deadline_s)]
