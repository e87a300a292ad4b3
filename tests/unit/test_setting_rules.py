"""Rules between settings: every spelling of a value is judged alike, in the environment and in the KV directory."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from supervisor.errors import SettingsError
from supervisor.setting_rules import overruled_in_transactions
from supervisor.settings import KV_KEYS, Options, Settings

REQUIRED = {"NODE_ID": "w1", "KAFKA_DSN": "kafka:9092"}
CAT = Options(program="cat")
TRUE = ("1", "t", "T", "true", "TRUE", "True")
FALSE = ("0", "f", "F", "false", "FALSE", "False")


def problems_of(environ: dict[str, str], kv: dict[str, str] | None = None) -> list[str]:
    """Of the environment, or of the directory over it."""
    try:
        settings = Settings.load(REQUIRED | environ, CAT)
        if kv is not None:
            settings.with_kv(kv)
    except SettingsError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize("text", TRUE)
@pytest.mark.parametrize("mode", ["demand", "Demand", "MARKER"])
def test_a_key_needs_a_line_however_it_is_asked_for(text: str, mode: str) -> None:
    """In both places, under the name that was written there."""
    expected = "only one line for each record can have its key; expected {} line with it"
    both = {"BDZ_PROPAGATE_KEY": text, "ACK_MODE": mode}
    assert problems_of(both) == ["BDZ_PROPAGATE_KEY: " + expected.format("ACK_MODE")]
    key = {"propagate_key": text}
    assert problems_of({"BDZ_ACK_MODE": mode}, key) == ["propagate_key: " + expected.format("BDZ_ACK_MODE")]
    mode_key = {"ack_mode": mode}
    line = {"PROPAGATE_KEY": text, "ACK_MODE": "line"}
    assert problems_of(line, mode_key) == ["PROPAGATE_KEY: " + expected.format("ack_mode")]


@pytest.mark.parametrize("text", FALSE)
def test_a_key_that_is_not_asked_for_needs_nothing(text: str) -> None:
    """Nor does one that the directory takes back."""
    assert problems_of({"PROPAGATE_KEY": text}) == []
    environ = {"PROPAGATE_KEY": "t", "ACK_MODE": "line"}
    assert problems_of(environ, {"propagate_key": text, "ack_mode": "demand"}) == []


@pytest.mark.parametrize(("text", "newlines"), list(product(TRUE, ["split", "SPLIT"])))
def test_a_key_and_several_lines_do_not_go_together(text: str, newlines: str) -> None:
    """Whatever the case."""
    environ = {"PROPAGATE_KEY": text, "ACK_MODE": "Line", "INPUT_NEWLINES": newlines}
    (problem,) = problems_of(environ)
    assert problem.startswith("PROPAGATE_KEY: a record of several lines has one key")


@pytest.mark.parametrize("guarantee", ["exactly-once", "Exactly-Once", "EXACTLY-ONCE"])
def test_transactions_are_judged_in_any_case(guarantee: str) -> None:
    """The guarantee, the mode and the newlines."""
    (problem,) = problems_of({"PROCESSING_GUARANTEE": guarantee, "ACK_MODE": "LINE", "INPUT_NEWLINES": "Split"})
    assert "a transaction could end inside a record" in problem
    (problem,) = problems_of({"ACK_MODE": "LINE", "INPUT_NEWLINES": "Split"}, {"processing_guarantee": guarantee})
    assert problem.startswith("processing_guarantee: exactly-once with ACK_MODE line and INPUT_NEWLINES split")
    (problem,) = problems_of({"KAFKA_OPTIONS": "isolation.level=read_uncommitted", "ACK_MODE": "line"},
                             {"processing_guarantee": guarantee})  # fmt: skip
    assert problem.startswith("KAFKA_OPTIONS: isolation.level belongs to the Supervisor where processing_guarantee is")


@pytest.mark.parametrize("value", ["read_committed", "READ_COMMITTED", " Read_Committed"])
def test_a_librdkafka_choice_is_read_as_librdkafka_reads_it(value: str) -> None:
    """Its names come in any case, behind white space."""
    assert overruled_in_transactions({"isolation.level": value, "linger.ms": "1"}) == []
    assert overruled_in_transactions({"isolation.level": value.replace("_", "_un")}) == ["isolation.level"]


@pytest.mark.parametrize("protocol", ["sasl_ssl", "SASL_SSL", "Sasl_Plaintext"])
@pytest.mark.parametrize("mechanism", ["plain", "PLAIN", "scram-sha-512"])
def test_connections_are_judged_in_any_case(protocol: str, mechanism: str) -> None:
    """The protocol that needs a mechanism, and the mechanism that needs a user and a password."""
    (problem,) = problems_of({"KAFKA_SECURITY_PROTOCOL": protocol})
    assert problem.startswith("KAFKA_SASL_MECHANISM: not set")
    problems = problems_of({"KAFKA_SECURITY_PROTOCOL": protocol, "BDZ_KAFKA_SASL_MECHANISM": mechanism})
    assert [problem.partition(":")[0] for problem in problems] == ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "KAFKA_SASL_MECHANISM: OAUTHBEARER, and no way to a token; expected in KAFKA_OPTIONS"),
        ("sasl.oauthbearer.method=default", "KAFKA_SASL_MECHANISM: OAUTHBEARER, and no way to a token"),
        ("enable.sasl.oauthbearer.unsecure.jwt=false", "KAFKA_SASL_MECHANISM: OAUTHBEARER, and no way to a token"),
        (
            "sasl.oauthbearer.method=oidc,sasl.oauthbearer.metadata.authentication.type=AWS_IAM",
            "KAFKA_OPTIONS: sasl.oauthbearer.metadata.authentication.type aws_iam needs the AWS SDK",
        ),
        ("sasl.oauthbearer.method= OIDC", None),
        ("sasl.oauthbearer.method=oidc,sasl.oauthbearer.metadata.authentication.type=azure_imds", None),
        ("enable.sasl.oauthbearer.unsecure.jwt=True", None),
    ],
)
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "oauthbearer"])
def test_a_mechanism_that_would_wait_for_a_token_for_ever_is_refused(
    mechanism: str, options: str, said: str | None
) -> None:
    """The application would have to bring the token, which the Supervisor does not."""
    environ = {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": mechanism, "KAFKA_OPTIONS": options}
    problems = problems_of(environ)
    assert len(problems) == (said is not None)
    assert said is None or problems[0].startswith(said)


@pytest.mark.parametrize(
    "environ",
    [
        {"PROCESSING_GUARANTEE": "exactly-twice", "ACK_MODE": "demand"},
        {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "lines"},
        {"PROPAGATE_KEY": "yes"},
        {"INPUT_NEWLINES": "reject", "DEAD_LETTER_STREAM": "a/b"},
        {"KAFKA_SECURITY_PROTOCOL": "tls", "KAFKA_SASL_USERNAME": "u"},
        {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "PLANE"},
    ],
)
def test_what_cannot_be_read_is_judged_by_no_rule(environ: dict[str, str]) -> None:
    """One mistake, one line."""
    assert len(problems_of(environ)) == 1


def test_a_password_file_that_cannot_be_read_is_one_problem(tmp_path: Path) -> None:
    """Not a password that is missing as well."""
    environ = {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "u"}
    (problem,) = problems_of({**environ, "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "none")})
    assert problem.startswith("KAFKA_SASL_PASSWORD_FILE: met ")


@pytest.mark.parametrize("name", ["ACK_READAHEAD_BYTES", "BDZ_ACK_READAHEAD_BYTES"])
@pytest.mark.parametrize("text", ["65536", "no size at all"])
def test_a_setting_that_no_longer_exists_is_told_and_no_error(name: str, text: str) -> None:
    """With what took its place; under the name that was set, whatever its value is."""
    settings = Settings.load({**REQUIRED, name: text}, CAT)
    (note,) = settings.notes
    assert note.startswith(f"{name}: has no effect any more, ")
    assert settings.with_kv({"ack_mode": "line"}).notes == settings.notes
    assert Settings.load({**REQUIRED, name: ""}, CAT).notes == ()


def test_feed_ahead_is_a_time() -> None:
    """Of the environment alone: it is no property of a route."""
    assert Settings.load({**REQUIRED, "BDZ_FEED_AHEAD": "1ms"}, CAT).feed_ahead_s == 0.001
    assert Settings.load({**REQUIRED, "FEED_AHEAD": "1m"}, CAT).feed_ahead_s == 60.0
    (problem,) = problems_of({"FEED_AHEAD": "0.9ms"})
    assert problem == "FEED_AHEAD: met '0.9ms'; too small, expected at least 1ms"
    (problem,) = problems_of({"FEED_AHEAD": "200"})
    assert problem.startswith("FEED_AHEAD: met '200'; a bare number")
    assert "feed_ahead" not in KV_KEYS


def test_what_is_shown_as_in_force_is_what_the_directory_may_say() -> None:
    """RESTART_BACKOFF_MAX is no such setting: a key of that name is unknown, passed over, and not shown."""
    settings = Settings.load({**REQUIRED, "RESTART_BACKOFF_MAX": "7s"}, CAT)
    assert set(settings.kv_in_force()) == set(KV_KEYS)
    assert "restart_backoff_max" not in KV_KEYS


def test_a_hangup_cannot_both_stop_and_reload() -> None:
    """Under the names that were written."""
    (problem,) = problems_of({"STOP_SIGNALS": "sighup", "BDZ_RELOAD_SIGNAL": "USR1"})
    assert problem == "BDZ_RELOAD_SIGNAL: has no effect where HUP stops; expected STOP_SIGNALS without HUP"
    assert problems_of({"STOP_SIGNALS": "HUP", "RELOAD_SIGNAL": "off"}) == []
