"""A dead letter that its stream has not taken yet, when the Supervisor is stopped or the incoming topic changes."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

REJECTING = {
    "ACK_MODE": "line",
    "INPUT_NEWLINES": "reject",
    "KAFKA_OPTIONS": "topic.metadata.refresh.interval.ms=300,topic.metadata.propagation.max.ms=60000",
}


def wait_under_way(process: Supervised) -> None:
    """Wait until a letter is with the producer."""
    process.wait_counter("outlet", "dead_letters_waiting", 1, 20)


@pytest.mark.parametrize("guarantee", ["at-least-once", "exactly-once", "at-most-once"])
def test_a_stop_waits_for_a_letter_and_commits_its_record(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, guarantee: str
) -> None:
    """Its stream is there before the deadline: the record is done with, and does not come again."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    dead = names.topic("dead")
    manager.route(incoming, outgoing)
    env = REJECTING | {"PROCESSING_GUARANTEE": guarantee, "DEAD_LETTER_STREAM": dead}
    process = supervisor_process(("cat",), env=env)
    kafka.produce(incoming, [b"1", b"a\nb"])
    wait_under_way(process)
    process.send(signal.SIGTERM)
    process.wait_log("relay draining")
    kafka.create_topic(dead)
    assert process.wait() == 0
    assert [letter.value for letter in kafka.read(dead)] == [b"a\nb"]
    assert sum(kafka.committed(names.group, incoming).values()) == 2


def test_a_letter_of_a_topic_that_is_left_comes_with_its_offset(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """exactly-once: the letter is not committed without it, so that it comes once when the topic comes back."""
    outgoing, dead = kafka.create_topic(names.topic("out")), names.topic("dead")
    left, other = kafka.create_topic(names.topic("left")), kafka.create_topic(names.topic("other"))
    manager.route(left, outgoing)
    env = REJECTING | {
        "PROCESSING_GUARANTEE": "exactly-once",
        "DEAD_LETTER_STREAM": dead,
        "ADOPTION_GRACEPERIOD": "500ms",
    }
    process = supervisor_process(("cat",), env=env)
    kafka.produce(left, [b"1", b"a\nb", b"2"])
    wait_under_way(process)
    manager.route(other, outgoing)
    manager.wait_adopted()
    kafka.create_topic(dead)
    kafka.produce(other, [b"3", b"c\nd"])
    kafka.wait_committed(names.group, other, 2)
    assert [letter.value for letter in kafka.read(dead)] == [b"c\nd"]
    manager.route(left, outgoing)
    kafka.wait_committed(names.group, left, 3)
    assert process.terminate() == 0
    assert [letter.value for letter in kafka.read(dead)] == [b"c\nd", b"a\nb"]
    assert [frame.value for frame in persistence(outgoing).read()] == ["1", "3", "2"]
