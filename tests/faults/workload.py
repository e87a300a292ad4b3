"""Numbered records for the incoming topic, fed a share at a time while blows fall."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import KafkaError, Message, Producer

from tests.services.process import ServiceError

from .worker import PROGRAMS

_FILLER = bytes(33 + number * 7 % 90 for number in range(20_000))
_DELIVERY_DEADLINE_S = 120.0


class Answer(NamedTuple):
    """One expected line: the ``part``-th answer to a record."""

    partition: int
    number: int
    part: int


def value(partition: int, number: int) -> bytes:
    """Return the record; one in a thousand is longer than a pipe writes at once."""
    size = len(_FILLER) if (number * 31 + partition) % 997 == 500 else number * 37 % 80
    return b"%d %d %s" % (partition, number, _FILLER[:size])


def expected(per_partition: list[int], program: str) -> Iterator[Answer]:
    """Every answer, in order of partition, number and part."""
    for partition, count in enumerate(per_partition):
        for number in range(count):
            for part in range(PROGRAMS[program](number)):
                yield Answer(partition, number, part)


class Feeder:
    """Produces ``records`` round robin over ``partitions``, in ``shares``; its own thread waits for the brokers."""

    def __init__(self, bootstrap: str, topic: str, *, records: int, partitions: int, shares: int) -> None:
        self._topic = topic
        self._partitions = partitions
        self._bounds = [records * share // shares for share in range(shares + 1)]
        self.per_partition = [len(range(partition, records, partitions)) for partition in range(partitions)]
        self._failed: list[KafkaError] = []
        self._orders: queue.SimpleQueue[range | None] = queue.SimpleQueue()
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "log_level": 2,
                "enable.idempotence": True,  # each record is there once, whatever the brokers go through
                "linger.ms": 5,
                "message.timeout.ms": int(_DELIVERY_DEADLINE_S * 1000),
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        self._thread = threading.Thread(target=self._feed, name="feeder", daemon=True)
        self._thread.start()

    def release(self, share: int) -> None:
        """Let one share go; returns at once."""
        self._orders.put(range(self._bounds[share], self._bounds[share + 1]))

    def finish(self) -> None:
        """Wait until everything released is in the topic; ServiceError if it is not."""
        self._orders.put(None)
        self._thread.join(2 * _DELIVERY_DEADLINE_S)
        if self._thread.is_alive() or self._failed:
            raise ServiceError(f"{len(self._producer)} records not delivered to {self._topic}: {self._failed[:1]}")

    def _feed(self) -> None:
        while True:
            try:
                order = self._orders.get(timeout=0.1)
            except queue.Empty:
                self._producer.poll(0)
                continue
            if order is None:
                self._producer.flush(_DELIVERY_DEADLINE_S)
                return
            for at in order:
                partition, number = at % self._partitions, at // self._partitions
                self._producer.produce(
                    self._topic, value(partition, number), partition=partition, on_delivery=self._delivered
                )
                if at % 1000 == 0:
                    self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failed.append(error)
