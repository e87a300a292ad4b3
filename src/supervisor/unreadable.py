"""Partitions with a batch that librdkafka cannot take apart: it asks for that again and again, and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

log = structlog.get_logger("supervisor.unreadable")

BAD_COMPRESSION: Final = -198
FORGOTTEN_S: Final = 300.0
"""One that was not met again for so long is over, whatever became of it."""


@dataclass(frozen=True)
class Unreadable:
    """Nothing of the partition is read from this offset on. ``why``: librdkafka's words."""

    partition: int
    offset: int
    code: int
    why: str
    for_s: float

    @property
    def remedy(self) -> str:
        """What to do."""
        damaged = "stop all members of the group and let its offset go on behind the batch (kafka-consumer-groups"
        damaged += " --reset-offsets)"
        if self.code == BAD_COMPRESSION:
            return (
                "a batch that is too large unpacked is read with KAFKA_OPTIONS=receive.message.max.bytes=1000000000 "
                f"and a new start; if it is damaged, {damaged}"
            )
        return f"the batch is damaged, or of a kind that this librdkafka does not know: {damaged}"


@dataclass
class _Met:
    offset: int
    code: int
    why: str
    since_s: float
    last_s: float


class UnreadableBatches:
    """Of one consumer's topic."""

    def __init__(self, topic: str) -> None:
        self._topic = topic
        self._met: dict[int, _Met] = {}

    def notice(self, code: int, text: str, now_s: float) -> None:
        """Take the inlet's notice: partition, offset and librdkafka's words, with blanks between."""
        number, offset, why = text.split(" ", 2)
        met = self._met.get(int(number))
        if met is not None and met.offset == int(offset):
            met.last_s = now_s
            return
        self._met[int(number)] = _Met(int(offset), code, why, now_s, now_s)
        found = Unreadable(int(number), int(offset), code, why, 0.0)
        log.error("a batch cannot be read, nor what is behind it in its partition", topic=self._topic, error=why,
                  partition=found.partition, offset=found.offset, code=code, remedy=found.remedy)  # fmt: skip

    def look(self, lag: Mapping[int, tuple[int, int]], now_s: float) -> None:
        """Forget those that are over: their partition is another member's, or it is read behind them."""
        for number, met in list(self._met.items()):
            acknowledged, _ = lag.get(number, (-1, -1))
            if number not in lag or acknowledged > met.offset or now_s - met.last_s > FORGOTTEN_S:
                del self._met[number]
                log.info("a batch that could not be read is no trouble any more", topic=self._topic, partition=number,
                         offset=met.offset)  # fmt: skip

    def at(self, now_s: float) -> tuple[Unreadable, ...]:
        """Those that stand, by partition; nothing is changed by it."""
        return tuple(
            Unreadable(number, met.offset, met.code, met.why, now_s - met.since_s)
            for number, met in sorted(self._met.items())
        )
