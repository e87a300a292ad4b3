"""KAFKA_OPTIONS: what is set there is in force or refused, never passed over in silence."""

from __future__ import annotations

import gc
import time

import pytest
from confluent_kafka import Consumer

from supervisor import ends, kafka
from supervisor._framing import live
from supervisor._framing import load as bind
from supervisor.errors import KafkaError, SettingsError
from supervisor.settings import Options, Settings

REQUIRED = {"NODE_ID": "w1", "KAFKA_DSN": "kafka:9092", "ACK_MODE": "line"}
bind(kafka.librdkafka_path())
GUARANTEES = ("at-least-once", "at-most-once", "exactly-once")


def load(guarantee: str, options: str = "") -> Settings:
    """Return the settings with these options."""
    environ = REQUIRED | {"PROCESSING_GUARANTEE": guarantee, "KAFKA_OPTIONS": options}
    return Settings.load(environ, Options(program="cat"))


def properties(settings: Settings) -> list[dict[str, str]]:
    """Return those of both clients."""
    return [kafka.consumer_properties(settings, "topic"), kafka.producer_properties(settings)]


def until_native_memory_is_given_back() -> None:
    """An end that never ran goes in the background."""
    end_s = time.monotonic() + 10.0
    while any(live().values()) and time.monotonic() < end_s:
        gc.collect()
        time.sleep(0.01)


@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_no_property_is_overruled_in_silence(guarantee: str) -> None:
    """Of all that the Supervisor sets itself."""
    for name in {name for client in properties(load(guarantee)) for name in client}:
        try:
            settings = load(guarantee, f"{name}=other")
        except SettingsError as error:
            assert f"KAFKA_OPTIONS: {name} belongs to the Supervisor" in str(error)  # noqa: PT017 - or it is in force
            continue
        assert all(client.get(name, "other").startswith("other") for client in properties(settings)), name


def test_a_timeout_of_lines_is_refused_with_its_reason() -> None:
    """A line that timed out would be lost."""
    with pytest.raises(SettingsError, match=r"message.timeout.ms belongs to the Supervisor, leave it out: .* be lost"):
        load("at-least-once", "message.timeout.ms=30000")


def test_a_change_to_transactions_is_refused_where_options_do_not_go_with_them() -> None:
    """Whether the environment says so or the KV directory."""
    uncommitted = "isolation.level=read_uncommitted"
    refused = "KAFKA_OPTIONS: isolation.level belongs to the Supervisor where {} is exactly-once; leave it out"
    with pytest.raises(SettingsError, match=refused.format("PROCESSING_GUARANTEE")):
        load("exactly-once", uncommitted)
    settings = load("at-least-once", uncommitted)
    assert kafka.consumer_properties(settings, "topic")["isolation.level"] == "read_uncommitted"
    with pytest.raises(SettingsError, match=refused.format("processing_guarantee")):
        settings.with_kv({"processing_guarantee": "exactly-once"})
    load("exactly-once", "isolation.level=read_committed")


@pytest.mark.parametrize(
    ("options", "fetched"),
    [
        ("", {"fetch.max.bytes": "262144", "fetch.message.max.bytes": "262144", "queued.min.messages": "10000"}),
        ("message.max.bytes=3000000", {"fetch.max.bytes": "3000000"}),
        ("message.max.bytes=0x2dc6c0", {"fetch.max.bytes": "3000000"}),
        ("message.max.bytes=1000", {"fetch.max.bytes": "262144"}),
        ("max.partition.fetch.bytes=1048576,fetch.max.bytes=2000000", {"fetch.max.bytes": "2000000"}),
        ("queued.min.messages=50000", {"queued.min.messages": "50000"}),
    ],
)
def test_what_is_fetched_ahead_is_bounded_and_can_be_set(options: str, fetched: dict[str, str]) -> None:
    """The properties depend on each other, and librdkafka takes them."""
    properties = kafka.consumer_properties(load("at-least-once", options), "topic")
    assert fetched.items() <= properties.items()
    Consumer(properties | {"bootstrap.servers": "127.0.0.1:1", "log_level": "0"}).close()


@pytest.mark.parametrize("text", ["0x3e8", "01750", "1000 bytes", "1000"])
def test_numbers_are_read_as_librdkafka_reads_them(text: str) -> None:
    """Those that the outgoing side goes by itself too."""
    settings = load("at-least-once", f"message.max.bytes={text},batch.size={text},linger.ms=5ms")
    assert kafka.option_problems(settings) == []
    assert kafka.max_message_bytes(settings) == 1000
    ends.make_outlet(settings)
    until_native_memory_is_given_back()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("no.such.property=x", 'no.such.property: No such configuration property: "no.such.property"'),
        ("linger.ms=soon", 'linger.ms: Invalid value for configuration property "queue.buffering.max.ms"'),
        ("message.max.bytes=many", "message.max.bytes: Invalid value"),
        ("message.max.bytes=1", 'message.max.bytes: Configuration property "message.max.bytes" value 1 is outside'),
        ("compression.codec=zip", 'compression.codec: Invalid value "zip"'),
        ("opaque=1", "opaque: "),
    ],
)
def test_what_librdkafka_refuses_is_named(options: str, problem: str) -> None:
    """Under the name that set it, with the property as it was written."""
    (met,) = kafka.option_problems(load("at-least-once", options))
    assert met.startswith(f"KAFKA_OPTIONS: {problem}")


def test_what_goes_with_nothing_else_is_named_when_the_client_is_made() -> None:
    """That is when librdkafka sees it."""
    settings = load("at-least-once", "fetch.max.bytes=1000")
    assert kafka.option_problems(settings) == []
    with pytest.raises(KafkaError, match=r"^KAFKA_OPTIONS: fetch.max.bytes: the Kafka consumer cannot be made: "):
        ends.make_inlet("topic", settings, ends.make_outlet(settings))
    until_native_memory_is_given_back()
    sasl = {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "GSSAPI"}
    settings = Settings.load(REQUIRED | sasl | {"KAFKA_OPTIONS": "linger.ms=7"}, Options(program="cat"))
    with pytest.raises(KafkaError, match=r"^the Kafka producer cannot be made: .* look at the KAFKA_ settings$"):
        ends.make_outlet(settings)
