"""Settings: both spellings, defaults, every problem at once, secrets kept."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from supervisor.errors import SettingsError
from supervisor.settings import SECRET_VARIABLES, Options, Settings, variable_name, variables

REQUIRED = {"NODE_ID": "w1", "KAFKA_DSN": "kafka:9092"}
CAT = Options(program="cat")


def problems_of(environ: dict[str, str], options: Options = CAT) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load(environ, options)
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


def test_defaults_are_those_of_the_manual() -> None:
    """Every row of the platform's table, and those beyond it."""
    settings = Settings.load(REQUIRED, CAT)
    expected: dict[str, object] = {
        "node_id": "w1",
        "kafka_dsn": "kafka:9092",
        "kafka_consumer_group": "bdz_default_sg",
        "consul_advertise": None,
        "consul_name_tpl": "bdz-wsp-%s",
        "consul_resync_interval_s": 30.0,
        "consul_dir": "buldozer/subordinate",
        "output_json": False,
        "adoption_graceperiod_s": 3.0,
        "shutdown_graceperiod_s": 3.0,
        "log_level": "info",
        "log_colors": None,
        "log_format": "auto",
        "http_host": "0.0.0.0",
        "http_port": 8080,
        "processing_guarantee": "at-least-once",
        "ack_mode": "demand",
        "feed_ahead_s": 0.2,
        "marker_prefix": b"\x1eBDZ-ACK ",
        "ack_idle_s": 1.0,
        "max_in_flight_records": 100_000,
        "max_in_flight_bytes": 64 * 2**20,
        "max_line_bytes": 900_000,
        "input_newlines": "space",
        "restart_backoff_max_s": 30.0,
        "stop_signals": {signal.SIGTERM, signal.SIGINT},
        "reload_signal": None,
        "kafka_options": {},
        "kafka_auto_offset_reset": "earliest",
        "kafka_security_protocol": None,
        "consul_http_ssl": False,
        "consul_http_ssl_verify": True,
    }
    assert {name: getattr(settings, name) for name in expected} == expected
    assert str(settings.consul_dsn) == "http://localhost:8500"
    assert settings.kv_directory == "buldozer/subordinate/w1"
    assert settings.service_name == "bdz-wsp-w1"


@pytest.mark.parametrize("field", [field for field, _ in variables()])
def test_every_setting_has_both_spellings_and_the_unprefixed_one_wins(field: str, tmp_path: Path) -> None:
    """A value that the field refuses shows which of the two was read."""
    name, prefixed = variable_name(field), f"BDZ_{variable_name(field)}"
    file = tmp_path / "file"
    file.write_text("secret")
    samples = {
        "kafka_sasl_password": "x",
        "kafka_sasl_username": "x",
        "kafka_consumer_group": "g1",
        "program": "sh",
        "consul_http_token": "t",
        "marker_prefix": "t",
    }
    if field in samples:
        # any text is good for these: look at what arrives
        environ = {
            **REQUIRED, "PROGRAM": "", "KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "PLAIN",
            "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD": "p",
        }  # fmt: skip
        del environ["PROGRAM"]
        options = Options() if field == "program" else CAT
        environ.pop(name, None)

        def arrived(environ: dict[str, str]) -> object:
            value = getattr(Settings.load(environ, options), field)
            if isinstance(value, bytes):
                return value.decode()
            return value.get_secret_value() if hasattr(value, "get_secret_value") else value

        assert arrived({**environ, prefixed: "one"}) == "one"
        assert arrived({**environ, prefixed: "one", name: "two"}) == "two"
        assert arrived({**environ, prefixed: "one", name: ""}) == "one"
    elif next(variable for name, variable in variables() if name == field).never_stops:
        notes = Settings.load({**REQUIRED, name: "no\x7fsuch", prefixed: "\x7f3s"}, CAT).notes
        assert [note.split(":")[0] for note in notes] == [name, prefixed]
    else:
        bad = "/no/such\x7f"
        environ = {key: value for key, value in REQUIRED.items() if key != name}
        assert [line for line in problems_of({**environ, prefixed: bad}) if line.startswith(f"{prefixed}: ")]
        assert [line for line in problems_of({**environ, prefixed: "3s", name: bad}) if line.startswith(f"{name}: ")]


def test_every_problem_is_named_at_once() -> None:
    """One line each: the variable as spelled, what was met, what is expected."""
    problems = problems_of(
        {
            "BDZ_CONSUL_RESYNC_INTERVAL": "30",
            "SHUTDOWN_GRACEPERIOD": "-3s",
            "MAX_IN_FLIGHT_RECORDS": "70000000",
            "OUTPUT_JSON": "yes",
            "ACK_MODE": "markers",
            "PROCESSING_GUARANTEE": "exactly-twice",
            "INPUT_NEWLINES": "rejects",
            "DEAD_LETTER_STREAM": "a/b",
            "POISON_MAX_ATTEMPTS": "0",
            "KAFKA_OPTIONS": "group.id=g,linger.ms",
            "CONSUL_NAME_TPL": "%s-%s",
            "CONSUL_DIR": "a//b",
            "CONSUL_CACERT": "/no/such/file",
        },
        Options(problems=("--args: met without a value; expected arguments",)),
    )
    starts = [
        "--args: met without a value",
        "NODE_ID: not set (nor BDZ_NODE_ID); expected",
        "KAFKA_DSN: not set (nor BDZ_KAFKA_DSN); expected",
        "BDZ_CONSUL_RESYNC_INTERVAL: met '30'; a bare number, expected a duration",
        "SHUTDOWN_GRACEPERIOD: met '-3s'; negative",
        "MAX_IN_FLIGHT_RECORDS: met '70000000'; expected a number from 1 to 16777216",
        "OUTPUT_JSON: met 'yes'; expected true or false",
        "ACK_MODE: met 'markers'; expected demand or line or marker",
        "PROCESSING_GUARANTEE: met 'exactly-twice'; expected at-least-once or at-most-once or exactly-once",
        "INPUT_NEWLINES: met 'rejects'; expected space or split or reject",
        "DEAD_LETTER_STREAM: met 'a/b'; expected a topic's name",
        "POISON_MAX_ATTEMPTS: met '0'; expected a number from 1",
        "KAFKA_OPTIONS: group.id belongs to the Supervisor",
        "KAFKA_OPTIONS: item 2 is not name=value",
        "CONSUL_NAME_TPL: met '%s-%s'; expected a service name",
        "CONSUL_DIR: met 'a//b'; expected a directory",
        "CONSUL_CACERT: met '/no/such/file'; No such file or directory, expected a file",
    ]
    for start in starts:
        assert [line for line in problems if line.startswith(start)], (start, problems)
    assert len(problems) == len(starts)
    assert all("\n" not in line for line in problems)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"BDZ_INPUT_NEWLINES": "reject"}, "BDZ_INPUT_NEWLINES: reject without a stream for what is rejected"),
        ({"PROPAGATE_KEY": "true"}, "PROPAGATE_KEY: only one line for each record can have its key; expected ACK_MODE"),
        (
            {"PROPAGATE_KEY": "true", "ACK_MODE": "line", "INPUT_NEWLINES": "split"},
            "PROPAGATE_KEY: a record of several lines has one key; expected INPUT_NEWLINES space or reject",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(environ: dict[str, str], problem: str) -> None:
    """Each is right by itself."""
    (met,) = problems_of({**REQUIRED, **environ})
    assert met.startswith(problem)


def test_rejecting_and_keys_go_with_what_they_need() -> None:
    """The stream for what is rejected; one line for each record."""
    environ = {"INPUT_NEWLINES": "reject", "DEAD_LETTER_STREAM": "dead", "ACK_MODE": "line", "PROPAGATE_KEY": "true"}
    settings = Settings.load({**REQUIRED, **environ}, CAT)
    assert (settings.input_newlines, settings.dead_letter_stream, settings.propagate_key) == ("reject", "dead", True)


@pytest.mark.parametrize("node_id", ["w1", "a.b_c-D", "0" * 128])
def test_node_ids_fit_a_key_and_a_service_name(node_id: str) -> None:
    """What the platform uses passes."""
    assert Settings.load({**REQUIRED, "NODE_ID": node_id}, CAT).node_id == node_id


@pytest.mark.parametrize("node_id", ["a/b", "a b", ".", "..", "%s", "a\n", "ü", "0" * 129, "a\udcff"])
def test_other_node_ids_are_refused(node_id: str) -> None:
    """They would name another directory, or none."""
    assert problems_of({**REQUIRED, "NODE_ID": node_id})[0].startswith("NODE_ID: met ")


@pytest.mark.parametrize(("template", "name"), [("wsp-%s-x", "wsp-w1-x"), ("plain", "plain")])
def test_the_service_name_comes_from_the_template(template: str, name: str) -> None:
    """A template without %s is the name itself."""
    assert Settings.load({**REQUIRED, "CONSUL_NAME_TPL": template}, CAT).service_name == name


def test_slashes_around_the_directory_are_dropped() -> None:
    """The manual ignores them at both ends."""
    assert Settings.load({**REQUIRED, "CONSUL_DIR": "/a/b/"}, CAT).kv_directory == "a/b/w1"


@pytest.mark.parametrize(("text", "level"), [("warn", "warning"), ("WARNING", "warning"), ("Debug", "debug")])
def test_log_levels_come_in_any_case(text: str, level: str) -> None:
    """``warn`` is a spelling of warning."""
    assert Settings.load({**REQUIRED, "LOG_LEVEL": text}, CAT).log_level == level


def test_the_option_wins_over_the_variable() -> None:
    """``--bin`` over PROGRAM; bytes that are no UTF-8 survive in program and arguments."""
    settings = Settings.load({**REQUIRED, "PROGRAM": "sh"}, Options(program="c\udcffat", args=("\udcfe",)))
    assert (settings.program, settings.args) == ("c\udcffat", ("\udcfe",))


def test_a_missing_program_is_named() -> None:
    """With all three ways to give it."""
    (problem,) = problems_of(REQUIRED, Options())
    assert all(word in problem for word in ("--bin", "PROGRAM", "BDZ_PROGRAM"))


def test_https_is_spoken_when_either_setting_says_so() -> None:
    """As Consul's own tools: TLS asked for is never taken back."""
    for environ in ({"CONSUL_HTTP_SSL": "true", "CONSUL_DSN": "http://c:1"}, {"CONSUL_DSN": "https://c:1"}):
        assert str(Settings.load(REQUIRED | environ, CAT).consul_dsn) == "https://c:1"


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    """The newline that an editor leaves is no part of them; the file of the token wins over its variable."""
    password, secret_token = tmp_path / "password", tmp_path / "token"
    password.write_text("pass word\n")
    secret_token.write_text("t2\n")
    settings = Settings.load(
        {
            **REQUIRED, "KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_MECHANISM": "scram-sha-256",
            "KAFKA_SASL_USERNAME": "u", "KAFKA_SASL_PASSWORD_FILE": str(password),
            "CONSUL_HTTP_TOKEN": "t1", "CONSUL_HTTP_TOKEN_FILE": str(secret_token),
            "KAFKA_OPTIONS": "ssl.key.password=k,linger.ms=1",
        },
        CAT,
    )  # fmt: skip
    assert settings.secrets == ("pass word", "t2", "k")
    assert settings.kafka_sasl_mechanism == "SCRAM-SHA-256"
    assert "pass word" not in repr(settings)


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff"])
def test_a_secret_file_that_gives_no_secret_is_a_problem(content: bytes | None, tmp_path: Path) -> None:
    """Missing, empty, or not text."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    (problem,) = problems_of({**REQUIRED, "CONSUL_HTTP_TOKEN_FILE": str(file)})
    assert problem.startswith("CONSUL_HTTP_TOKEN_FILE: met '")
    assert problem.endswith("expected a file with the secret")


def test_no_problem_echoes_a_secret() -> None:
    """Neither a value of a secret variable nor the credentials in a URL."""
    problems = problems_of(
        {
            **REQUIRED, "KAFKA_SASL_PASSWORD": "geheim", "KAFKA_OPTIONS": "sasl.password=geheim,geheim",
            "CONSUL_DSN": "http://user:geheim@consul:8500", "CONSUL_HTTP_TOKEN": "geheim\udcff",
        }
    )  # fmt: skip
    assert len(problems) == 5
    assert "geheim" not in "\n".join(problems)


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"KAFKA_SASL_USERNAME": "u"}, "KAFKA_SASL_USERNAME: has no effect with security protocol plaintext"),
        ({"KAFKA_SECURITY_PROTOCOL": "sasl_ssl"}, "KAFKA_SASL_MECHANISM: not set"),
        (
            {"KAFKA_SECURITY_PROTOCOL": "sasl_ssl", "KAFKA_SASL_MECHANISM": "PLAIN", "KAFKA_SASL_USERNAME": "u"},
            "KAFKA_SASL_PASSWORD: not set",
        ),
        ({"KAFKA_SSL_CA_LOCATION": "/"}, "KAFKA_SSL_CA_LOCATION: has no effect"),
        ({"CONSUL_CLIENT_CERT": "/dev/null"}, "CONSUL_CLIENT_KEY: not set; expected together with CONSUL_CLIENT_CERT"),
        ({"BDZ_CONSUL_CLIENT_KEY": "/dev/null"}, "CONSUL_CLIENT_CERT: not set; expected together with BDZ_CONSUL_"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(environ: dict[str, str], problem: str) -> None:
    """Instead of a connection in the clear that was meant to be secure."""
    (met,) = problems_of(REQUIRED | environ)
    assert met.startswith(problem)


def test_both_spellings_of_secrets_are_withheld() -> None:
    """The Calculator gets neither."""
    assert {"KAFKA_SASL_PASSWORD", "BDZ_KAFKA_SASL_PASSWORD", "CONSUL_HTTP_TOKEN", "BDZ_CONSUL_HTTP_TOKEN"} <= (
        SECRET_VARIABLES
    )
    assert "CONSUL_HTTP_AUTH" in SECRET_VARIABLES


@pytest.mark.parametrize(
    ("mode", "complaint"),
    [
        ({}, "expected ACK_MODE line or marker"),
        ({"BDZ_ACK_MODE": "demand"}, "expected BDZ_ACK_MODE line or marker"),
        ({"ACK_MODE": "line", "INPUT_NEWLINES": "split"}, "expected INPUT_NEWLINES space, or ACK_MODE marker"),
    ],
)
def test_exactly_once_is_refused_where_records_and_lines_cannot_be_paired(mode: dict[str, str], complaint: str) -> None:
    """With the reason."""
    problems = problems_of({**REQUIRED, "PROCESSING_GUARANTEE": "exactly-once", **mode})
    assert [problem.rpartition("; ")[2] for problem in problems] == [complaint]


def test_exactly_once_is_taken_with_line_and_marker() -> None:
    """And with split values behind markers."""
    Settings.load({**REQUIRED, "PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line"}, CAT)
    marker = {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "marker", "INPUT_NEWLINES": "split"}
    Settings.load({**REQUIRED, **marker}, CAT)
