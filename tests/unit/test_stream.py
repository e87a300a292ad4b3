"""How long an error of a native end stands, and which of two is said."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from supervisor import stream
from supervisor.stream import StreamEnd

TRANSPORT, ALL_DOWN, AUTHENTICATION, TOPIC_AUTHORIZATION = -195, -187, -169, 29


class Scripted:
    """A native end whose notices and counters are given."""

    def __init__(self, **counters: int) -> None:
        self.notice_fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.counters = {"brokers_up": -1} | counters
        self._told: list[tuple[str, int, str]] = []

    def tell(self, kind: str, code: int, text: str) -> None:
        """Have something to tell."""
        self._told.append((kind, code, text))
        os.eventfd_write(self.notice_fd, 1)

    def run(self) -> None:
        """Do nothing."""

    def stop(self, deadline_s: float) -> None:
        """Do nothing."""

    def notices(self) -> list[tuple[str, int, str]]:
        """Tell it."""
        told, self._told = self._told, []
        return told

    def snapshot(self) -> dict[str, int]:
        """Return the counters."""
        return dict(self.counters)


Make = Callable[..., tuple[StreamEnd, Scripted, list[str]]]


@pytest.fixture
def make() -> Iterator[Make]:
    """Make an end on a loop that is never run: ``take_notices`` is called by the test."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made: list[Scripted] = []

    def make(*, renews_client: bool = False, **counters: int) -> tuple[StreamEnd, Scripted, list[str]]:
        kinds: list[str] = []

        async def begin() -> StreamEnd:
            return StreamEnd("side", "topic", native, lambda kind, *_: kinds.append(kind), renews_client=renews_client)

        native = Scripted(**counters)
        made.append(native)
        return loop.run_until_complete(begin()), native, kinds

    yield make
    loop.close()
    asyncio.set_event_loop(None)
    for native in made:
        os.close(native.notice_fd)


def told(end: StreamEnd, native: Scripted, *errors: tuple[str, int, str]) -> str | None:
    """Return the error that stands after these."""
    for error in errors:
        native.tell(*error)
    end.take_notices()
    end.counters()
    return end.error


def test_what_follows_does_not_hide_the_reason(make: Make) -> None:
    """Brokers that are down because of a wrong password: the password is said, whichever comes last."""
    end, native, _ = make()
    errors = [("error", ALL_DOWN, "all down"), ("error", AUTHENTICATION, "wrong password")]
    assert told(end, native, *errors) == "wrong password"
    assert told(end, native, ("error", TRANSPORT, "hung up"), ("error", ALL_DOWN, "all down")) == "wrong password"
    assert told(end, native, ("error", AUTHENTICATION, "wrong password at broker 2")) == "wrong password"


def test_one_trouble_is_one_line(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a broker librdkafka tells of each one and of all of them, for ever, by turns and with other numbers."""
    end, native, _ = make()
    texts = [(TRANSPORT, "a:1: Connect failed"), (ALL_DOWN, "0/2 brokers are down"), (TRANSPORT, "b:2: Connect failed"),
             (-185, "timed out"), (ALL_DOWN, "2/2 brokers are down")]  # fmt: skip
    with capture_logs() as logs:
        for code, text in texts * 50:
            assert told(end, native, ("error", code, text)) == "a:1: Connect failed"
        since_s = end.error_since_s
        assert told(end, native, *[("error", code, f"no {code}") for code in (-193, -169) * 50]) == "no -169"
        assert end.error_since_s == since_s
        native.counters["brokers_up"] = 1
        monkeypatch.setattr(stream, "ERROR_STANDS_S", 0.0)
        assert told(end, native) is None
        assert told(end, native, ("error", TRANSPORT, "a:1: Connect failed")) is None
    assert [(line["event"], line.get("code")) for line in logs] == [
        ("kafka error", TRANSPORT),
        ("kafka error", -193),
        ("kafka error", -169),
        ("kafka error is over", None),
        ("kafka error", TRANSPORT),
        ("kafka error is over", None),
    ]


def test_all_brokers_down_is_no_reason(make: Make) -> None:
    """What says more takes its place."""
    end, native, _ = make()
    assert told(end, native, ("error", ALL_DOWN, "all down")) == "all down"
    assert told(end, native, ("error", TRANSPORT, "refused"), ("error", ALL_DOWN, "all down")) == "refused"


def test_a_line_of_librdkafka_that_comes_again_and_again_is_one(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a minute; the next one says how many were left out, and other lines are not held back by it."""
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    end, native, _ = make()
    with capture_logs() as logs:
        for second in range(130):
            now_s = 1000.0 + second
            told(end, native, ("log", 4, f"REQTMOUT: [thrd:b:9092/1]: Timed out {second} in-flight requests"))
        told(end, native, *(("log", 4, f"CONFWARN: property {name} is deprecated") for name in "abc"))
    warnings = [line for line in logs if line["log_level"] == "warning"]
    assert [line.get("left_out_before") for line in warnings] == [None, 59, 59, None, None, None]


def test_a_connection_is_there_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statistics say so, when they are younger than the error."""
    end, native, _ = make()
    assert told(end, native, ("error", AUTHENTICATION, "wrong password"))
    native.counters["brokers_up"] = 1
    assert told(end, native)
    monkeypatch.setattr(stream, "ERROR_STANDS_S", 0.0)
    assert told(end, native) is None


def test_a_call_that_nobody_answers_is_an_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """No error and no statistics come while the thread waits in it, so the last statistics prove nothing."""
    monkeypatch.setattr(stream, "ERROR_STANDS_S", 0.0)
    end, native, _ = make(renews_client=True, brokers_up=1, call_ms=stream.CALL_PATIENCE_MS)
    assert told(end, native) is None
    native.counters["call_ms"] += 1
    assert "transaction" in (told(end, native) or "")
    assert told(end, native, ("error", TRANSPORT, "hung up"))
    native.counters["call_ms"] = 0
    assert told(end, native) is None


def test_a_refused_topic_is_over_when_every_partition_is_read(make: Make) -> None:
    """There may be no record to show it; with no partition nothing is shown."""
    end, native, _ = make(records_read=5, assigned_partitions=2, readable_partitions=1)
    assert told(end, native, ("error", TOPIC_AUTHORIZATION, "refused")) == "refused"
    native.counters |= {"assigned_partitions": 0, "readable_partitions": 0}
    assert told(end, native) == "refused"
    native.counters |= {"assigned_partitions": 2, "readable_partitions": 2}
    assert told(end, native) is None


def test_a_refused_group_is_over_when_the_membership_is_settled(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not lost meanwhile, so that nothing is assigned; the statistics have to be younger than the error."""
    end, native, _ = make(records_read=5, assigned_partitions=2, group_steady=1)
    assert told(end, native, ("error", 30, "not your group")) == "not your group"
    monkeypatch.setattr(stream, "ERROR_STANDS_S", 0.0)
    native.counters["group_steady"] = 0
    assert told(end, native) == "not your group"
    native.counters["group_steady"] = 1
    assert told(end, native) is None


def test_the_first_record_ends_an_error(make: Make) -> None:
    """One that was met before any record."""
    end, native, _ = make(records_read=0, assigned_partitions=2)
    assert told(end, native, ("error", 3, "no such topic")) == "no such topic"
    native.counters["records_read"] = 1
    assert told(end, native) is None


def test_partitions_that_are_read_at_last_end_an_error(make: Make) -> None:
    """It was about their offsets; there may be no record to show it."""
    end, native, kinds = make(records_read=0, assigned_partitions=2)
    assert told(end, native, ("error", 30, "not your group")) == "not your group"
    assert told(end, native, ("placed", 2, "topic")) is None
    assert kinds == []


def test_lines_that_were_all_delivered_at_once_end_an_error(make: Make) -> None:
    """Between the error and the first look after it, and no line follows."""
    end, native, _ = make(renews_client=True, lines_delivered=7, last_error=0, undelivered=0)
    end.counters()
    native.counters |= {"last_error": 3, "undelivered": 9}
    assert told(end, native, ("error", 3, "no such topic")) == "no such topic"
    end, native, _ = make(renews_client=True, lines_delivered=7, last_error=0, undelivered=0)
    end.counters()
    native.counters |= {"lines_delivered": 16}
    assert told(end, native, ("error", 3, "no such topic")) is None


def test_lines_that_were_given_up_end_no_error(make: Make) -> None:
    """Nothing is under way, and nothing was delivered."""
    end, native, _ = make(renews_client=True, lines_delivered=7, last_error=0, undelivered=0)
    end.counters()
    assert told(end, native, ("fatal", 53, "not allowed")) == "not allowed"
    assert told(end, native) == "not allowed"


def test_a_fatal_error_stands_and_is_told(make: Make) -> None:
    """Nothing that the client says or does later takes it back."""
    end, native, kinds = make(records_read=5, assigned_partitions=1)
    assert told(end, native, ("fatal", 82, "fenced"), ("error", -150, "fatal")) == "fenced"
    native.counters |= {"records_read": 6, "brokers_up": 3}
    assert told(end, native, ("assigned", 1, "topic")) == "fenced"
    assert kinds == ["fatal", "assigned"]


def test_a_property_of_the_other_client_is_no_warning(make: Make) -> None:
    """KAFKA_OPTIONS are for both; what else librdkafka warns of is."""
    ignored = "CONFWARN: [thrd:app]: Configuration property {} is a {} property and will be ignored by this {} instance"
    noise = [
        ignored.format("group.instance.id", "consumer", "producer"),
        ignored.format("linger.ms", "producer", "consumer"),
        "FAIL: [thrd:kafka:9092/1]: kafka:9092/1: Connect to ipv4#10.0.0.1:9092 failed",
    ]
    warnings = ["CONFWARN: [thrd:app]: Configuration property x is deprecated: y", "TXNERR: [thrd:main]: failed"]
    end, native, _ = make()
    with capture_logs() as logs:
        told(end, native, *(("log", 4, text) for text in noise + warnings))
    assert [(line["log_level"], line["line"]) for line in logs] == [
        *(("debug", text) for text in noise),
        *(("warning", text) for text in warnings),
    ]
