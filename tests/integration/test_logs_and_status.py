"""What concerns logs and status stops nothing, behind a real Supervisor."""

from __future__ import annotations

import socket
from collections.abc import Callable

from tests.services.supervised import Supervised

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
        process.wait_log("status and metrics are not served; tried again")
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
