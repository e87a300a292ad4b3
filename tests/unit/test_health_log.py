"""What of the checks gets into the log."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from supervisor import health_log
from supervisor.health import CRITICAL, PASSING, WARNING, CheckReport
from supervisor.health_log import HealthLog

RUNS = CheckReport(PASSING, "The Calculator runs.")


def told(watch: HealthLog, *reports: CheckReport) -> list[str]:
    """Return which check said what, for reports of the Supervisor's check one after the other."""
    with capture_logs() as lines:
        for report in reports:
            watch.look({"supervisor": report, "calculator": RUNS})
    return [line["output"] for line in lines if line["check"] == "supervisor"]


def test_a_change_of_the_status_is_told_at_once() -> None:
    """The first reports are not: the Supervisor starts."""
    first, other = CheckReport(PASSING, "Good."), CheckReport(CRITICAL, "Bad.")
    assert told(HealthLog(), first, other, other, first) == ["Bad.", "Good."]


def test_a_line_is_as_loud_as_the_check() -> None:
    """Of the check that changed alone, and a first report only if it is critical."""
    critical, warning = CheckReport(CRITICAL, "Bad."), CheckReport(WARNING, "So so.")
    watch = HealthLog()
    with capture_logs() as lines:
        for report in (critical, warning, critical, RUNS):
            watch.look({"supervisor": report, "calculator": RUNS})
    assert [(line["check"], line["status"], line["log_level"]) for line in lines] == [
        ("supervisor", "critical", "error"),
        ("supervisor", "warning", "warning"),
        ("supervisor", "critical", "error"),
        ("supervisor", "passing", "info"),
    ]


def test_a_trouble_that_goes_on_is_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """And good order is not."""
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    watch = HealthLog()
    good, bad = CheckReport(PASSING, "Good."), CheckReport(CRITICAL, "Bad since 12:00.")
    said = []
    for minute in range(60):
        now_s = minute * 60.0
        said += told(watch, bad if 10 <= minute < 31 else good)
    assert said == ["Bad since 12:00."] * 5 + ["Good."]


def test_another_trouble_under_the_same_status_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, and not for its numbers."""
    monkeypatch.setattr(health_log, "INTERVAL_S", 0.0)
    reports = [CheckReport(WARNING, words) for words in ("No route.", "7 lines dropped.", "8 lines dropped.")]
    assert told(HealthLog(), *reports, *reports[1:]) == ["7 lines dropped."]


def test_words_that_come_and_go_do_not_fill_the_log() -> None:
    """What still differs after the interval is told then."""
    watch = HealthLog()
    one, other = CheckReport(WARNING, "One."), CheckReport(WARNING, "Other.")
    assert told(watch, one, other, one, other, one) == ["Other."]
    watch._told = {name: replace(told, at_s=told.at_s - 11) for name, told in watch._told.items()}
    assert told(watch, one, other, one) == ["One."]
