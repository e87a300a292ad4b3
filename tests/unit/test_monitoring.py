"""Metrics, alerts and dashboard as Prometheus takes them: promtool, rule tests, a server that scrapes an instance."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from supervisor import metrics
from supervisor.health import Facts
from tests.unit.conditions import STATES
from tests.unit.facts import HEALTHY, INLET, OUTLET, facts
from tests.unit.test_ask_the_instance import instance

DOCS = Path(__file__).parents[2] / "docs"
RULES = DOCS / "monitoring" / "alerts.yml"
ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
MINUTES = 40
RISING = {"supervisor_dead_letters_total", "supervisor_oversize_lines_total", "supervisor_unproducible_lines_total",
          "supervisor_protocol_violations_total"}  # fmt: skip
TOLD: dict[str, Facts] = {
    "SupervisorCrashLoop": STATES["crash loop"],
    "SupervisorPoison": STATES["poison"],
    "SupervisorBlockedOnKafka": STATES["blocked on Kafka"],
    "SupervisorHanging": STATES["hanging"],
    "SupervisorRouteRefused": STATES["refused route"],
    "SupervisorNotReady": STATES["crash loop"],
    "SupervisorNoProgress": facts(progress_ago_s=1000.0),
    "SupervisorDeadLettersWait": facts(dead_letter_stream="letters", inlet={**INLET, "dead_in_flight": 1}),
}
"""In what each alert is to fire; of the others, a counter rises in the test."""
RISES = {
    "SupervisorDeadLetters": "supervisor_dead_letters_total",
    "SupervisorLinesDropped": "supervisor_oversize_lines_total",
    "SupervisorProtocolViolations": "supervisor_protocol_violations_total",
    "SupervisorLagGrows": "supervisor_partition_lag_records",
}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here: apt install prometheus")


def promtool(*words: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run it."""
    return subprocess.run(["promtool", *words], input=given, capture_output=True, text=True, timeout=60, check=False)


@needs_promtool
@pytest.mark.parametrize("word", STATES)
def test_promtool_takes_the_metrics(word: str) -> None:
    """Every name, type and help."""
    done = promtool("check", "metrics", given=metrics.render(STATES[word]))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("word", STATES)
def test_the_python_client_parses_the_metrics(word: str) -> None:
    """Its strict parser finds a sample in each family."""
    parser = pytest.importorskip("prometheus_client.parser")
    families = list(parser.text_string_to_metric_families(metrics.render(STATES[word])))
    assert families
    assert all(family.samples for family in families)


def series(told: Facts, rising: str | None, at_s: float = MINUTES * 60) -> list[dict[str, str]]:
    """The metrics of these facts as they would be scraped each minute."""
    made = [{"series": 'up{instance="i"}', "values": f"1x{MINUTES}"}]
    for line in metrics.render(told).splitlines():
        if line.startswith("#"):
            continue
        name_, _, value = line.rpartition(" ")
        name, _, labels = name_.partition("{")
        if name == "supervisor_last_progress_timestamp_seconds":  # the clock of a rule test begins at 0
            value = str(at_s - (told.progress_ago_s or 0) if told.progress_ago_s else 0)
        step = "+100" if name == rising else "+0"
        made.append(
            {"series": f'{name}{{instance="i"{"," + labels if labels else "}"}', "values": f"{value}{step}x{MINUTES}"}
        )
    return made


def fired(cases: dict[str, list[dict[str, str]]], expected: dict[str, set[str]], tmp_path: Path) -> str:
    """Promtool's complaint if other alerts fire than these; empty if it has none. JSON is YAML too."""
    severity = dict(re.findall(r"- alert: (\w+).*?severity: (\w+)", RULES.read_text(encoding="utf-8"), re.DOTALL))
    summary = dict(re.findall(r'- alert: (\w+).*?summary: "(.*?)"\n', RULES.read_text(encoding="utf-8"), re.DOTALL))
    tests: list[dict[str, Any]] = [
        {
            "interval": "1m",
            "input_series": given,
            "promql_expr_test": [],
            "alert_rule_test": [
                {"eval_time": f"{MINUTES}m", "alertname": alert, "exp_alerts": [
                    {"exp_labels": {"severity": severity[alert], "instance": "i", **extra_labels(alert, given)},
                     "exp_annotations": {"summary": summary[alert].replace("{{ $labels.instance }}", "i"),
                                         "runbook": f"docs/RUNBOOK.md#{alert.lower()}"}}
                ] if alert in expected[case] else []}
                for alert in ({case} if case in ALERTS else ALERTS)
            ],
        }
        for case, given in cases.items()
    ]  # fmt: skip
    file = tmp_path / "tests.yml"
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = promtool("test", "rules", str(file))
    return "" if done.returncode == 0 else done.stdout + done.stderr


def extra_labels(alert: str, given: list[dict[str, str]]) -> dict[str, str]:
    """The labels that an alert has from its metric."""
    state = {"SupervisorCrashLoop": "crash loop", "SupervisorPoison": "poison", "SupervisorHanging": "hanging",
             "SupervisorBlockedOnKafka": "blocked on Kafka", "SupervisorRouteRefused": "refused route"}  # fmt: skip
    if alert in state:
        return {"state": state[alert]}
    return {"topic": "events"} if alert == "SupervisorNoProgress" else {}


@needs_promtool
def test_every_alert_fires_and_none_in_good_order(tmp_path: Path) -> None:
    """Each by the real metrics of facts in which it has to; with healthy ones, idle and paused, none."""
    assert promtool("check", "rules", str(RULES)).returncode == 0
    cases = {alert: series(TOLD.get(alert, HEALTHY), RISES.get(alert)) for alert in ALERTS}
    cases["SupervisorDown"] = [{"series": 'up{instance="i"}', "values": f"0x{MINUTES}"}]
    quiet = {word: series(STATES[word], None) for word in ("flowing", "idle", "paused")}
    assert TOLD.keys() | RISES.keys() | {"SupervisorDown"} == set(ALERTS)
    expected = {case: {case} if case in ALERTS else set() for case in (*cases, *quiet)}
    assert fired({**cases, **quiet}, expected, tmp_path) == ""
    nothing: dict[str, set[str]] = {case: set() for case in cases}
    complaint = fired(cases, nothing, tmp_path)
    assert all(f"alertname: {alert}," in complaint for alert in ALERTS), "the test can fail"


def test_every_alert_has_an_entry() -> None:
    """And every entry an alert."""
    entries = re.findall(r"^## (\w+)$", (DOCS / "RUNBOOK.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert entries == ALERTS


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no Prometheus here: apt install prometheus")
def test_every_query_of_the_dashboard_returns_data(tmp_path: Path) -> None:
    """Asked of a Prometheus that scrapes an instance's port."""
    dashboard = json.loads((DOCS / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    told = facts(progress_ago_s=0.5, oldest_in_flight_s=0.2, outlet=OUTLET)
    with instance(told) as status_port:
        config = tmp_path / "prometheus.yml"
        config.write_text(
            json.dumps({
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(RULES)],
                "scrape_configs": [{"job_name": "s", "static_configs": [{"targets": [f"127.0.0.1:{status_port}"]}]}],
            })
        )  # fmt: skip
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
                   f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                missing = queries
                deadline_s = time.monotonic() + 60
                while missing and time.monotonic() < deadline_s:
                    time.sleep(0.5)
                    missing = [query for query in queries if not asked(port, query.replace("$__rate_interval", "10s"))]
            finally:
                process.terminate()
    assert missing == []


def asked(port: int, query: str) -> list[Any]:
    """What Prometheus answers to a query, nothing while it starts."""
    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            result: list[Any] = json.load(reply)["data"]["result"]
            return result
    except OSError:
        return []
