"""Partitions that stop at a batch: told once, forgotten when they are read on, shown with what helps."""

from __future__ import annotations

from structlog.testing import capture_logs

from supervisor.health import CRITICAL, supervisor_check
from supervisor.unreadable import BAD_COMPRESSION, FORGOTTEN_S, Unreadable, UnreadableBatches

from .facts import facts

BAD_MESSAGE = -199


def test_each_batch_is_told_once_and_forgotten_when_it_is_over() -> None:
    """Over: read on behind it, another member's partition, or not met for long."""
    batches = UnreadableBatches("events")
    with capture_logs() as logged:
        for now_s in (0.0, 0.5):
            batches.notice(BAD_COMPRESSION, "1 70 codec 0x4: failed", now_s)
            batches.notice(BAD_MESSAGE, "2 80 CRC", now_s)
            batches.notice(BAD_MESSAGE, "3 90 CRC", now_s)
        assert batches.at(10.0)[0] == Unreadable(1, 70, BAD_COMPRESSION, "codec 0x4: failed", 10.0)
        batches.look({1: (70, 99), 2: (81, 99)}, 1.0)
        assert [found.partition for found in batches.at(1.0)] == [1]
        batches.notice(BAD_COMPRESSION, "1 75 codec 0x4: failed", 2.0)
        batches.look({1: (-1001, 99)}, 2.0 + FORGOTTEN_S)
        assert [found.offset for found in batches.at(3.0)] == [75]
        batches.look({1: (75, 99)}, 2.1 + FORGOTTEN_S)
        assert batches.at(3.0) == ()
    told = [(event["partition"], event["offset"]) for event in logged if event["log_level"] == "error"]
    assert told == [(1, 70), (2, 80), (3, 90), (1, 75)]


def test_the_check_names_place_and_remedy() -> None:
    """By what kind of fault it is, and no more than a few."""
    unreadable = tuple(
        Unreadable(number, 70, BAD_COMPRESSION if number else BAD_MESSAGE, "failed", 60.0) for number in range(5)
    )
    report = supervisor_check(facts(unreadable=unreadable))
    assert report.status == CRITICAL
    assert "artition 0 of incoming stream 'events' cannot be read from offset 70 on since" in report.output
    assert report.output.count("receive.message.max.bytes=1000000000") == 2
    assert report.output.count("--reset-offsets") == 3
    assert "2 further partitions cannot be read either" in report.output
