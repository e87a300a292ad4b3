"""The two native ends as the settings want them."""

from __future__ import annotations

from supervisor import kafka
from supervisor._framing import Inlet, Outlet
from supervisor.errors import KafkaError
from supervisor.settings import Settings


def make_outlet(settings: Settings) -> Outlet:
    """Return the outgoing side; raise KafkaError with librdkafka's reason if it refuses a property."""
    try:
        return Outlet(
            kafka.producer_properties(settings),
            settings.node_id,
            output_json=settings.output_json,
            max_line_bytes=settings.max_line_bytes,
            max_message_bytes=kafka.max_message_bytes(settings),
            max_slab_bytes=kafka.SLAB_BYTES,
            marker_prefix=settings.marker_prefix if settings.ack_mode == "marker" else b"",
            transactional=settings.processing_guarantee == "exactly-once",
            at_most_once=settings.processing_guarantee == "at-most-once",
            propagate_key=settings.propagate_key,
        )
    except ValueError as error:
        raise KafkaError(kafka.refusal(settings, "producer", str(error))) from None


def make_inlet(topic: str, settings: Settings, outlet: Outlet) -> Inlet:
    """Return the incoming side of a topic, whose lines come out of ``outlet``; raise KafkaError likewise."""
    try:
        return Inlet(
            kafka.consumer_properties(settings, topic),
            topic,
            outlet,
            max_in_flight_records=settings.max_in_flight_records,
            max_in_flight_bytes=settings.max_in_flight_bytes,
            ack_idle_s=settings.ack_idle_s,
            feed_ahead_s=settings.feed_ahead_s,
            revoke_grace_s=settings.adoption_graceperiod_s,
            input_newlines=settings.input_newlines,
            ack_mode=settings.ack_mode,
            commit_ahead=settings.processing_guarantee == "at-most-once",
            transactional=settings.processing_guarantee == "exactly-once",
        )
    except (ValueError, OSError) as error:
        raise KafkaError(kafka.refusal(settings, "consumer", str(error))) from None
