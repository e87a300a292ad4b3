"""One run of ``supervisor redrive``: read the dead letter stream to its ends of now, send what was asked for.

At least once: a letter counts as sent when the broker has confirmed it, and the run stops at the first that cannot be
sent. ``positions`` is always where another run has to begin so that none is passed over.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from supervisor import kafka
from supervisor.errors import KafkaError
from supervisor.settings import Settings
from supervisor.tools.cluster import UNKNOWN_TOPIC, Cluster, Refusal, Topic
from supervisor.tools.letters import Filter, Letter

TIMEOUT_S: Final = 5.0
"""Of each question to the cluster."""

SILENCE_S: Final = 30.0
"""So long without a record or the end of a partition is a broker that does not answer."""

MESSAGE_TIMEOUT_S: Final = 30.0

INTERRUPTED_S: Final = 5.0
"""After a signal, so long for confirmations."""

_BATCH: Final = 500
_POLL_S: Final = 0.2
_PASSING: Final = frozenset({30})  # the right to a group, which nothing is asked of here
_ERROR_END: Final = -191  # librdkafka's "the partition's end is reached"

_library = kafka.library()


class Redrive:
    """One run. ``begin``: offset by partition where it begins, elsewhere at the beginning.

    ``sends`` is False for a dry run, which looks at everything and stops at nothing. ``told`` gets each letter that was
    asked for, and why it is not sent; ``progress`` is called several times a second.
    """

    def __init__(
        self,
        settings: Settings,
        stream: str,
        wanted: Filter,
        begin: Mapping[int, int],
        *,
        sends: bool,
        told: Callable[[Letter, str | None], object],
        progress: Callable[[Redrive], object] = lambda _: None,
    ) -> None:
        self.read = 0
        self.wanted = 0
        self.sent = 0
        self.not_sent: Counter[str] = Counter()
        """Of those asked for, by reason; they are passed over."""
        self.targets: Counter[str] = Counter()
        """Of each topic, letters that go there."""
        self.problems: list[str] = []
        """What stopped the run, or in a dry run what would."""
        self.interrupted = False
        """Set by a signal's handler: no more is taken. An exception would come out of the midst of the Kafka client."""
        self._stream = stream
        self._filter = wanted
        self._sends = sends
        self._told = told
        self._progress = progress
        properties = kafka.asking_properties(settings)
        self._cluster = Cluster(properties)
        self._topics: dict[str, Topic | Refusal] = {}
        self._ends = self._find_ends(settings)
        self._unread = {number for number, (first, end) in self._ends.items() if max(begin.get(number, 0), first) < end}
        self._next = {number: max(begin.get(number, 0), first) for number, (first, _) in self._ends.items()}
        self._unconfirmed: dict[int, dict[int, None]] = {number: {} for number in self._ends}
        self._consumer = _library.Consumer(_reading(properties, settings))
        self._producer = _library.Producer(_sending(properties)) if sends else None
        unknown = sorted(begin.keys() - self._ends.keys())
        if unknown:
            raise KafkaError(f"--from: {stream} has no partition {unknown[0]}; it has {len(self._ends)} partitions")

    @property
    def partitions(self) -> int:
        """Of the dead letter stream."""
        return len(self._ends)

    @property
    def positions(self) -> dict[int, int]:
        """Where another run has to begin, by partition."""
        return {number: min([offset, *self._unconfirmed[number]]) for number, offset in self._next.items()}

    def run(self) -> None:
        """Read to the ends, or to what cannot be sent; raise KafkaError when the cluster does not go along."""
        partitions = [_library.TopicPartition(self._stream, number, self._next[number]) for number in self._unread]
        self._consumer.assign(partitions)
        heard_s = time.monotonic()
        while self._unread and not self._is_over():
            for message in self._consumer.consume(_BATCH, _POLL_S):
                if not self._is_over():
                    self._take(message)
                heard_s = time.monotonic()
            if self._producer is not None:
                self._producer.poll(0)
            self._progress(self)
            if time.monotonic() - heard_s > SILENCE_S:
                reports = self._cluster.reports or "no records, no end of a partition"
                raise KafkaError(f"{self._stream}: nothing came for {SILENCE_S:g} s: {reports}")

    def finish(self) -> None:
        """Wait for the confirmation of what was sent, each of which comes or fails within MESSAGE_TIMEOUT_S."""
        if self._producer is not None:
            self._producer.flush(INTERRUPTED_S if self.interrupted else MESSAGE_TIMEOUT_S + 5.0)

    def _is_over(self) -> bool:
        return self.interrupted or (self._sends and bool(self.problems))

    def _find_ends(self, settings: Settings) -> dict[int, tuple[int, int]]:
        """First offset and end of each partition now; records of an open transaction are behind the end."""
        met = self._cluster.brokers(TIMEOUT_S)
        if isinstance(met, Refusal):
            why = self._cluster.reports or met.words
            raise KafkaError(f"no broker of {settings.kafka_dsn} answers: {why}; check the KAFKA_ settings")
        topic = self._topic(self._stream)
        if isinstance(topic, Refusal):
            if topic.code == UNKNOWN_TOPIC:
                raise KafkaError(f"{self._stream}: there is no such topic")
            raise KafkaError(
                f"{self._stream}: {topic.words}; the rights needed are Read on the dead letter stream and Write on the"
                " topics that letters go back to"
            )
        if topic.rights is not None and "READ" not in topic.rights:
            raise KafkaError(f"{self._stream}: may not be read; give the Kafka user Read on topic {self._stream}")
        ends = self._cluster.ends(self._stream, topic.partitions, TIMEOUT_S)
        if isinstance(ends, Refusal):
            raise KafkaError(f"{self._stream}: its ends cannot be seen: {ends.words}")
        return ends

    def _topic(self, name: str) -> Topic | Refusal:
        if name not in self._topics:
            self._topics[name] = self._cluster.topics([name], TIMEOUT_S)[name]
        return self._topics[name]

    def _take(self, message: Any) -> None:
        number = message.partition()
        error = message.error()
        if error is not None and error.code() != _ERROR_END:
            if error.code() not in _PASSING and not error.retriable():
                raise KafkaError(f"{self._stream}: {error.str()}")
            return
        if number not in self._unread:
            return
        end = self._ends[number][1]
        if error is None and message.offset() < end:
            self._look(message)
            if self._is_over() and self.problems:
                return
            self._next[number] = message.offset() + 1
        if error is not None or message.offset() + 1 >= end:
            self._next[number] = max(self._next[number], end)
            self._unread.discard(number)
            self._consumer.incremental_unassign([_library.TopicPartition(self._stream, number)])

    def _look(self, message: Any) -> None:
        self.read += 1
        letter = Letter(
            message.partition(),
            message.offset(),
            message.timestamp()[1],
            message.key(),
            message.value(),
            tuple(message.headers() or ()),
        )
        if not self._filter.wants(letter):
            return
        self.wanted += 1
        why_not = letter.why_not()
        self._told(letter, why_not)
        if why_not is not None:
            self.not_sent[why_not] += 1
            return
        problem = self._problem(letter)
        if problem is not None:
            self._stop(letter.partition, letter.offset, problem)
        else:
            self.targets[str(letter.origin_topic)] += 1
            if self._producer is not None:
                self._send(letter, self._producer)

    def _problem(self, letter: Letter) -> str | None:
        name, partition = str(letter.origin_topic), letter.origin_partition
        topic = self._topic(name)
        if isinstance(topic, Refusal):
            return f"{name} cannot be written: {'no such topic' if topic.code == UNKNOWN_TOPIC else topic.words}"
        if topic.rights is not None and "WRITE" not in topic.rights:
            return f"{name} may not be written; give the Kafka user Write on topic {name}"
        if partition is not None and partition >= topic.partitions:
            return f"{name} has no partition {partition} any more"
        return None

    def _send(self, letter: Letter, producer: Any) -> None:
        self._unconfirmed[letter.partition][letter.offset] = None
        place = letter.partition, letter.offset
        while True:
            try:
                producer.produce(
                    letter.origin_topic,
                    letter.value,
                    letter.key,
                    -1 if letter.origin_partition is None else letter.origin_partition,
                    headers=letter.sent_headers(),
                    on_delivery=partial(self._on_delivery, place),
                )
            except BufferError:
                producer.poll(_POLL_S)  # each of those in it is confirmed or refused within MESSAGE_TIMEOUT_S
            except _library.KafkaException as error:
                self._stop(*place, f"{letter.origin_topic} does not take it: {error.args[0].str()}")
                return
            else:
                return

    def _on_delivery(self, place: tuple[int, int], error: Any, message: Any) -> None:
        if error is not None:
            self._stop(*place, f"{message.topic()} does not take it: {error.str()}")
        else:
            self.sent += 1
            del self._unconfirmed[place[0]][place[1]]

    def _stop(self, partition: int, offset: int, why: str) -> None:
        if not any(met.endswith(f": {why}") for met in self.problems):  # each reason once, with the first that met it
            self.problems.append(f"{self._stream}[{partition}]@{offset}: {why}")


def _reading(properties: dict[str, str], settings: Settings) -> dict[str, str]:
    """Of a consumer that is given its partitions and offsets: it joins no group and commits nothing."""
    return {
        **{name: value for name, value in properties.items() if name not in ("message.max.bytes", "fetch.max.bytes")},
        "group.id": settings.kafka_consumer_group,  # librdkafka wants one; to this one there is a right
        "auto.offset.reset": "earliest",
        "enable.auto.commit": "false",
        "enable.auto.offset.store": "false",
        "enable.partition.eof": "true",
        "isolation.level": "read_committed",
        "queued.max.messages.kbytes": "16384",
    }


def _sending(properties: dict[str, str]) -> dict[str, str]:
    """Of a producer that keeps the order, loses nothing, and says within a bound what was not confirmed."""
    return {
        **properties,
        "enable.idempotence": "true",
        "acks": "all",
        "linger.ms": "5",
        "max.in.flight.requests.per.connection": "5",
        "message.max.bytes": "1000000000",  # the topic's own limit counts
        "message.timeout.ms": str(int(MESSAGE_TIMEOUT_S * 1000)),
        "queue.buffering.max.kbytes": "32768",
    }
