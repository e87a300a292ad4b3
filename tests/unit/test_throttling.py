"""What is remembered of brokers' quotas, and what the check says of it."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from supervisor.health import WARNING, supervisor_check
from supervisor.throttling import QUIET_S, Throttled, Throttling

from .facts import facts


def counters(count: int, asked_ms: int, last_ms: int) -> dict[str, int]:
    """Return those of a native end."""
    return {"throttles": count, "throttled_ms": asked_ms, "throttled_last_ms": last_ms, "throttled_broker": 3}


def test_it_begins_and_is_over_once_each() -> None:
    """What was asked for before does not count for what begins anew."""
    watch = Throttling("producer", "supervisor-w1")
    with capture_logs() as logged:
        watch.look(counters(0, 0, 0), 0.0)
        assert watch.at(0.0) is None
        watch.look(counters(1, 1500, 1500), 1.0)
        watch.look(counters(2, 3500, 2000), 3.0)
        assert watch.at(4.0) == Throttled("producer", "supervisor-w1", 3.0, 3, 2000, 3500)
        watch.look(counters(2, 3500, 2000), 4.9 + QUIET_S)
        assert watch.at(5.0) is not None
        watch.look(counters(2, 3500, 2000), 5.0 + QUIET_S)
        assert watch.at(30.0) is None
        watch.look(counters(3, 3600, 100), 40.0)
        assert watch.at(41.0) == Throttled("producer", "supervisor-w1", 1.0, 3, 100, 100)
    assert [event["event"].split()[0] for event in logged] == ["a", "the", "a"]
    said = ("client", "producer"), ("client_id", "supervisor-w1"), ("throttle_ms", 1500)
    assert set(said) <= set(logged[0].items())


def test_another_client_begins_to_count_anew() -> None:
    """A new route's consumer."""
    watch = Throttling("consumer", "supervisor-w1")
    watch.look(counters(5, 9000, 1000), 0.0)
    watch.look({}, 100.0)
    assert watch.at(100.0) is None
    watch.look(counters(1, 700, 700), 101.0)
    assert watch.at(101.0) == Throttled("consumer", "supervisor-w1", 0.0, 3, 700, 700)


@pytest.mark.parametrize("client", ["producer", "consumer"])
def test_the_check_names_client_time_and_quota(client: str) -> None:
    """It is a warning, and the reason why lines wait, so that nothing else is said of that."""
    throttled = Throttled(client, "supervisor-w1", 60.0, 3, 2000, 93_500)
    report = supervisor_check(facts(throttled=(throttled,), output_stuck_for_s=30.0 if client == "producer" else None))
    assert report.status == WARNING
    for words in (f"Kafka {client} (client.id supervisor-w1)", "11:59:00", "2.0 s", "93.5 s", f"{client}_byte_rate"):
        assert words in report.output
    assert "look at the brokers" not in report.output
