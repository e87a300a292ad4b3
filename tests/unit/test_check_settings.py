"""``supervisor check`` without --connect: settings, where they come from, what is masked, and the program."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

RUNS = {"NODE_ID": "w1", "KAFKA_DSN": "kafka:9092"}


def check(*words: str, **environ: str) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, Any]]]:
    """The command with --json and no settings but these; its results by name."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "check", "--json", *words],
        env={"PATH": os.environ["PATH"]} | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    answer = json.loads(done.stdout) if done.stdout else {"results": []}
    assert all(list(result) == ["name", "level", "value", "source", "message", "hint"] for result in answer["results"])
    assert done.returncode == 2 or answer["ok"] == (done.returncode == 0)
    return done, {result["name"]: result for result in answer["results"]}


def test_every_setting_has_its_value_and_where_it_comes_from() -> None:
    """The default, either spelling, the command line; secrets never."""
    done, found = check(
        "--",
        "cat",
        "-u",
        **RUNS,
        BDZ_ACK_MODE="line",
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_MECHANISM="PLAIN",
        KAFKA_SASL_USERNAME="me",
        KAFKA_SASL_PASSWORD="geheim-1",
        KAFKA_OPTIONS="linger.ms=7,ssl.key.password=geheim-2",
        BDZ_CONSUL_HTTP_TOKEN="geheim-3",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "geheim" not in done.stdout
    told = {name: (result["level"], result["value"], result["source"]) for name, result in found.items()}
    assert told["NODE_ID"] == ("ok", "w1", "environment")
    assert told["ACK_MODE"] == ("ok", "line", "environment, BDZ_ACK_MODE")
    assert told["FEED_AHEAD"] == ("ok", "200ms", "default")
    assert told["KAFKA_SASL_PASSWORD"] == ("ok", "***", "environment")
    assert told["KAFKA_OPTIONS"] == ("ok", "linger.ms=7,ssl.key.password=***", "environment")
    assert told["CONSUL_HTTP_TOKEN"] == ("ok", "***", "environment, BDZ_CONSUL_HTTP_TOKEN")
    level, value, source = told["program"]
    assert (level, value.startswith("cat, found as /"), value.endswith("/cat -u"), source) == (
        ("ok", True, True, "command line")
    )


def test_what_a_start_would_refuse_is_an_error_and_what_it_notes_a_warning() -> None:
    """Beside the setting it belongs to; a secret that is wrong is not shown, nor the password of a URL."""
    done, found = check(
        "--bin",
        "cat",
        KAFKA_DSN="a:b:c",
        CONSUL_DSN="http://me:geheim@consul:8500",
        KAFKA_SASL_PASSWORD="geheim",
        LOG_LEVEL="loud",
        BDZ_LOG_LEVEL="debug",
        ACK_READAHEAD_BYTES="1",
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "geheim" not in done.stdout
    errors = {name for name, result in found.items() if result["level"] == "error"}
    assert errors == {"NODE_ID", "KAFKA_DSN", "CONSUL_DSN", "KAFKA_SASL_PASSWORD"}
    assert found["NODE_ID"]["message"].startswith("not set (nor BDZ_NODE_ID)")
    done, found = check("--bin", "cat", **RUNS, LOG_LEVEL="loud", BDZ_LOG_LEVEL="debug", ACK_READAHEAD_BYTES="1")
    assert done.returncode == 0
    warned = {name: result for name, result in found.items() if result["level"] == "warning"}
    assert set(warned) == {"LOG_LEVEL", "ACK_READAHEAD_BYTES"}
    assert (warned["LOG_LEVEL"]["value"], warned["LOG_LEVEL"]["source"]) == ("debug", "environment, BDZ_LOG_LEVEL")
    done, found = check("--bin", "cat", **RUNS, KAFKA_OPTIONS="linger.ms=much,ssl.key.password=geheim")
    assert (done.returncode, found["KAFKA_OPTIONS"]["level"]) == (1, "error")
    assert "linger.ms" in found["KAFKA_OPTIONS"]["message"]
    assert "geheim" not in done.stdout


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--", "no-such-program"), 127, "no-such-program was not found"),
        (("--bin", "/etc/passwd"), 126, "set its execute permission"),
        (("--connect", "what"), 2, "met 'what'"),
        (("--conect",), 2, "did you mean '--connect'?"),
        (("--bin",), 2, "--bin: met without a value"),
    ],
)
def test_a_program_that_cannot_be_started_and_wrong_use_have_their_status(
    words: tuple[str, ...], status: int, said: str
) -> None:
    """126 and 127 where nothing else is wrong."""
    done, _ = check(*words, **RUNS)
    assert (done.returncode, said in done.stdout + done.stderr) == (status, True)


def test_without_a_program_it_says_how_to_give_one() -> None:
    """Everything else is checked, and is well."""
    done, found = check(**RUNS)
    assert done.returncode == 0
    assert (found["program"]["level"], "-- PROGRAM" in found["program"]["hint"]) == ("warning", True)


def test_the_text_has_a_line_for_each_and_ends_with_what_to_look_at() -> None:
    """For people."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "check"],
        env={"PATH": os.environ["PATH"], "KAFKA_DSN": "kafka:9092", "PROGRAM": "cat"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert (done.returncode, lines[-1]) == (1, "1 wrong: NODE_ID")
    assert "ok       KAFKA_DSN = kafka:9092 (environment)" in lines


def test_a_locale_without_the_characters_is_no_failure() -> None:
    """They are escaped."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "check"],
        env={"PATH": os.environ["PATH"], "PYTHONIOENCODING": "latin-1"} | RUNS,
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, b"-- PROGRAM ARG\\u2026" in done.stdout, done.stderr) == (0, True, b"")
