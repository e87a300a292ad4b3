"""What is said of the environment at the start and stops nothing: logs and status, names that are nearly ours."""

from __future__ import annotations

import pytest

from supervisor.renewal import Renewal, renewal
from supervisor.settings import Options, Settings

REQUIRED = {"NODE_ID": "w1", "KAFKA_DSN": "kafka:9092"}
CAT = Options(program="cat")

UNREADABLE = {
    "log_level": ("trace", "20", "", "\udcff", "critical\n"),
    "log_colors": ("maybe", "yes"),
    "log_format": ("%(message)s", "logfmt"),
    "http_host": ("localhost:8080", "http://0.0.0.0", "1.2.3"),
    "http_port": ("tcp://10.96.0.1:80", "70000", "-1", "8080/tcp"),
}
"""Values as images and clusters have them for their own purposes."""

READABLE = {"log_level": "error", "log_colors": "true", "log_format": "console", "http_host": "::1", "http_port": "81"}


@pytest.mark.parametrize(("field", "text"), [(field, text) for field, texts in UNREADABLE.items() for text in texts])
def test_what_concerns_logs_and_status_alone_stops_no_start(field: str, text: str) -> None:
    """The other spelling counts if it can be read, else the default; the note names what was met."""
    name, default = field.upper(), getattr(Settings.load(REQUIRED, CAT), field)
    for spelling in (name, f"BDZ_{name}"):
        settings = Settings.load({**REQUIRED, spelling: text}, CAT)
        assert getattr(settings, field) == default
        assert [note.startswith(f"{spelling}: met ") for note in settings.notes] == [True] * bool(text)
    both = Settings.load({**REQUIRED, name: text, f"BDZ_{name}": READABLE[field]}, CAT)
    assert getattr(both, field) == getattr(Settings.load({**REQUIRED, name: READABLE[field]}, CAT), field) != default
    assert [f"BDZ_{name} holds: {READABLE[field]}" in note for note in both.notes] == [True] * bool(text)
    neither = Settings.load({**REQUIRED, name: text, f"BDZ_{name}": "no\x7fsuch"}, CAT)
    assert getattr(neither, field) == default
    assert len(neither.notes) == 1 + bool(text)


def test_nor_a_route() -> None:
    """LOG_LEVEL in the KV directory: what can be read wins, what cannot is a note, and nothing is made new for it."""
    environment = Settings.load({**REQUIRED, "LOG_LEVEL": "warn"}, CAT)
    assert environment.kv_in_force()["log_level"] == ("warning", "environment")
    debug = environment.with_kv({"log_level": "DEBUG"})
    assert (debug.log_level, debug.kv_notes) == ("debug", ())
    assert debug.kv_in_force()["log_level"] == ("debug", "KV")
    wrong = environment.with_kv({"log_level": "trace", "ack_mode": "line"})
    assert (wrong.log_level, wrong.ack_mode) == ("warning", "line")
    assert wrong.kv_in_force()["log_level"] == ("warning", "environment")
    (note,) = wrong.kv_notes
    assert note.startswith("log_level: met 'trace'; expected debug or info")
    assert note.endswith("that of the environment holds: warning")
    assert renewal(environment, debug) is Renewal.NOTHING


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ACKMODE", "ACK_MODE"),
        ("ack_mode", "ACK_MODE"),
        ("log_level", "LOG_LEVEL"),
        ("Kafka-Dsn", "KAFKA_DSN"),
        ("bdz_ack_mode", "BDZ_ACK_MODE"),
        ("BDZACKMODE", "BDZ_ACK_MODE"),
        ("SHUTDOWN_GRACE_PERIOD", "SHUTDOWN_GRACEPERIOD"),
        ("KAFKA_SASLPASSWORD", "KAFKA_SASL_PASSWORD"),
    ],
)
def test_a_name_that_is_nearly_ours_is_told(name: str, meant: str) -> None:
    """With ours, without its value, and it has no effect."""
    settings = Settings.load({**REQUIRED, name: "hunter2"}, CAT)
    (note,) = settings.notes
    assert note.startswith(f"{name}: not read ")
    assert f" {meant};" in note
    assert "hunter2" not in note
    assert Settings.load({**REQUIRED, name: ""}, CAT).notes == ()


def test_other_names_are_not() -> None:
    """Those that are ours, those of others, and the retired ones, of which there is a note of their own."""
    others = {"LOG": "x", "MODE": "x", "PATH": "/bin", "HTTP_PORT_80_TCP": "x", "ACK_MODES": "x", "NODE_NAME": "x"}
    assert Settings.load({**REQUIRED, **others, "BDZ_ACK_MODE": "line", "ACK_MODE": "line"}, CAT).notes == ()
    assert len(Settings.load({**REQUIRED, "ACK_READAHEAD_BYTES": "1"}, CAT).notes) == 1
