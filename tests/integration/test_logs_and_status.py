"""What concerns logs and status stops nothing, behind a real Supervisor."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager
from tests.services.process import free_ports
from tests.services.processes import until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]


def test_logs_and_status_never_stop_a_start(lonely: Start) -> None:
    """A service link's port, another logger's format, a taken port: each is a warning, and the port is tried again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environ = {
            "HTTP_PORT": "tcp://10.96.0.1:80",
            "BDZ_HTTP_PORT": str(port),
            "LOG_LEVEL": "trace",
            "LOG_FORMAT": "%(message)s",
            "LOG_COLORS": "maybe",
            "ackmode": "line",
            "LC_ALL": "C",
        }
        process = lonely("subreaper", ("cat",), env=environ)
        process.port = port
        process.wait_log("calculator running")
        why = process.wait_log("status and metrics are not served; tried again")["why"]
        assert all(word in why for word in ("HTTP_PORT", str(port), "in use", "0 to switch"))
        warnings = " ".join(event["event"] for event in process.events if event.get("level") == "warning")
        for name in environ.keys() - {"BDZ_HTTP_PORT", "LC_ALL"}:
            assert f"{name}: " in warnings, name
        assert "LC_ALL is 'C'" in warnings
    process.wait_log("status server listens", port=port)
    assert "not served" not in process.status()["checks"]["supervisor"]["output"]
    assert process.terminate() == 0


def test_kafka_options_are_refused_at_the_start_by_name(lonely: Start) -> None:
    """For both clients, though the incoming one is made with a route only; what librdkafka calls otherwise as well."""
    options = "no.such.property=1,linger.ms=soon,fetch.wait.max.ms=-5,ssl.key.password=,sasl.oauthbearer.method=s3cr3t"
    process = lonely("subreaper", ("cat",), env={"BDZ_KAFKA_OPTIONS": options})
    assert process.wait() == 2
    (line,) = [event["event"] for event in process.events if event.get("level") == "error"]
    refused = [problem.split(": ")[:2] for problem in line.splitlines()]
    names = ["no.such.property", "linger.ms", "fetch.wait.max.ms", "sasl.oauthbearer.method"]
    assert refused == [["BDZ_KAFKA_OPTIONS", name] for name in names]


def test_a_broker_that_is_not_there_is_one_trouble(names: Names, manager: Manager, supervisor_process: Start) -> None:
    """A line for each side and an error of the check; whose they are stands in each, and the level follows the KV."""
    manager.route(names.topic("in"), names.topic("out"))
    process = supervisor_process(("cat",), kafka=Kafka(f"127.0.0.1:{free_ports(1)[0]}"))
    process.wait_log("kafka error", side="incoming")
    assert process.wait_log("health", check="supervisor", status="critical")["level"] == "error"
    manager.put("log_level", "debug")
    manager.put("LogLevel", "error")
    assert process.wait_log("log level changed")["new"] == "debug"
    process.wait_log("a key is not read, and nearly one that is", key="LogLevel", meant="log_level")

    def librdkafka_has_told_often() -> bool:
        return len([event for event in process.events if event["event"] == "librdkafka"]) > 20

    until(librdkafka_has_told_often, "20 lines of librdkafka at level debug", 30.0)
    said = [(event["side"], event["code"]) for event in process.events if event["event"] == "kafka error"]
    assert len(said) == len(set(said)) <= 4, said
    (instance,) = {event["instance"] for event in process.events}
    assert {event["node_id"] for event in process.events} == {names.node_id}
    assert process.wait_log("registration registered")["why"].startswith(f"bdz-wsp-{names.node_id}-{instance} at ")
    manager.put("log_level", "trace")
    process.wait_log("log level changed", new="info")
    assert any(event["event"].startswith("log_level: met 'trace'") for event in process.events)


@pytest.mark.parametrize("ends", ["in order", "not at all"])
def test_a_stop_says_what_comes_again(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, *, ends: str
) -> None:
    """And a rebalance which partitions were gained."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    command = ("cat",) if ends == "in order" else ("sh", "-c", "while read line; do :; done; exec sleep 60")
    process = supervisor_process(command, env={"SHUTDOWN_GRACEPERIOD": "1s", "ACK_MODE": "line"})
    rebalance = process.wait_log("rebalance of the consumer group", partitions=3)
    assert (rebalance["gained"], rebalance["lost"], rebalance["owned"]) == ("0-2", "none", "0-2")
    kafka.produce(incoming, [b"%d" % number for number in range(7)])
    process.wait_counter("inlet", "lines_written", 7)
    assert process.terminate() == 0
    stopped, relay = process.wait_log("stopped"), process.wait_log("relay stopped")
    if ends == "in order":
        assert (stopped["records"], relay["why"]) == (0, "flushed and committed")
        kafka.wait_committed(names.group, incoming, 7)
    else:
        assert stopped["records"] == 7
        assert relay["why"] == "7 records were written to the Calculator and not acknowledged, and come again"


DIES = r"""
printf '{"level":"error","msg":"boom","n":1}\n    at there\n\nNode.js v20.11.0\n' >&2
printf '\r10%%\r20%%' >&2
sleep $PAUSE_S
exit 3
"""


@pytest.mark.parametrize(
    "env",
    [
        {"CALCULATOR_LOG": "merge", "PAUSE_S": "6"},
        {"CALCULATOR_LOG": "raw", "STATUS_STDERR": "false"},
        {"CALCULATOR_LOG": "loud"},
    ],
)
def test_what_the_calculator_says_is_said_as_it_is_meant(lonely: Start, env: dict[str, str]) -> None:
    """In the log, in the status and in the check; what has no newline after some seconds."""
    process = lonely("subreaper", ("sh", "-c", DIES), env={"PAUSE_S": "0", **env})
    if env["CALCULATOR_LOG"] == "merge":
        assert process.wait_log("boom")["n"] == 1
        process.wait_log("calculator stderr", line="\r10%\r20%", continues=True)
    elif env["CALCULATOR_LOG"] == "raw":
        process.wait_log("    at there", level="text")
        assert {"level": "error", "msg": "boom", "n": 1} in process.events
    else:
        process.wait_log("calculator stderr", line='{"level":"error","msg":"boom","n":1}', level="error")
    process.wait_log("calculator backoff", deadline_s=30.0)
    status, page = process.status(), process.http("/")[1]
    lines = ['{"level":"error","msg":"boom","n":1}', "    at there", "", "Node.js v20.11.0", "\r10%\r20%"]
    shown = "STATUS_STDERR" not in env
    assert status["stderr_lines"][:5] == (lines if shown else [])
    assert ("boom" in page) is shown
    assert ("STDERR" in status["checks"]["calculator"]["output"]) is shown
