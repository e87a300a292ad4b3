"""The log: both forms, any value, no secret."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from supervisor import logs
from supervisor.states import CALCULATOR, CalculatorState, Lifecycle


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """Each test configures the log for itself."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    logs._threshold = 0


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_json_lines_have_time_level_logger_event_and_details(capsys: pytest.CaptureFixture[str]) -> None:
    """In this order, on STDERR; what is no terminal gets JSON by itself."""
    logs.configure("info", None, "auto")
    structlog.get_logger("supervisor.x").warning("a thing happened", count=3, name="Ж")
    (line,) = lines(capsys)
    assert list(line) == ["timestamp", "level", "logger", "event", "count", "name"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {"level": "warning", "logger": "supervisor.x", "event": "a thing happened", "count": 3, "name": "Ж"}


@pytest.mark.parametrize(("level", "seen"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_the_level_decides_what_is_seen(level: str, seen: int, capsys: pytest.CaptureFixture[str]) -> None:
    """From the given level upwards."""
    logs.configure(level, None, "json")
    log = structlog.get_logger("x")
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)("event")
    assert len(lines(capsys)) == seen


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_any_value_can_be_logged(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken UTF-8, lone surrogates, what no JSON has: one line each, and the reader can decode it."""
    logs.configure("info", False, log_format)
    log = structlog.get_logger("x")
    for value in (b"\xff\xfe", "\udcff", float("nan"), {1: {2}}, object(), OSError(2, "no"), CalculatorState.RUNNING):
        log.info("event", value=value)
    err = capsys.readouterr().err
    err.encode("utf-8")
    assert len(err.splitlines()) == 7
    assert r"\xff\xfe" in err.replace("\\\\", "\\")
    if log_format == "json":
        for line in err.splitlines():
            json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_terminal_is_not_obeyed_to_by_what_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """Escape sequences and newlines of a Calculator come out as text."""
    logs.configure("info", False, "console")
    structlog.get_logger("x").info("line", line="\x1b[2J\nfaked=1 Ж")
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 1
    assert "Ж" in err


def test_colours_only_where_they_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    """LOG_COLORS decides; without it the terminal does."""
    for colors, coloured in ((True, True), (False, False), (None, False)):
        logs.configure("info", colors, "console")
        structlog.get_logger("x").info("event", key="value")
        assert ("\x1b[" in capsys.readouterr().err) is coloured


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_secrets_are_masked_wherever_they_turn_up(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Event, values at any depth, exceptions and their tracebacks, quoted and in URLs, other libraries' lines."""
    secret = "pa's\"s wörd"
    logs.configure("info", False, log_format, [secret, "", "token"])
    log = structlog.get_logger("x")
    log.info(f"event {secret}", a=secret.encode(), b={secret: [secret]}, c=ValueError(secret), d=repr([secret]))  # noqa: G004 - a secret in the event is the case
    log.info("urls", url="http://h/?p=pa%27s%22s%20w%C3%B6rd", text=json.dumps(secret), header="X: token")
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("failed")
    logging.getLogger("urllib3").warning("sent %s", secret)
    err = capsys.readouterr().err
    assert not re.search(r"w(ö|\\u00f6|\\xf6|%C3%B6)rd|token", err)
    assert err.count("***") == 11
    assert "Traceback" in err


def test_libraries_log_in_the_same_form_from_warning_upwards(capsys: pytest.CaptureFixture[str]) -> None:
    """``logging`` with its arguments and exceptions, and ``warnings``."""
    logs.configure("debug", None, "json")
    library = logging.getLogger("urllib3.connectionpool")
    library.info("not this")
    library.warning("retry %d of %s", 1, "path")
    library.log(35, "odd level")
    try:
        raise OSError("gone")
    except OSError:
        library.exception("failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    met = lines(capsys)
    assert [(line["level"], line["event"]) for line in met[:3]] == [
        ("warning", "retry 1 of path"),
        ("warning", "odd level"),
        ("error", "failed"),
    ]
    assert met[0]["logger"] == "urllib3.connectionpool"
    assert "OSError: gone" in met[2]["exception"]
    assert "DeprecationWarning: old" in met[3]["event"]


def test_every_line_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of libraries and of states too; the level can be changed and nothing else with it."""
    logs.configure("warning", None, "json", node_id="w1", instance="host-1")
    structlog.get_logger("x").info("not yet")
    logs.set_level("info")
    structlog.get_logger("x").info("event", key="value")
    logging.getLogger("urllib3").warning("retry")
    met = lines(capsys)
    assert [line["event"] for line in met] == ["event", "retry"]
    assert all((line["node_id"], line["instance"]) == ("w1", "host-1") for line in met)
    assert list(met[0]) == ["timestamp", "level", "logger", "event", "key", "node_id", "instance"]


def test_a_state_that_is_a_trouble_is_as_loud(capsys: pytest.CaptureFixture[str]) -> None:
    """Back-off is a warning, a crash loop an error."""
    logs.configure("info", None, "json")
    lifecycle = Lifecycle("calculator", CALCULATOR, CalculatorState.RUNNING, logs.state_changed)
    for state in (
        CalculatorState.BACKOFF,
        CalculatorState.STARTING,
        CalculatorState.CRASH_LOOP,
        CalculatorState.RUNNING,
    ):
        lifecycle.change(state, "why")
    assert [line["level"] for line in lines(capsys)] == ["warning", "info", "error", "info"]


def test_a_change_of_state_says_old_new_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    """The observer of every lifecycle."""
    logs.configure("info", None, "json")
    lifecycle = Lifecycle("calculator", CALCULATOR, CalculatorState.STOPPED, logs.state_changed)
    lifecycle.change(CalculatorState.STARTING, "first start")
    (line,) = lines(capsys)
    assert (line["event"], line["old"], line["new"], line["why"]) == (
        "calculator starting",
        "stopped",
        "starting",
        "first start",
    )


@pytest.mark.parametrize("how", ["closed", "unread"])
@pytest.mark.parametrize("behind", ["", "sink = logs.write_behind(2 if sys.stderr is not None else -1);"])
def test_a_stderr_that_is_gone_ends_nobody(how: str, behind: str) -> None:
    """Closed at the start, or a pipe without a reader."""
    code = (
        "import os, sys, structlog; from supervisor import logs; logs.configure('info', None, 'json');"
        f"{behind}"
        "reader, writer = os.pipe(); os.close(reader); sys.stderr is None or os.dup2(writer, 2);"
        "structlog.get_logger('x').info('lost'); behind and sink.flush();"
        "print('alive', flush=True); os._exit(0)"
    ).replace("behind and", "sink is None or" if behind else "True or")
    closing = "exec 2>&-; " if how == "closed" else ""
    result = subprocess.run(
        ["sh", "-c", f'{closing}exec "$0" -c "$1"', sys.executable, code],
        stdout=subprocess.PIPE,
        env=os.environ,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, b"alive\n")
