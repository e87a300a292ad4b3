"""A Kafka cluster as the commands look at it: questions with a deadline, answers without the client library's types.

Nothing is changed by a question: topics are described, never asked for by name in a way that would create them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoAnswerError
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from supervisor import kafka

_library = kafka.library()

T = TypeVar("T")

UNKNOWN_TOPIC: Final = 3
TOPIC_DENIED: Final = 29
GROUP_DENIED: Final = 30
UNKNOWN_GROUP: Final = 69
_ALL_DOWN: Final = -187

_MARGIN_S: Final = 1.0
"""Beyond the client's own deadline for a question, which counts from when it gets to it."""


@dataclass(frozen=True)
class Refusal:
    """Why a question has no answer; ``code`` is librdkafka's, None where nothing came in time."""

    code: int | None
    words: str


@dataclass(frozen=True)
class Topic:
    """``rights``: what the user may do, as Kafka names it, None where the broker does not say."""

    partitions: int
    leaderless: tuple[int, ...]
    rights: frozenset[str] | None


@dataclass(frozen=True)
class Member:
    """A member of a consumer group, and how many partitions it has."""

    client_id: str
    host: str
    partitions: int


@dataclass(frozen=True)
class Group:
    """A consumer group; ``strategy`` is empty while it has no members."""

    state: str
    protocol: str
    strategy: str
    members: tuple[Member, ...]
    rights: frozenset[str] | None


class Cluster:
    """Questions to a cluster. Each takes at most about ``timeout_s`` and never raises for what a broker says."""

    def __init__(self, properties: dict[str, str]) -> None:
        self._reports: list[str] = []
        try:
            self._admin = _library.admin.AdminClient({**properties, "error_cb": self._note})
        except _library.KafkaException as error:
            raise ValueError(error.args[0].str()) from None

    @property
    def reports(self) -> str:
        """What the client has reported of its connections, each thing once."""
        return "; ".join(dict.fromkeys(self._reports))

    def brokers(self, timeout_s: float) -> tuple[str, ...] | Refusal:
        """Addresses of the brokers alive."""
        answer = self._ask(lambda limit_s: self._admin.describe_cluster(request_timeout=limit_s), timeout_s)
        return answer if isinstance(answer, Refusal) else tuple(f"{node.host}:{node.port}" for node in answer.nodes)

    def topics(self, names: Sequence[str], timeout_s: float) -> dict[str, Topic | Refusal]:
        """Each of these topics."""
        end_s = time.monotonic() + timeout_s
        asked = self._admin.describe_topics(
            _library.TopicCollection([*names]), include_authorized_operations=True, request_timeout=timeout_s
        )
        return {name: self._topic(asked[name], end_s) for name in names}

    def largest_record(self, topic: str, timeout_s: float) -> int | Refusal:
        """The topic's max.message.bytes."""
        resource = _library.admin.ConfigResource(_library.admin.ResourceType.TOPIC, topic)
        answer = self._ask(
            lambda limit_s: self._admin.describe_configs([resource], request_timeout=limit_s)[resource], timeout_s
        )
        return answer if isinstance(answer, Refusal) else int(answer["max.message.bytes"].value)

    def ends(self, topic: str, partitions: int, timeout_s: float) -> dict[int, tuple[int, int]] | Refusal:
        """The first offset of each partition, and its end: that of what is committed, where a transaction is open."""
        end_s = time.monotonic() + timeout_s
        numbers = [_library.TopicPartition(topic, number) for number in range(partitions)]
        found: list[dict[int, int]] = []
        for which in (_library.admin.OffsetSpec.earliest(), _library.admin.OffsetSpec.latest()):
            asked = self._admin.list_offsets(
                dict.fromkeys(numbers, which),
                isolation_level=_library.IsolationLevel.READ_COMMITTED,
                request_timeout=timeout_s,
            )
            offsets = {}
            for number, answer in ((place.partition, self._answer(future, end_s)) for place, future in asked.items()):
                if isinstance(answer, Refusal):
                    return answer
                offsets[number] = answer.offset
            found.append(offsets)
        return {number: (first, found[1][number]) for number, first in found[0].items()}

    def group(self, name: str, timeout_s: float) -> Group | Refusal:
        """The consumer group; one that nobody has used yet is DEAD."""
        answer = self._ask(
            lambda limit_s: self._admin.describe_consumer_groups(
                [name], include_authorized_operations=True, request_timeout=limit_s
            )[name],
            timeout_s,
        )
        if isinstance(answer, Refusal):
            return Group("DEAD", "CLASSIC", "", (), None) if answer.code == UNKNOWN_GROUP else answer
        members = tuple(
            Member(member.client_id, member.host, len(member.assignment.topic_partitions) if member.assignment else 0)
            for member in answer.members
        )
        return Group(
            answer.state.name,
            answer.type.name if answer.type else "CLASSIC",
            answer.partition_assignor,
            members,
            _rights(answer.authorized_operations),
        )

    def _topic(self, asked: Future[Any], end_s: float) -> Topic | Refusal:
        answer = self._answer(asked, end_s)
        if isinstance(answer, Refusal):
            return answer
        leaderless = tuple(part.id for part in answer.partitions if part.leader is None or part.leader.id < 0)
        return Topic(len(answer.partitions), leaderless, _rights(answer.authorized_operations))

    def _ask(self, question: Callable[[float], Future[Any]], timeout_s: float) -> Any:
        return self._answer(question(timeout_s), time.monotonic() + timeout_s)

    def _answer(self, asked: Future[Any], end_s: float) -> Any:
        while not asked.done() and time.monotonic() < end_s + _MARGIN_S:
            self._admin.poll(0.05)  # which serves the error callback
        try:
            return asked.result(0)
        except NoAnswerError:
            return Refusal(None, "no answer in time")
        except _library.KafkaException as error:
            return Refusal(error.args[0].code(), error.args[0].str())

    def _note(self, error: Any) -> None:
        if error.code() != _ALL_DOWN:
            self._reports.append(re.sub(r" \(after \d+ms in state \w+\)", "", error.str()))


def _rights(operations: Any) -> frozenset[str] | None:
    return None if operations is None else frozenset(operation.name for operation in operations)
