"""The properties of the two Kafka clients. The only importer of confluent_kafka, for the librdkafka it carries.

The Supervisor owns the properties that its promises rest on; everything else can be set through KAFKA_OPTIONS.
"""

from __future__ import annotations

import ctypes
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from zlib import crc32

import confluent_kafka.cimpl

from supervisor import values
from supervisor.settings import SECRET_KAFKA_OPTION, Settings

PREFETCH_KBYTES: Final = 16384
"""Bound of what librdkafka fetches ahead of the ledger, over all partitions: they share one queue."""

PREFETCH_RECORDS: Final = 10_000
"""Likewise of their number: librdkafka takes some 350 bytes for each, and counts neither that nor keys and headers."""

FETCH_BYTES: Final = 1 << 18
"""Most that a broker answers a fetch with, if a single batch is not larger.

It comes compressed and is taken apart at once: of records of one byte, zstd has some 130,000 in it, which take 45 MiB.
"""

SLAB_BYTES: Final = 32 << 20
"""Bound of the envelopes handed to librdkafka and not delivered yet."""

_DEFAULT_MESSAGE_MAX_BYTES = "1000000"  # librdkafka's message.max.bytes
_NUMBERS_WE_READ: Final[Mapping[str, Callable[[str], float | None]]] = {
    "batch.num.messages": values.librdkafka_int,
    "batch.size": values.librdkafka_int,
    "linger.ms": values.librdkafka_float,
    "message.max.bytes": values.librdkafka_int,
}

TRANSACTION_TIMEOUT_MS: Final = 10_000
"""How long the open transaction of a killed instance holds up those who read committed records only."""


def librdkafka_path() -> str:
    """Path of the loaded shared object whose librdkafka the data path binds."""
    return str(confluent_kafka.cimpl.__file__)


def client_id(settings: Settings) -> str:
    """Name of both clients, as quotas know it."""
    return settings.kafka_options.get("client.id", f"supervisor-{settings.node_id}")


def sasl_problem(mechanism: str | None) -> str | None:
    """Return why this librdkafka has no such SASL mechanism, in one line; None if it has, or none is asked for.

    Asked of the library itself, because its builds differ: no wheel has GSSAPI so far.
    """
    if mechanism != "GSSAPI":
        return None
    try:
        confluent_kafka.Producer({"builtin.features": "sasl_gssapi", "log_level": 0})
    except confluent_kafka.KafkaException:
        return (
            "KAFKA_SASL_MECHANISM: GSSAPI (Kerberos) needs a librdkafka that was built with it, and the one of the "
            "confluent-kafka package was not; expected PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER"
        )
    return None


def option_problems(settings: Settings) -> list[str]:
    """Return, in librdkafka's words, each of KAFKA_OPTIONS that it does not know or take, one line each.

    One by one, because its words may name an alias. What goes with what it says when a client is made.
    """
    name = settings.name_of("kafka_options")
    return [f"{name}: {problem}" for problem in _refused_options(settings.kafka_options)]


def _refused_options(options: Mapping[str, str]) -> Iterator[str]:
    if not options:
        return
    library = ctypes.CDLL(librdkafka_path())
    library.rd_kafka_conf_new.restype = ctypes.c_void_p
    library.rd_kafka_conf_destroy.argtypes = [ctypes.c_void_p]
    library.rd_kafka_conf_set.argtypes = [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t
    ]  # fmt: skip
    for name, value in options.items():
        why = ctypes.create_string_buffer(512)
        conf = library.rd_kafka_conf_new()
        refused = library.rd_kafka_conf_set(conf, name.encode(), value.encode(), why, len(why))
        library.rd_kafka_conf_destroy(conf)
        if refused:
            words = why.value.decode("utf-8", "replace").strip()
            yield f"{name}: {words.replace(value, '***') if value and SECRET_KAFKA_OPTION.search(name) else words}"


def refusal(settings: Settings, client: str, why: str) -> str:
    """Say that librdkafka makes no such client, and where what it names was set."""
    for name in settings.kafka_options:
        if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", why):
            return f"{settings.name_of('kafka_options')}: {name}: the Kafka {client} cannot be made: {why}"
    return f"the Kafka {client} cannot be made: {why}; look at the KAFKA_ settings"


def _options(settings: Settings) -> dict[str, str]:
    """KAFKA_OPTIONS, with the numbers that we go by too written as everybody reads them."""
    options = dict(settings.kafka_options)
    for name, read in _NUMBERS_WE_READ.items():
        number = read(options[name]) if name in options else None
        if number is not None:  # else librdkafka refuses it
            options[name] = str(number)
    return options


def library() -> Any:
    """The client library with its admin client, for the commands that ask a cluster: a start does without."""
    import confluent_kafka.admin  # noqa: PLC0415

    return confluent_kafka


def asking_properties(settings: Settings) -> dict[str, str]:
    """Properties of a client that asks and reads for a command. It makes no topic, commits nothing, joins no group."""
    options = {name: value for name, value in _options(settings).items() if name != "group.instance.id"}
    return {
        **_common(settings),
        **options,
        "allow.auto.create.topics": "false",
        "client.id": f"supervisor-{settings.node_id}-asking",
        "log_level": "0",  # what goes wrong comes by the error callback
        "reconnect.backoff.max.ms": "1000",
        "statistics.interval.ms": "0",
    }


def consumer_properties(settings: Settings, topic: str) -> dict[str, str]:
    """Properties of the incoming side, for this topic."""
    transactional = settings.processing_guarantee == "exactly-once"
    return {
        **_common(settings),
        # Defaults of ours that KAFKA_OPTIONS may override.
        "queued.max.messages.kbytes": str(PREFETCH_KBYTES),
        "queued.min.messages": str(PREFETCH_RECORDS),  # which is where fetching stops: the queue is one for all
        "fetch.message.max.bytes": str(FETCH_BYTES),
        # librdkafka wants fetch.max.bytes not to be below message.max.bytes, which a consumer has no other use for.
        "message.max.bytes": str(FETCH_BYTES),
        "fetch.max.bytes": _fetch_max_bytes(settings),
        "fetch.queue.backoff.ms": "5",  # 1000 by default, which costs a factor of 3 with large records
        "session.timeout.ms": "10000",  # how long the records of a killed instance wait for the next one
        "isolation.level": "read_committed",
        **_options(settings),
        **_static_membership(settings, topic),
        # Ours: acknowledged offsets are stored, librdkafka commits what is stored, at a rebalance and at the end too.
        "group.id": settings.kafka_consumer_group,
        "auto.offset.reset": settings.kafka_auto_offset_reset,
        "enable.auto.commit": "false" if transactional else "true",
        "auto.commit.interval.ms": "1000",
        "enable.auto.offset.store": "false",
        "partition.assignment.strategy": "cooperative-sticky",
        "enable.partition.eof": "false",
        # Also of the committed offsets: those that are still in a transaction are waited for.
        **({"isolation.level": "read_committed"} if transactional else {}),
    }


def _fetch_max_bytes(settings: Settings) -> str:
    given = settings.kafka_options.get("message.max.bytes", "")
    return str(max(FETCH_BYTES, values.librdkafka_int(given) or 0))  # what is no number librdkafka refuses


def _static_membership(settings: Settings, topic: str) -> dict[str, str]:
    """A member that comes back under its id is given the partitions it had, whatever topic it asks for now."""
    member = settings.kafka_options.get("group.instance.id")
    return {} if member is None else {"group.instance.id": f"{member[:240]}-{crc32(topic.encode()):08x}"}


def producer_properties(settings: Settings) -> dict[str, str]:
    """Properties of the outgoing side."""
    return {
        **_common(settings),
        "linger.ms": "5",  # for which the outlet gathers lines
        "batch.size": "1000000",
        "message.max.bytes": _DEFAULT_MESSAGE_MAX_BYTES,
        "socket.timeout.ms": "10000",  # how long a partition waits for a leader that froze with a request in its hands
        **_options(settings),
        # Ours: nothing times out, because a line that timed out would be lost; idempotence keeps the order when a
        # request is sent again (docs/decisions).
        "message.timeout.ms": "0",
        "max.in.flight.requests.per.connection": "5",
        "enable.idempotence": "true",
        "acks": "all",
        "sticky.partitioning.linger.ms": "0",  # the outlet chooses a partition for each request by itself
        **_of_guarantee(settings),
    }


def _of_guarantee(settings: Settings) -> dict[str, str]:
    match settings.processing_guarantee:
        case "at-most-once":
            return {
                # The broker may have what it did not confirm, so nothing is sent again: idempotence wants it to be.
                "enable.idempotence": "false",
                "message.send.max.retries": "0",
                "max.in.flight.requests.per.connection": "1",
            }
        case "exactly-once":
            return {
                # A zombie is fenced by the group's metadata in its commit, not by its name.
                "transactional.id": f"supervisor-{settings.node_id}-{uuid.uuid4()}",
                "transaction.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
                # The transaction is over by then, and its records come again.
                "message.timeout.ms": str(TRANSACTION_TIMEOUT_MS),
                # librdkafka's send_offsets_to_transaction waits for the group's coordinator beyond its timeout, until
                # any broker's connection changes its state (its issues 5456 and 5511). So there are connections to
                # all brokers, and an idle one is closed and made again every 10 s.
                "enable.sparse.connections": "false",
                "connections.max.idle.ms": "10000",
            }
        case _:
            return {}


def max_message_bytes(settings: Settings) -> int:
    """Largest record that the producer takes, in bytes."""
    given = settings.kafka_options.get("message.max.bytes", _DEFAULT_MESSAGE_MAX_BYTES)
    return values.librdkafka_int(given) or 0


def _common(settings: Settings) -> dict[str, str]:
    optional = {
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": settings.kafka_sasl_password.get_secret_value() if settings.kafka_sasl_password else None,
        "ssl.ca.location": settings.kafka_ssl_ca_location,
        "ssl.certificate.location": settings.kafka_ssl_certificate_location,
        "ssl.key.location": settings.kafka_ssl_key_location,
    }
    return {
        "bootstrap.servers": settings.kafka_dsn,
        "client.id": client_id(settings),
        "statistics.interval.ms": "2000",  # tells whether any broker is connected
        "topic.metadata.refresh.interval.ms": "10000",  # how soon a topic that was missing is found
        "topic.metadata.propagation.max.ms": "5000",  # how long a topic may be missing before that is said
        "reconnect.backoff.max.ms": "2000",
        **{name: value for name, value in optional.items() if value is not None},
    }


class MockCluster:
    """Brokers on 127.0.0.1, built into librdkafka, for what runs without Kafka; they are numbered from 1.

    They keep 5 MiB a partition and forget older records without a word. They end with the process.
    """

    def __init__(self, *topics: str, partitions: int = 4, brokers: int = 1) -> None:
        self._library = library = ctypes.CDLL(librdkafka_path())
        for function, result, arguments in _MOCK_FUNCTIONS:
            getattr(library, function).restype = result
            getattr(library, function).argtypes = arguments
        why = ctypes.create_string_buffer(512)
        conf = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(conf, b"log_level", b"2", why, len(why))  # it wonders about having no broker
        handle = library.rd_kafka_new(_PRODUCER, conf, why, len(why))
        self._cluster = library.rd_kafka_mock_cluster_new(handle, brokers)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        for topic in topics:
            library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
            for partition in range(partitions):
                library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), partition, 1)
        self.bootstrap_servers: str = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()

    def coordinate(self, group: str, broker: int) -> None:
        """Let this broker coordinate the consumer group."""
        self._library.rd_kafka_mock_coordinator_set(self._cluster, b"group", group.encode(), broker)

    def lead(self, topic: str, broker: int, *, read_from: int) -> None:
        """Let the first broker lead the topic's partition 0, and consumers read it from the other one."""
        self._library.rd_kafka_mock_partition_set_leader(self._cluster, topic.encode(), 0, broker)
        self._library.rd_kafka_mock_partition_set_follower(self._cluster, topic.encode(), 0, read_from)

    def answer_after(self, broker: int, delay_ms: int) -> None:
        """Let this broker answer each request so long after it came, those that wait for an answer now included."""
        self._library.rd_kafka_mock_broker_set_rtt(self._cluster, broker, delay_ms)

    def producer(self, **properties: str | int) -> confluent_kafka.Producer:
        """Return a producer of plain records."""
        return confluent_kafka.Producer(
            {"bootstrap.servers": self.bootstrap_servers, "linger.ms": 5, "log_level": 0}
            | {name.replace("_", "."): value for name, value in properties.items()}
        )

    def reader(self, *topics: str, **properties: str | int) -> confluent_kafka.Consumer:
        """Return a consumer of all of the topics' partitions from their beginning; a gap comes as an error."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.bootstrap_servers, "group.id": "reader", "log_level": 0}
            | {"enable.auto.commit": False, "auto.offset.reset": "error"}
            | {name.replace("_", "."): value for name, value in properties.items()}
        )
        consumer.assign(
            [
                confluent_kafka.TopicPartition(topic, number, 0)
                for topic in topics
                for number in consumer.list_topics(topic, timeout=5).topics[topic].partitions
            ]
        )
        return consumer


_PRODUCER = 0
_POINTER, _TEXT, _INT = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
_MOCK_FUNCTIONS: Final[tuple[tuple[str, Any, list[Any]], ...]] = (
    ("rd_kafka_conf_new", _POINTER, []),
    ("rd_kafka_conf_set", _INT, [_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t]),
    ("rd_kafka_new", _POINTER, [_INT, _POINTER, _TEXT, ctypes.c_size_t]),
    ("rd_kafka_mock_cluster_new", _POINTER, [_POINTER, _INT]),
    ("rd_kafka_mock_cluster_bootstraps", _TEXT, [_POINTER]),
    ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [_POINTER, _INT]),
    ("rd_kafka_mock_topic_create", _INT, [_POINTER, _TEXT, _INT, _INT]),
    ("rd_kafka_mock_partition_set_leader", _INT, [_POINTER, _TEXT, _INT, _INT]),
    ("rd_kafka_mock_partition_set_follower", _INT, [_POINTER, _TEXT, _INT, _INT]),
    ("rd_kafka_mock_coordinator_set", _INT, [_POINTER, _TEXT, _TEXT, _INT]),
    ("rd_kafka_mock_broker_set_rtt", _INT, [_POINTER, _INT, _INT]),
)
