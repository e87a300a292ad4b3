"""KAFKA_OPTIONS: what is set there is in force or refused, never passed over in silence."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer

from supervisor import kafka
from supervisor.errors import SettingsError
from supervisor.settings import Options, Settings

REQUIRED = {"NODE_ID": "w1", "KAFKA_DSN": "kafka:9092", "ACK_MODE": "line"}
GUARANTEES = ("at-least-once", "at-most-once", "exactly-once")


def load(guarantee: str, options: str = "") -> Settings:
    """Return the settings with these options."""
    environ = REQUIRED | {"PROCESSING_GUARANTEE": guarantee, "KAFKA_OPTIONS": options}
    return Settings.load(environ, Options(program="cat"))


def properties(settings: Settings) -> list[dict[str, str]]:
    """Return those of both clients."""
    return [kafka.consumer_properties(settings, "topic"), kafka.producer_properties(settings)]


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
