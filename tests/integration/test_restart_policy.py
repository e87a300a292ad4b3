"""What a Calculator that ends by itself looks like from outside: delays, the crash loop, its end."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.peers import Manager
from tests.services.processes import until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
LATE_S = 1.0  # a start may come so late on a busy machine

STARTED = {"calculator running", "calculator started again"}


def gaps_s(process: Supervised) -> list[float]:
    """From the end of each run to the start of the next."""
    found: list[float] = []
    ended: datetime | None = None
    for event in process.events:
        at = datetime.fromisoformat(event.get("timestamp", "1970-01-01T00:00:00Z"))
        if event["event"] == "calculator ended":
            ended = at
        elif ended is not None and (event["event"] in STARTED or event.get("new") == "starting"):
            found.append((at - ended).total_seconds())
            ended = None
    return found


def calculator_check(consul: Consul, node_id: str) -> dict[str, str]:
    """The Calculator's check as the platform gets it."""
    checks = consul.checks(f"bdz-wsp-{node_id}")
    return next((check for check in checks if check["Name"] == "Calculator"), {"Status": "", "Output": ""})


def test_a_crash_loop_and_its_end_are_seen_in_consul(  # noqa: PLR0917 - fixtures
    kafka: Kafka, consul: Consul, names: Names, manager: Manager, supervisor_process: Start, tmp_path: Path
) -> None:
    """At once, then after growing delays up to the cap; critical with status and last words; passing when stable."""
    mended = tmp_path / "mended"
    manager.route(kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out")))
    script = f"test -e {mended} && exec cat; echo 'loading' >&2; echo 'no model at /var/model' >&2; exit 3"
    process = supervisor_process(("sh", "-c", script), env={"RESTART_BACKOFF_MAX": "1500ms"})
    process.wait_log("calculator ended", count=5)
    until(lambda: calculator_check(consul, names.node_id)["Status"] == "critical", "critical in the catalogue")
    until(lambda: "5 failed runs" in process.status()["checks"]["calculator"]["output"], "the fifth failure is told")
    output = calculator_check(consul, names.node_id)["Output"]
    assert output.startswith("The Calculator has been in a crash loop since 2")
    for word in ("failed runs in a row", "exit status 3", "on STDERR: 'no model at /var/model'"):
        assert word in output
    assert process.http("/health/ready")[0] == 503
    at_once, first, *capped = gaps_s(process)
    assert at_once < LATE_S
    assert 0.75 <= first < 1.0 + LATE_S
    assert all(0.75 * 1.5 <= gap_s < 1.5 + LATE_S for gap_s in capped[:2])

    mended.touch()
    until(lambda: calculator_check(consul, names.node_id)["Status"] == "passing", "passing in the catalogue", 30.0)
    assert process.wait_log("calculator running", old="crash-loop")["why"].endswith("stable for 10 s")
    assert "running since" in calculator_check(consul, names.node_id)["Output"]
    process.wait_ready()
    gaps_before = len(gaps_s(process))
    process.send(signal.SIGUSR1)  # forwarded; it ends a cat
    until(lambda: len(gaps_s(process)) > gaps_before, "started again")
    assert gaps_s(process)[-1] < LATE_S, "a stable run wiped the slate: the next restart is at once"


def test_an_end_with_status_0_is_a_failure_and_said(lonely: Start) -> None:
    """A Calculator runs until its STDIN ends."""
    process = lonely("subreaper", ("sh", "-c", "echo done >&2; sleep 0.2"))
    why = process.wait_log("calculator backoff")["why"]
    assert why.startswith("ended by itself with exit status 0 after 0.2")
    assert "on STDERR: done; failure 1 in a row, next start in 0.0 s" in why
    process.wait_log("calculator running", count=2)
    said = "ended by itself with exit status 0"
    process.wait_status(lambda status: said in status["checks"]["calculator"]["output"], "the check says it")
