"""A Kafka cluster as tests use it: topics made and filled fast, read to their end, offsets looked at."""

from __future__ import annotations

import contextlib
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import (
    Consumer,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from .process import ServiceError
from .reassign import reassign

Value = bytes | None

# What goes wrong is raised here; librdkafka's own lines about a broker that starts or was killed are noise.
_CRITICAL = 2


class Record(NamedTuple):
    """One record as it lies in a topic; ``timestamp_ms`` is Unix time."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: Value
    headers: tuple[tuple[str, bytes | None], ...] = ()


_COORDINATOR_AWAY = {
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
}


class Kafka:
    """A reachable cluster; ``bootstrap`` is its comma-separated bootstrap list.

    ``options`` are librdkafka properties with ``_`` for ``.``, for every client made here.
    """

    def __init__(self, bootstrap: str, **options: str) -> None:
        self.bootstrap = bootstrap
        self._common: dict[str, Any] = {"bootstrap.servers": bootstrap, "log_level": _CRITICAL}
        self._common |= {key.replace("_", "."): value for key, value in options.items()}
        self._admin = AdminClient(self._common)

    def brokers(self, timeout_s: float = 5.0) -> int:
        """Number of brokers alive according to a metadata request; 0 when nobody answers."""
        try:
            return len(self._admin.list_topics(timeout=timeout_s).brokers)
        except KafkaException:
            return 0

    def in_sync(self, timeout_s: float = 1.0) -> bool:
        """Whether every partition of every topic has a leader and all its replicas in sync."""
        try:
            topics = self._admin.list_topics(timeout=timeout_s).topics.values()
        except KafkaException:
            return False
        partitions = [partition for topic in topics for partition in topic.partitions.values()]
        return all(partition.leader >= 0 and len(partition.isrs) == len(partition.replicas) for partition in partitions)

    def create_topic(self, name: str, partitions: int = 1, *, replicas: int = 1, **config: str) -> str:
        """Create a topic and wait until every partition has a leader; option names with ``_`` for ``.``."""
        options = {key.replace("_", "."): value for key, value in config.items()}
        topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=options)
        self._admin.create_topics([topic], operation_timeout=15)[name].result(20)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            known = self._admin.list_topics(name, timeout=5).topics[name].partitions
            if len(known) == partitions and all(partition.leader >= 0 for partition in known.values()):
                return name
            time.sleep(0.02)
        raise ServiceError(f"topic {name} has no leaders 15 s after its creation")

    def add_partitions(self, name: str, count: int) -> None:
        """Give the topic more partitions, so that there are so many, and wait until each has a leader."""
        self._admin.create_partitions([NewPartitions(name, count)], operation_timeout=15)[name].result(20)
        end = time.monotonic() + 15
        while True:
            known = self._admin.list_topics(name, timeout=5).topics[name].partitions
            if len(known) == count and all(partition.leader >= 0 for partition in known.values()):
                return
            assert time.monotonic() < end, f"topic {name} has not {count} partitions with leaders after 15 s"
            time.sleep(0.02)

    def delete_topic(self, name: str) -> None:
        """Delete a topic and wait until the brokers say it is done."""
        self._admin.delete_topics([name], operation_timeout=15)[name].result(20)

    def set_password(self, user: str, password: str) -> None:
        """Make the user of a secured cluster, or change its password."""
        how = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
        change = UserScramCredentialUpsertion(user, how, password.encode())
        self._admin.alter_user_scram_credentials([change])[user].result(20)

    def allow(self, user: str, operation: str, kind: str, name: str) -> None:
        """Give the user a right on a secured cluster, such as ``"READ", "TOPIC", "events"``."""
        for answer in self._admin.create_acls([AclBinding(*self._right(user, operation, kind, name))]).values():
            answer.result(20)

    def forbid(self, user: str, operation: str, kind: str, name: str) -> None:
        """Take back what ``allow`` gave."""
        for answer in self._admin.delete_acls([AclBindingFilter(*self._right(user, operation, kind, name))]).values():
            assert answer.result(20), f"{user} had no right {operation} on {kind} {name}"

    @staticmethod
    def _right(user: str, operation: str, kind: str, name: str) -> tuple[Any, ...]:
        literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
        return ResourceType[kind], name, literal, f"User:{user}", "*", AclOperation[operation], allow

    def member_ids(self, group: str) -> dict[str, int]:
        """The group's members, each with the number of its partitions."""
        described = self._admin.describe_consumer_groups([group])[group].result(20)
        return {
            member.member_id: len(member.assignment.topic_partitions) if member.assignment else 0
            for member in described.members
        }

    @contextlib.contextmanager
    def another_member(self, group: str, topic: str, *, strategy: str = "cooperative-sticky") -> Iterator[None]:
        """Somebody else is in the group meanwhile, has a share of the topic's partitions and commits nothing."""
        consumer = Consumer(
            self._common
            | {
                "group.id": group,
                "enable.auto.commit": False,
                "heartbeat.interval.ms": 500,
                "session.timeout.ms": 6000,
                "partition.assignment.strategy": strategy,
            }
        )
        over = threading.Event()

        def poll() -> None:
            while not over.is_set():
                consumer.poll(0.05)

        consumer.subscribe([topic])
        member = threading.Thread(target=poll, daemon=True)
        member.start()
        try:
            yield
        finally:
            over.set()
            member.join()
            consumer.close()

    @contextlib.contextmanager
    def undecided(self, group: str, topic: str) -> Iterator[None]:
        """The group's offsets are in a transaction meanwhile, as one leaves them that was killed before its end.

        Then it is committed, and they are what they were.
        """
        consumer = Consumer(self._common | {"group.id": group})
        producer = Producer(self._common | {"transactional.id": f"undecided-{group}", "transaction.timeout.ms": 60_000})
        offsets = [TopicPartition(topic, number, offset) for number, offset in self.committed(group, topic).items()]
        try:
            producer.init_transactions(20)
            producer.begin_transaction()
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 20)
            yield
            producer.commit_transaction(20)
        finally:
            consumer.close()

    def wait_shares(self, group: str, *shares: int, deadline_s: float = 30.0) -> None:
        """Wait until the group's members have so many partitions each, the fewest first: that they are told to have."""
        end = time.monotonic() + deadline_s
        while sorted((members := self.member_ids(group)).values()) != list(shares):
            assert time.monotonic() < end, f"{group} has the members {members} after {deadline_s} s"
            time.sleep(0.05)

    def transaction(
        self, name: str, topic: str, values: Iterable[bytes], *, headers: Sequence[tuple[str, bytes]] = (), ends: str
    ) -> None:
        """Append values in a transaction of its own, and ``commit`` or ``abort`` it, or leave it ``open``."""
        producer = Producer(self._common | {"transactional.id": name, "transaction.timeout.ms": 60_000})
        producer.init_transactions(20)
        producer.begin_transaction()
        for value in values:
            producer.produce(topic, value, headers=list(headers))
        producer.flush(20)
        if ends == "commit":
            producer.commit_transaction(20)
        elif ends == "abort":
            producer.abort_transaction(20)

    def leaders(self, topic: str) -> dict[int, int]:
        """The node that leads each of the topic's partitions."""
        found = self._admin.list_topics(topic, timeout=5).topics[topic].partitions
        return {number: partition.leader for number, partition in found.items()}

    def transactional_ids(self, part: str) -> set[str]:
        """The transactional ids with this part that the brokers remember."""
        keys = (record.key for record in self.read("__transaction_state") if record.key is not None)
        return {key[4:].decode() for key in keys if part.encode() in key}  # behind a version and its length

    def fence(self, transactional_id: str) -> None:
        """Take the id away from the producer that has it."""
        Producer(self._common | {"transactional.id": transactional_id}).init_transactions(20)

    def elect_preferred_leaders(self, *topics: str) -> None:
        """Give each partition its first replica as the leader again."""
        partitions = [TopicPartition(topic, number) for topic in topics for number in self.partitions(topic)]
        for error in self._admin.elect_leaders(ElectionType.PREFERRED, partitions).result(20).values():
            if error is not None and error.code() != KafkaError.ELECTION_NOT_NEEDED:
                raise ServiceError(f"electing leaders of {topics}: {error}")

    def move(self, topic: str, node: int, deadline_s: float = 30.0) -> None:
        """Let each of the topic's partitions have its one replica on this node; returns when it is so."""
        reassign(self.bootstrap, topic, {number: [node] for number in self.partitions(topic)})
        end = time.monotonic() + deadline_s
        while True:
            found = self._admin.list_topics(topic, timeout=5).topics[topic].partitions.values()
            if all(partition.replicas == [node] and partition.leader == node for partition in found):
                return
            assert time.monotonic() < end, f"{topic} is not on node {node} after {deadline_s} s"
            time.sleep(0.05)

    def topics(self) -> set[str]:
        """The names of all topics. Who asks for one by its name may make it."""
        return set(self._admin.list_topics(timeout=5).topics)

    def partitions(self, topic: str) -> list[int]:
        """The topic's partition numbers in order."""
        return sorted(self._admin.list_topics(topic, timeout=5).topics[topic].partitions)

    def leader(self, topic: str, partition: int = 0, timeout_s: float = 1.0) -> int:
        """The node that leads the partition; -1 when there is none, or nobody answers."""
        try:
            return self._admin.list_topics(topic, timeout=timeout_s).topics[topic].partitions[partition].leader
        except (KafkaException, KeyError):
            return -1

    def ask_for_preferred_leader(self, topic: str, partition: int = 0) -> None:
        """Let the first replica lead; it has to be in sync. The answer, when all brokers know, is not waited for."""
        self._admin.elect_leaders(ElectionType.PREFERRED, [TopicPartition(topic, partition)])

    def end_offsets(self, topic: str, *, stable: bool = False) -> dict[int, int]:
        """The next offset of each partition, or with ``stable`` that of its first open transaction."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        requests = {TopicPartition(topic, number): latest for number in self.partitions(topic)}
        isolation = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        answers = self._admin.list_offsets(requests, isolation_level=isolation)
        return {request.partition: answer.result(10).offset for request, answer in answers.items()}

    def wait_stable(self, topic: str, deadline_s: float = 60.0) -> None:
        """Wait until no transaction is open: brokers look for one that timed out every 10 s if not told otherwise."""
        end = time.monotonic() + deadline_s
        while (ends := self.end_offsets(topic)) != (stable := self.end_offsets(topic, stable=True)):
            assert time.monotonic() < end, f"{topic}: a transaction is open after {deadline_s} s: {stable} of {ends}"
            time.sleep(0.1)

    def wait_coordinator(self) -> None:
        """Make the brokers create the topic of committed offsets; it takes a second the first time."""
        self._committed("warm-up", [TopicPartition("warm-up", 0)])

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The group's committed offset for each partition that has one."""
        answer = self._committed(group, [TopicPartition(topic, number) for number in self.partitions(topic)])
        return {tp.partition: tp.offset for tp in answer if tp.offset >= 0}

    def delete_records(self, topic: str, before: int) -> None:
        """Delete the records of partition 0 with lower offsets than this."""
        self._admin.delete_records([TopicPartition(topic, 0, before)])[TopicPartition(topic, 0, before)].result(10)

    def committed_metadata(self, group: str, topic: str) -> dict[int, str]:
        """What stands beside the group's committed offset of each partition that has one."""
        # Not the clients' answer: they take the metadata for a C string, and librdkafka ends it with no zero byte.
        found: dict[int, str] = {}
        begins = struct.pack(
            f">hh{len(group)}sh{len(topic)}s", 1, len(group), group.encode(), len(topic), topic.encode()
        )
        for record in self.read("__consumer_offsets"):
            if record.key is not None and record.key.startswith(begins) and len(record.key) == len(begins) + 4:
                (partition,) = struct.unpack(">i", record.key[-4:])
                found.pop(partition, None)
                if record.value is not None:
                    assert record.value[:2] == b"\0\4", "the version whose strings are compact"
                    size = record.value[14] - 1  # behind version, offset and leader epoch
                    assert size < 0x7F, "more than one byte says how long it is"
                    found[partition] = record.value[15 : 15 + size].decode()
        return found

    def wait_metadata(self, group: str, topic: str, expected: Sequence[str], deadline_s: float = 15.0) -> None:
        """Wait until this stands there, in whatever order of the partitions."""
        end = time.monotonic() + deadline_s
        while sorted((found := self.committed_metadata(group, topic)).values()) != sorted(expected):
            assert time.monotonic() < end, f"{group} has {found} beside its offsets after {deadline_s} s"
            time.sleep(0.05)

    def commit(self, group: str, topic: str, offsets: Mapping[int, int], metadata: Sequence[str] = ()) -> None:
        """Let the group, which has no member, go on at these offsets, with what stands beside each of them."""
        consumer = Consumer(self._common | {"group.id": group, "enable.auto.commit": False})
        try:
            beside = metadata or [""] * len(offsets)
            partitions = [
                TopicPartition(topic, number, offset, text)
                for (number, offset), text in zip(offsets.items(), beside, strict=True)
            ]
            consumer.commit(offsets=partitions, asynchronous=False)
        finally:
            consumer.close()

    def _committed(
        self, group: str, partitions: list[TopicPartition], deadline_s: float = 30.0
    ) -> list[TopicPartition]:
        """Ask the group's coordinator, again while it is still loading."""
        # Not the admin client's request: librdkafka 2.16.0 crashes on its answer while a fresh coordinator is loading.
        consumer = Consumer(self._common | {"group.id": group, "enable.auto.commit": False})
        end = time.monotonic() + deadline_s
        try:
            while True:
                try:
                    return consumer.committed(partitions, timeout=15)
                except KafkaException as error:
                    if time.monotonic() >= end or error.args[0].code() not in _COORDINATOR_AWAY:
                        raise
                time.sleep(0.05)
        finally:
            consumer.close()

    def members(self, group: str) -> list[str]:
        """The members of a group, by the names they were given."""
        description = self._admin.describe_consumer_groups([group])[group].result(15)
        return [member.member_id for member in description.members]

    def wait_committed(self, group: str, topic: str, total: int, deadline_s: float = 15.0) -> dict[int, int]:
        """Wait until the group's offsets add up to at least ``total``; AssertionError with what they were if not."""
        end = time.monotonic() + deadline_s
        while True:
            offsets = self.committed(group, topic)
            if sum(offsets.values()) >= total:
                return offsets
            assert time.monotonic() < end, f"{group} committed {offsets} of {topic} in {deadline_s} s, expected {total}"
            time.sleep(0.05)

    def produce(
        self,
        topic: str,
        values: Iterable[Value],
        *,
        partition: int | None = None,
        keys: Sequence[bytes | None] = (),
        headers: Sequence[tuple[str, bytes]] = (),
        **options: Any,
    ) -> None:
        """Append the values in order, all acknowledged on return; round robin over partitions unless one is given.

        ``keys``: one for each value; the partition follows from it then, as Java's clients choose. ``headers`` are
        those of every record. ``options`` are librdkafka properties with ``_`` for ``.``.
        """
        config = (
            self._common
            | {
                "acks": "all",
                "linger.ms": 5,
                "batch.size": 1_000_000,
                "message.max.bytes": 10_000_000,
                "queue.buffering.max.messages": 500_000,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
            }
            | {key.replace("_", "."): value for key, value in options.items()}
        )
        producer = Producer(config)
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        targets = [partition] if partition is not None else [-1] if keys else self.partitions(topic)
        for number, value in enumerate(values):
            target = targets[number % len(targets)]
            key = keys[number] if keys else None
            while True:
                try:
                    producer.produce(
                        topic, value, key, partition=target, headers=list(headers) or None, on_delivery=delivered
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
        left = producer.flush(60)
        if left or failed:
            raise ServiceError(f"{left} records not delivered to {topic}, {len(failed)} failed: {failed[:1]}")

    def read(
        self, topic: str, at_least: int = 0, deadline_s: float = 30.0, *, partitions: Sequence[int] | None = None
    ) -> list[Record]:
        """All committed records of the topic, read from the start to the end, partition by partition in order.

        Waits until there are ``at_least`` that many; AssertionError with the number met if not within ``deadline_s``.
        """
        consumer = Consumer(
            self._common
            | {
                "group.id": "reader-without-commits",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 10,
                "fetch.message.max.bytes": 10_000_000,
            }
        )
        wanted = self.partitions(topic) if partitions is None else partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in wanted])
        records: list[Record] = []
        at_end: set[int] = set()
        end = time.monotonic() + deadline_s
        try:
            while len(at_end) < len(wanted) or len(records) < at_least:
                assert time.monotonic() < end, (
                    f"{len(records)} records in {topic} after {deadline_s} s, expected {at_least}"
                )
                for message in consumer.consume(10_000, timeout=0.1):
                    error, partition = message.error(), message.partition()
                    assert partition is not None
                    if error is None:
                        at_end.discard(partition)
                        records.append(_record(message))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        at_end.add(partition)
                    elif not error.retriable():
                        raise ServiceError(f"reading {topic}: {error}")
        finally:
            consumer.close()
        return sorted(records, key=lambda record: (record.partition, record.offset))


def _record(message: Message) -> Record:
    _, timestamp_ms = message.timestamp()
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    headers: Any = message.headers() or ()  # its stub also has a mapping, which is for produce alone
    return Record(partition, offset, timestamp_ms, message.key(), message.value(), tuple(headers))
