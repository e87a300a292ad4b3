"""What a person can do about an error of a Kafka client, by librdkafka's code."""

from __future__ import annotations

from typing import Final

GENERAL: Final = "look at the brokers, KAFKA_DSN and the topic"

_TOPIC = "give the Kafka user its right to this topic back (Read for an incoming, Write for an outgoing stream)"
_MISSING = "the topic does not exist: have the platform create it, or correct the route"
_CREDENTIALS = (
    "look at KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD; new values need a new start, but for a "
    "password in KAFKA_SASL_PASSWORD_FILE"
)

_BY_CODE: Final = {
    29: _TOPIC,
    30: "give the Kafka user the right Read to the group KAFKA_CONSUMER_GROUP",
    31: "give the Kafka user the right IdempotentWrite to the cluster, or Write to a topic",
    53: "give the Kafka user the rights Write and Describe to transactional ids that begin with supervisor-",
    33: _CREDENTIALS,
    58: _CREDENTIALS,
    -169: _CREDENTIALS,
    3: _MISSING,
    -188: _MISSING,
    -190: _MISSING,
    100: _MISSING,
    82: "another instance has the same group.instance.id: give each its own in KAFKA_OPTIONS",
    -147: "the machine or this process was stopped for longer than max.poll.interval.ms",
}


def remedy(code: int) -> str:
    """Say what to do, in half a sentence."""
    return _BY_CODE.get(code, GENERAL)
