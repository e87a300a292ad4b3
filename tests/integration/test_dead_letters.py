"""Dead letters of what is no poison: values that are rejected, lines that cannot become a record."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

MODES = [
    {"ACK_MODE": "demand"},
    {"ACK_MODE": "line"},
    {"ACK_MODE": "marker"},
    {"ACK_MODE": "line", "PROCESSING_GUARANTEE": "exactly-once"},
    {"ACK_MODE": "marker", "PROCESSING_GUARANTEE": "exactly-once"},
    {"PROCESSING_GUARANTEE": "at-most-once"},
]


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: "-".join(mode.values()))
def test_a_value_with_a_newline_is_rejected(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, mode: dict[str, str]
) -> None:
    """INPUT_NEWLINES=reject: it never reaches the Calculator; one newline at the end is the line's own."""
    incoming = kafka.create_topic(names.topic("in"), 2)
    outgoing, dead = kafka.create_topic(names.topic("out")), kafka.create_topic(names.topic("dead"))
    values = [b"a%d\nb" % n if n % 10 == 7 else b"%d\n" % n if n % 2 else b"%d" % n for n in range(1000)]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=mode | {"INPUT_NEWLINES": "reject", "DEAD_LETTER_STREAM": dead})
    letters = kafka.read(dead, 100)
    assert {letter.value for letter in letters} == {value for value in values if value.startswith(b"a")}
    assert len(letters) == 100
    headers = dict(letters[0].headers)
    assert headers["__connect.errors.exception.class.name"] == b"supervisor.NewlineInValue"
    assert headers["__connect.errors.topic"] == incoming.encode()
    answers = [frame.value for frame in persistence(outgoing).read(900)]
    assert sorted(answers) == sorted(value.decode().rstrip("\n") for value in values if not value.startswith(b"a"))
    kafka.wait_committed(names.group, incoming, len(values))
    assert process.terminate() == 0


def test_lines_that_cannot_become_records_become_dead_letters(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Refused by the topic: the dataframe. Over MAX_LINE_BYTES, with or without an end in sight: its beginning."""
    incoming = kafka.create_topic(names.topic("in"))
    outgoing = kafka.create_topic(names.topic("out"), max_message_bytes="50000")
    dead = kafka.create_topic(names.topic("dead"))
    values = [b"1", b"x" * 60_000, b"2", b"y" * 150_000, b"3", b"z" * 3_000_000, b"4"]
    program = (
        "import sys\n"
        "for line in sys.stdin.buffer:\n"
        "    kind, size = line[:1], int(line[1:])\n"
        "    sys.stdout.buffer.write(kind * size + b'\\n'); sys.stdout.flush()"
    )
    kafka.produce(incoming, [b"%c%d" % (value[0], len(value)) for value in values])
    manager.route(incoming, outgoing)
    process = supervisor_process(
        ("python3", "-u", "-c", program), env={"DEAD_LETTER_STREAM": dead, "MAX_LINE_BYTES": "100000"}
    )
    assert [frame.value for frame in persistence(outgoing).read(4)] == ["1", "2", "3", "4"]
    letters = {dict(letter.headers)["__connect.errors.exception.message"]: letter for letter in kafka.read(dead, 3)}
    refused = next(letter for why, letter in letters.items() if why is not None and b"MAX_LINE" not in why)
    assert refused.value is not None
    assert b'"raw":"' + b"x" * 60_000 + b'"' in refused.value
    assert dict(refused.headers)["__connect.errors.topic"] == outgoing.encode()
    oversize = sorted(letter.value or b"" for letter in kafka.read(dead) if letter != refused)
    assert oversize == [b"y" * 100_000, b"z" * 100_000]
    kafka.wait_committed(names.group, incoming, len(values))
    assert "dropped" not in process.log_text()
    assert process.terminate() == 0


def test_a_line_that_the_dead_letter_stream_refuses_too_is_dropped(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Never silent, never a stuck pipe."""
    incoming = kafka.create_topic(names.topic("in"))
    outgoing = kafka.create_topic(names.topic("out"), max_message_bytes="20000")
    dead = kafka.create_topic(names.topic("dead"), max_message_bytes="20000")
    kafka.produce(incoming, [b"1", b"x" * 30_000, b"2"])
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env={"DEAD_LETTER_STREAM": dead})
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["1", "2"]
    process.wait_log("line dropped: the broker does not take it")
    kafka.wait_committed(names.group, incoming, 3)
    assert process.status()["outlet"]["lines_unproducible"] == 1


@pytest.mark.parametrize("ack_mode", ["line", "marker"])
def test_exactly_once_holds_for_lines_and_letters_over_a_kill(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, ack_mode: str
) -> None:
    """Rejected values in full flow: each line and each letter once, though the Supervisor is killed in between."""
    incoming = kafka.create_topic(names.topic("in"), 2)
    outgoing, dead = kafka.create_topic(names.topic("out")), kafka.create_topic(names.topic("dead"))
    values = [b"a%d\nb" % n if n % 50 == 7 else b"%d" % n for n in range(5000)]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    env = {
        "ACK_MODE": ack_mode,
        "PROCESSING_GUARANTEE": "exactly-once",
        "INPUT_NEWLINES": "reject",
        "DEAD_LETTER_STREAM": dead,
        "KAFKA_OPTIONS": "session.timeout.ms=6000",
    }
    first = supervisor_process(("cat",), env=env)
    first.wait_counter("outlet", "dead_letters_delivered", 20)
    first.kill()
    second = supervisor_process(("cat",), env=env)
    # Behind each of the hundred letters a transaction ends, which takes its time on a machine that is busy.
    kafka.wait_committed(names.group, incoming, len(values), deadline_s=150)
    kafka.wait_stable(outgoing)
    kafka.wait_stable(dead)
    letters = [letter.value for letter in kafka.read(dead)]
    assert sorted(letters, key=str) == sorted((value for value in values if value.startswith(b"a")), key=str)
    lines = [frame.value for frame in persistence(outgoing).read()]
    assert sorted(lines) == sorted(value.decode() for value in values if not value.startswith(b"a"))
    assert second.terminate() == 0


def test_a_missing_stream_holds_exactly_once_up_without_doubling_or_a_restart(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """The Calculator goes on running, the check says what is missing, and all goes on when it is there."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    dead = names.topic("dead")
    values = [b"1", b"2", b"a\nb", b"3", b"c\nd", b"4"]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    process = supervisor_process(
        ("cat",),
        env={
            "ACK_MODE": "line",
            "PROCESSING_GUARANTEE": "exactly-once",
            "INPUT_NEWLINES": "reject",
            "DEAD_LETTER_STREAM": dead,
            "KAFKA_OPTIONS": "topic.metadata.propagation.max.ms=500",
        },
    )
    process.wait_log("the dead letter stream does not take a record; it waits, and all behind it")
    assert f"'{dead}'" in process.status()["checks"]["supervisor"]["output"]
    assert [frame.value for frame in persistence(outgoing).read()] == ["1", "2"], "what is before it is committed"
    kafka.create_topic(dead)
    kafka.wait_committed(names.group, incoming, len(values), deadline_s=30)
    assert [letter.value for letter in kafka.read(dead)] == [b"a\nb", b"c\nd"]
    assert [frame.value for frame in persistence(outgoing).read(4)] == ["1", "2", "3", "4"]
    assert process.status()["restarts"] == 0
    assert process.terminate() == 0


def test_a_stream_that_is_taken_away_holds_no_line_up(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """The letter of a line waits for a topic that never comes; without the stream the line is dropped, and said."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"1", b"x" * 2000, b"2"])
    manager.put("dead_letter_stream", names.topic("never"))
    manager.route(incoming, outgoing)
    process = supervisor_process(
        ("cat",), env={"MAX_LINE_BYTES": "1000", "KAFKA_OPTIONS": "topic.metadata.propagation.max.ms=500"}
    )
    process.wait_log("the dead letter stream does not take a record; it waits, and all behind it")
    assert kafka.committed(names.group, incoming).get(0, 0) <= 1
    manager.put("dead_letter_stream", None)
    process.wait_log("line dropped: the broker does not take it")
    kafka.wait_committed(names.group, incoming, 3)
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["1", "2"]
    assert process.terminate() == 0


@pytest.mark.parametrize("dead_limit", [None, "20000", "200000"], ids=["no-stream", "refuses-too", "takes-it"])
def test_a_line_that_the_topic_refuses_does_not_stop_exactly_once(
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    *,
    dead_limit: str | None,
) -> None:
    """Its refusal fails a transaction; found, it is put aside or dropped, and the lines beside it come once each."""
    incoming = kafka.create_topic(names.topic("in"))
    outgoing = kafka.create_topic(names.topic("out"), max_message_bytes="20000")
    values = [b"%d" % n for n in range(300)]
    values[100] = b"x" * 30_000
    kafka.produce(incoming, values)
    env = {"ACK_MODE": "line", "PROCESSING_GUARANTEE": "exactly-once", "RESTART_BACKOFF_MAX": "100ms"}
    if dead_limit is not None:
        env["DEAD_LETTER_STREAM"] = kafka.create_topic(names.topic("dead"), max_message_bytes=dead_limit)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=env)
    kafka.wait_committed(names.group, incoming, len(values), deadline_s=40)
    lines = [frame.value for frame in persistence(outgoing).read(299)]
    assert lines == [value.decode() for value in values if len(value) < 100]
    if dead_limit == "200000":
        (letter,) = kafka.read(names.topic("dead"))
        assert values[100] in (letter.value or b"")
    else:
        process.wait_log("line dropped: the broker does not take it")
    assert process.terminate() == 0


def test_a_letter_that_is_refused_holds_up_no_line_before_it(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """A rejected record is too large for the stream and waits; the letter of a line printed for one before it goes."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    dead = kafka.create_topic(names.topic("dead"), max_message_bytes="20000")
    kafka.produce(incoming, [b"x" * 2000, b"y\n" + b"y" * 30_000])
    manager.route(incoming, outgoing)
    # The line comes when the record behind it has been refused.
    process = supervisor_process(
        ("sh", "-c", "read line; sleep 2; echo $line; exec cat"),
        env={"ACK_MODE": "line", "INPUT_NEWLINES": "reject", "MAX_LINE_BYTES": "1000", "DEAD_LETTER_STREAM": dead},
    )
    process.wait_log("the dead letter stream does not take a record; it waits, and all behind it")
    assert kafka.wait_committed(names.group, incoming, 1) == {0: 1}
    assert [letter.value for letter in kafka.read(dead)] == [b"x" * 1000]


def test_no_record_is_lost_before_a_dead_one_whose_partition_goes(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, tmp_path: Path
) -> None:
    """The Calculator fails while it is asked back: the unanswered record is left, so no offset passes it."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    dead, works = kafka.create_topic(names.topic("dead")), tmp_path / "works"
    program = (
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        f"    if not os.path.exists({str(works)!r}): time.sleep(0.2); os._exit(3)\n"
        "    print(line, end='')"
    )
    manager.route(incoming, outgoing)
    env = {
        "ACK_MODE": "line",
        "INPUT_NEWLINES": "reject",
        "DEAD_LETTER_STREAM": dead,
        "POISON_MAX_ATTEMPTS": "1000",
        "RESTART_BACKOFF_MAX": "100ms",
        "ADOPTION_GRACEPERIOD": "10s",
        "KAFKA_OPTIONS": "heartbeat.interval.ms=500",
    }
    process = supervisor_process(python(program), env=env)
    for partition in (0, 1):  # one of them is asked back
        process.wait_counter("inlet", "assigned_partitions", 2)
        kafka.produce(incoming, [b"%d" % partition, b"x\ny"], partition=partition)
        process.wait_counter("outlet", "dead_letters_delivered", partition + 1)
        with kafka.another_member(names.group, incoming):
            kafka.wait_shares(names.group, 1, 1)
        works.touch()
        kafka.wait_committed(names.group, incoming, 2 * (partition + 1))
        assert str(partition) in {frame.value for frame in persistence(outgoing).read()}
        works.unlink()
    assert process.terminate() == 0
