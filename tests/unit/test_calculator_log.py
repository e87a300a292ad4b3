"""CALCULATOR_LOG: how a line on STDERR stands in the log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from supervisor import calculator_log, logs

SECRET = "hunter2"


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
    logs._plain = None


def said(capfd: pytest.CaptureFixture[str], form: str, line: bytes, level: str = "info") -> dict[str, Any] | None:
    """Return the event that the line becomes; None if it is not logged."""
    logs.configure(level, None, "json", [SECRET], node_id="w1")
    calculator_log.FORMS[form](line, 42, False)
    text = capfd.readouterr().err
    return json.loads(text) if text else None


@pytest.mark.parametrize(
    ("line", "level"),
    [
        (b"plain ERROR", "info"),
        (b'{"level":"error","msg":"x"}', "error"),
        (b'{"severity": "WARNING"}', "warning"),
        (b'{"levelname":"CRITICAL"} ', "error"),
        (b'{"lvl":"Warn"}', "warning"),
        (b'{"log.level":"fatal"}', "error"),
        (b'{"log":{"level":"error"}}', "error"),
        (b'{"@l":"Error"}', "error"),
        (b'{"level":"debug"}', "info"),
        (b'{"level":"trace"}', "info"),
        (b'{"level":50}', "error"),
        (b'{"level":40}', "warning"),
        (b'{"level":20}', "info"),
        (b'{"level":3}', "error"),
        (b'{"level":4}', "warning"),
        (b'{"level":6}', "info"),
        (b'{"level":true}', "info"),
        (b'{"level":["error"]}', "info"),
        (b'{"level":NaN}', "info"),
        (b"{}", "info"),
        (b'{"level":"error"} and more', "info"),
        (b'[{"level":"error"}]', "info"),
        (b'{"level":"error"', "info"),
        (b'{"level":"error","n":' + b"9" * 5000 + b"}", "info"),
        (b'{"level":"error","n":' + b"[" * 5000 + b"]" * 5000 + b"}", "info"),
        (b'{"level":"error","b":"\xff"}', "info"),
    ],
)
@pytest.mark.parametrize("form", ["wrap", "merge"])
def test_the_level_is_the_lines_own(capfd: pytest.CaptureFixture[str], form: str, line: bytes, level: str) -> None:
    """Of one JSON object, in the usual spellings, never below info; so none is hidden that was seen before."""
    event = said(capfd, form, line)
    assert event is not None
    assert (event["level"], event["logger"], event["pid"]) == (level, "supervisor.calculator", 42)
    assert (said(capfd, form, line, "error") is None) == (level != "error")
    if form == "wrap":
        assert (event["event"], event["line"]) == ("calculator stderr", line.decode("utf-8", "backslashreplace"))


def test_members_become_those_of_the_event(capfd: pytest.CaptureFixture[str]) -> None:
    """Ours stay ours, secrets are masked in names and values, whatever the names are."""
    members = {
        "message": f"login of {SECRET}", "level": "warn", "timestamp": "then", "logger": "app", "pid": 1,
        "node_id": "x", "self": 1, "name": 2, "details": {"a": [SECRET]}, f"k{SECRET}": None, "exc_info": "Traceback",
        "exception": "E", "event": {"is": "an object"}, "stack": "at x", "d\ud800": "\ud800",
    }  # fmt: skip
    event = said(capfd, "merge", json.dumps(members).encode())
    assert event is not None
    assert event.pop("timestamp") != "then"
    assert event == {
        "level": "warning", "logger": "supervisor.calculator", "event": "login of ***", "calculator_level": "warn",
        "calculator_timestamp": "then", "calculator_logger": "app", "calculator_pid": 1, "calculator_node_id": "x",
        "self": 1, "name": 2, "details": {"a": ["***"]}, "k***": None, "calculator_exc_info": "Traceback",
        "calculator_exception": "E", "calculator_event": {"is": "an object"}, "calculator_stack": "at x",
        "d\ud800": "\ud800", "pid": 42, "node_id": "w1",
    }  # fmt: skip
    event = said(capfd, "merge", b"no object")
    assert event is not None
    assert (event["event"], event["line"]) == ("calculator stderr", "no object")
    event = said(capfd, "merge", b'{"a": 1}')
    assert event is not None
    assert (event["event"], event["a"]) == ("calculator stderr", 1)


def test_a_terminal_is_not_obeyed_to_by_members(capfd: pytest.CaptureFixture[str]) -> None:
    """Names and values of the Calculator come out as text."""
    logs.configure("info", False, "console")
    line = {"message": "m\x1b[2J", "k\x1b[2J": "v\nx\x1b[2J", "exception": "\x1b[2J", "exc_info": "\x1b[2J"}
    calculator_log.merge(json.dumps(line).encode(), 42, False)
    err = capfd.readouterr().err
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_raw_is_as_it_came(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """But for secrets, at any LOG_LEVEL."""
    logs.configure("error", None, "json", [SECRET])
    calculator_log.raw(b"\xff\x00%s \xd0\xb6 \r", 42, False)
    calculator_log.raw(b"a \xff hunter2", 42, False)
    assert capfdbinary.readouterr().err == b"\xff\x00%s \xd0\xb6 \r\na \xff ***\n"
