"""The part of ``supervisor check --connect`` that asks Kafka. It reads: no topic is made, no group joined."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from supervisor import kafka
from supervisor.remedies import remedy
from supervisor.route import Route, incoming_of, outgoing_of
from supervisor.settings import Settings
from supervisor.tools.cluster import GROUP_DENIED, TOPIC_DENIED, UNKNOWN_TOPIC, Cluster, Group, Refusal, Topic
from supervisor.tools.findings import ERROR, OK, WARNING, Finding, not_checked

TIMEOUT_S: Final = 4.0
"""Of each question; a cluster that has not answered the first one is not asked the next."""

STRATEGY: Final = "cooperative-sticky"

_SHOWN_MEMBERS: Final = 10
_ENVELOPE_BYTES: Final = len('{"wsp":"","ts":1700000000000,"raw":""}')
_RECORD_BYTES: Final = 100  # what a batch of one record has around its value

_LINK_HINT: Final = (
    "check KAFKA_DSN, that the brokers run and can be reached from here, and KAFKA_SECURITY_PROTOCOL with its settings"
)


def brokers(cluster: Cluster, settings: Settings) -> Finding:
    """Whether anybody answers; if not, nothing else can be seen."""
    met = cluster.brokers(TIMEOUT_S)
    if isinstance(met, Refusal):
        why = cluster.reports or met.words
        return Finding("Kafka brokers", ERROR, settings.kafka_dsn, message=f"no broker answers: {why}", hint=_LINK_HINT)
    return Finding("Kafka brokers", OK, ", ".join(met), message=f"{len(met)} alive")


def group(cluster: Cluster, settings: Settings) -> Iterator[Finding]:
    """State, strategy and members of the consumer group, and the right to it."""
    name = f"consumer group {settings.kafka_consumer_group}"
    met = cluster.group(settings.kafka_consumer_group, TIMEOUT_S)
    if isinstance(met, Refusal):
        if met.code == GROUP_DENIED:
            yield Finding(name, ERROR, message=met.words, hint=remedy(GROUP_DENIED))
        else:
            yield not_checked(name, met.words)
        return
    yield _group_state(name, met)
    yield _right(f"right to {name}", "READ", met.rights, remedy(GROUP_DENIED))


def _group_state(name: str, met: Group) -> Finding:
    if met.state == "DEAD" or not met.members:
        return Finding(name, OK, "no members", message="nobody is in it now")
    members = "; ".join(
        f"{member.client_id} at {member.host.lstrip('/')} with {member.partitions} partitions"
        for member in met.members[:_SHOWN_MEMBERS]
    )
    more = len(met.members) - _SHOWN_MEMBERS
    value = f"{met.state.lower()}, {met.strategy or 'no strategy yet'}, {len(met.members)} members"
    message = members + (f"; and {more} more" if more > 0 else "")
    if met.protocol != "CLASSIC":
        return Finding(
            name,
            ERROR,
            value,
            message=f"its members use the protocol {met.protocol.lower()}, a Supervisor the classic one: {message}",
            hint="give the workspace a group of its own in KAFKA_CONSUMER_GROUP",
        )
    if met.strategy and met.strategy != STRATEGY:
        return Finding(
            name,
            ERROR,
            value,
            message=f"its members share partitions out by {met.strategy}, a Supervisor by {STRATEGY}: it can join only "
            f"if each of them allows that too: {message}",
            hint="give the workspace a group of its own in KAFKA_CONSUMER_GROUP",
        )
    return Finding(name, OK, value, message=message)


def topics(cluster: Cluster, settings: Settings, route: Route | None) -> Iterator[Finding]:
    """The topics of the route and the dead letter stream: are they there, may they be used, what do they take."""
    uses = [
        (role, topic, right)
        for role, topic, right in (
            ("incoming stream", incoming_of(route), "READ"),
            ("outgoing stream", outgoing_of(route), "WRITE"),
            ("dead letter stream", settings.dead_letter_stream, "WRITE"),
        )
        if topic is not None
    ]
    if not uses:
        return
    met = cluster.topics(sorted({topic for _, topic, _ in uses}), TIMEOUT_S)
    largest: dict[str, int | Refusal] = {}
    for role, topic, right in uses:
        found = met[topic]
        yield _topic(role, topic, found)
        if isinstance(found, Topic):
            yield _right(
                f"right to {role}", right, found.rights, f"give the Kafka user {right.title()} on topic {topic}"
            )
            largest[role] = cluster.largest_record(topic, TIMEOUT_S)
    if settings.processing_guarantee == "exactly-once":
        yield not_checked(
            "right to transactional ids",
            "it cannot be seen without a transaction",
            hint="exactly-once needs Write and Describe on transactional ids that begin with supervisor-",
        )
    if route is not None:
        yield from _sizes(settings, route, largest)


def _topic(role: str, topic: str, met: Topic | Refusal) -> Finding:
    if isinstance(met, Refusal):
        if met.code == UNKNOWN_TOPIC:
            hint = "have the platform create it, or correct the route: the Supervisor creates no topics"
            return Finding(role, ERROR, topic, message="there is no such topic", hint=hint)
        if met.code == TOPIC_DENIED:
            return Finding(role, ERROR, topic, message=met.words, hint=remedy(TOPIC_DENIED))
        return not_checked(role, met.words, topic)
    partitions = f"{met.partitions} partitions" if met.partitions != 1 else "1 partition"
    if met.leaderless:
        without = ", ".join(map(str, met.leaderless))
        return Finding(
            role, ERROR, topic, message=f"{partitions}, without a leader: {without}", hint="look at the brokers"
        )
    return Finding(role, OK, topic, message=partitions)


def _right(name: str, needed: str, rights: frozenset[str] | None, hint: str) -> Finding:
    word = needed.capitalize()
    if rights is None:
        return not_checked(name, "the broker does not say", word)
    if needed in rights or "ALL" in rights:
        return Finding(name, OK, word)
    has = ", ".join(sorted(right.replace("_", " ").title().replace(" ", "") for right in rights)) or "none"
    return Finding(name, ERROR, word, message=f"it is missing; what there is: {has}", hint=hint)


def _sizes(settings: Settings, route: Route, largest: dict[str, int | Refusal]) -> Iterator[Finding]:
    """Whether every line up to MAX_LINE_BYTES can become a record, and every record a dead letter."""
    outgoing = largest.get("outgoing stream")
    if route.outgoing_stream is not None:
        name = "size limits"
        limits = {"message.max.bytes of the producer (KAFKA_OPTIONS)": kafka.max_message_bytes(settings)}
        if isinstance(outgoing, int):
            limits[f"max.message.bytes of {route.outgoing_stream}"] = outgoing
        what, limit = min(limits.items(), key=lambda item: item[1])
        room = limit - _ENVELOPE_BYTES - _RECORD_BYTES - len(settings.node_id)
        value = f"MAX_LINE_BYTES {settings.max_line_bytes}, {what} {limit}"
        if settings.max_line_bytes > room:
            yield Finding(
                name,
                WARNING,
                value,
                message=f"a line of more than some {max(room, 0)} bytes is too large for a record, and becomes a dead "
                "letter or is dropped",
                hint=f"lower MAX_LINE_BYTES to {max(room, 1)}, or raise {what}",
            )
        else:
            yield Finding(name, OK, value, message="lines fit; quotes, backslashes and control characters take more")
        if not isinstance(outgoing, int):
            yield not_checked(
                f"max.message.bytes of {route.outgoing_stream}",
                outgoing.words if outgoing else "the topic was not seen",
            )
    incoming, dead = largest.get("incoming stream"), largest.get("dead letter stream")
    if isinstance(incoming, int) and isinstance(dead, int) and dead < incoming:
        yield Finding(
            "size limits of dead letters",
            WARNING,
            f"{settings.dead_letter_stream} {dead}, {route.incoming_stream} {incoming}",
            message="the largest records could not become dead letters, and what is behind one would wait",
            hint=f"raise max.message.bytes of {settings.dead_letter_stream}",
        )


def names(settings: Settings) -> Sequence[str]:
    """Names of what is not seen when no broker answers."""
    return (f"consumer group {settings.kafka_consumer_group}", "topics of the route", "size limits")
