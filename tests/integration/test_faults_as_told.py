"""What a person reads about a fault: in the check that Consul has, in the log, and at /health/ready."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.peers import Manager
from tests.services.processes import until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]

TIME = r"2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d UTC"

HANGS = "read -r line; echo 'waiting for the model server' >&2; sleep 300"
PRINTS_TWICE = 'while read -r line; do echo "$line"; echo "$line"; done'
PRINTS_LONG_LINES = 'while read -r line; do head -c 3000 /dev/zero | tr "\\0" x; echo; done'
CLOSES_STDIN = "read -r line; exec 0<&-; sleep 300"
NEVER_ECHOES = "while read -r line; do :; done"

FAULTS = [
    pytest.param(
        HANGS,
        {"CALCULATOR_TIMEOUT": "1s"},
        "Calculator",
        "warning|critical",
        rf"was killed by the Supervisor: it neither read nor printed for CALCULATOR_TIMEOUT, 1 s at {TIME}, "
        "on STDERR: 'waiting for the model server'",
        id="hang",
    ),
    pytest.param(
        PRINTS_TWICE,
        {"ACK_MODE": "line"},
        "Calculator",
        "warning|critical",
        rf"was killed by the Supervisor: ACK_MODE=line was broken: \d+ lines came out for \d+ .* at {TIME}",
        id="line-too-many",
    ),
    pytest.param(
        PRINTS_LONG_LINES,
        {"MAX_LINE_BYTES": "2000"},
        "Supervisor",
        "warning",
        rf"\d+ lines? of the Calculator over MAX_LINE_BYTES dropped since the Supervisor started, the last at {TIME};",
        id="line-too-long",
    ),
    pytest.param(
        CLOSES_STDIN,
        {},
        "Calculator",
        "critical",
        rf"running since {TIME}, pid \d+, but closed its STDIN at {TIME} and takes no records; restart it",
        id="stdin-closed",
    ),
    pytest.param(
        NEVER_ECHOES,
        {"ACK_MODE": "marker"},
        "Calculator",
        "warning",
        rf"but waits for input since {TIME} and has not echoed the marker lines of ACK_MODE=marker: 50 records",
        id="marker-not-echoed",
    ),
]


@pytest.mark.parametrize(("script", "settings", "check", "status", "said"), FAULTS)
def test_a_fault_is_told_with_its_time(  # noqa: PLR0917 - fixtures and the columns of the table
    kafka: Kafka,
    consul: Consul,
    names: Names,
    manager: Manager,
    supervisor_process: Start,
    script: str,
    settings: dict[str, str],
    check: str,
    status: str,
    said: str,
) -> None:
    """The platform's catalogue gets the sentence, and the log the same."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(50)])
    manager.route(incoming, outgoing)
    process = supervisor_process(("sh", "-c", script), env={"RESTART_BACKOFF_MAX": "1s", **settings})

    def told() -> bool:
        mine = [met for met in consul.checks(f"bdz-wsp-{names.node_id}") if met["Name"] == check]
        return any(re.search(said, met["Output"]) and re.fullmatch(status, met["Status"]) for met in mine)

    until(told, f"the catalogue says {said!r}", 30.0)

    def logged() -> bool:
        return any(
            event["event"] == "health" and event["check"] == check.lower() and re.search(said, event["output"])
            for event in process.events
        )

    until(logged, f"the log says {said!r}", 30.0)
    assert process.terminate() == 0


def test_readiness_follows_the_route_and_both_sides(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """503 with the reason before there is a route, 200 while it is in force or paused, 503 when it is gone."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    process = supervisor_process(("cat",))
    process.wait_log("route absent")
    status, why = process.http("/health/ready")
    assert status == 503
    assert re.match(
        rf"No route yet: the directory buldozer/subordinate/{names.node_id} does not exist .* since {TIME};", why
    )
    assert process.http("/health/live")[0] == 200
    manager.route(incoming, outgoing)
    process.wait_ready()
    manager.route(incoming, outgoing, paused=True)
    manager.wait_adopted()
    assert process.http("/health/ready")[0] == 200
    assert re.match(rf"The stream has been paused by pause_stream since {TIME}", process.http("/health/ready")[1])
    manager.put("outgoing_stream", "no topic")
    process.wait_log("route refused")
    assert process.http("/health/ready")[0] == 200, "the last good route is in force"
    manager.decommission()
    process.wait_log("route absent", count=2)
    assert process.http("/health/ready")[0] == 503
