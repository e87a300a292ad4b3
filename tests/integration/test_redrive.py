"""``supervisor redrive`` on a real broker: where letters go, what stops it, and where it says to go on."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable
from typing import Any

from tests.conftest import Names
from tests.services.commands import command
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
ERRORS = "__connect.errors."
COUNT = "supervisor.redrives"


def redrive(kafka: Kafka, stream: str, *words: str, group: str = "nobody") -> tuple[int, dict[str, Any]]:
    """Status and answer of a run with --json."""
    environ = {"KAFKA_DSN": kafka.bootstrap, "KAFKA_CONSUMER_GROUP": group}
    run = command("redrive", "--json", "--stream", stream, *words, **environ)
    out, complaints = run.communicate(timeout=60)
    assert not complaints
    return run.returncode, json.loads(out)


def place(topic: str, partition: int | None, cause: str = "CalculatorFailure") -> list[tuple[str, bytes]]:
    """The headers that say where a letter came from."""
    said = {"topic": topic, "exception.class.name": f"supervisor.{cause}"}
    if partition is not None:
        said |= {"partition": str(partition), "offset": "42"}
    return [(ERRORS + name, value.encode()) for name, value in said.items()]


def test_letters_go_back_to_the_topic_and_partition_they_came_from(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """Key, value and headers as they were, and a count that survives the next death; a dry run changes nothing."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"))
    dead = kafka.create_topic(names.topic("dead"), 2)
    keys = [b"k%d" % number for number in range(12)]
    values = [b"a%d\nb" % number for number in range(12)]
    kafka.produce(incoming, values, keys=keys, headers=[("mine", b"1")])
    sent = {(record.partition, record.key, record.value) for record in kafka.read(incoming, 12)}
    manager.route(incoming, outgoing)
    env = {"INPUT_NEWLINES": "reject", "DEAD_LETTER_STREAM": dead}
    process = supervisor_process(("cat",), env=env)
    kafka.read(dead, 12)
    members = kafka.member_ids(names.group)
    status, dry = redrive(kafka, dead)
    assert (status, dry["dry_run"], dry["matching"], dry["targets"]) == (0, True, 12, {incoming: 12})
    assert (dry["sent"], dry["from"], len(kafka.read(incoming))) == (0, None, 12)
    assert {(met["origin"]["topic"], met["class"]) for met in dry["letters"]} == {
        (incoming, "supervisor.NewlineInValue")
    }
    status, done = redrive(kafka, dead, "--yes", group=names.group)
    assert (status, done["ok"], done["sent"], done["problems"]) == (0, True, 12, [])
    again = kafka.read(incoming, 24)
    back = [record for record in again if (COUNT, b"1") in record.headers]
    assert {(record.partition, record.key, record.value) for record in back} == sent
    assert {record.headers for record in back} == {(("mine", b"1"), (COUNT, b"1"))}
    # They die again: the next run goes on where this one ended, and sees those alone.
    assert len(kafka.read(dead, 24)) == 24
    status, more = redrive(kafka, dead, "--yes", "--from", done["from"])
    assert (status, more["read"], more["sent"]) == (0, 12, 12)
    assert sum((COUNT, b"2") in record.headers for record in kafka.read(incoming, 36)) == 12
    assert kafka.member_ids(names.group) == members
    assert kafka.committed(names.group, dead) == {}
    assert process.terminate() == 0


def test_what_cannot_go_back_is_left_or_stops_it(kafka: Kafka, names: Names) -> None:
    """Truncated and bare lines are left; a topic that is gone stops it there, is not made, and can be passed over."""
    origin, dead, gone = (
        kafka.create_topic(names.topic("in"), 2),
        kafka.create_topic(names.topic("dead")),
        names.topic("x"),
    )
    frame = b'{"wsp":"w1","ts":1,"raw":"x"}'
    for value, headers in (
        (b"0", place(origin, 1)),
        (b"half", place(origin, None, "LineTooLong")),
        (b"bare", place(origin, None, "UnproducibleLine")),
        (frame, place(origin, None, "UnproducibleLine")),
        (b"somebody's", []),
        (b"5", place(gone, 0)),
        (b"6", place(origin, 2)),
        (b"7", place(origin, 0)),
    ):
        kafka.produce(dead, [value], headers=headers)
    status, dry = redrive(kafka, dead)
    assert (status, dry["ok"], dry["read"], dry["matching"]) == (1, False, 8, 8)
    assert dry["not_sent"] == {"truncated": 1, "no dataframe": 1, "no dead letter": 1}
    assert dry["problems"] == [
        f"{dead}[0]@5: {gone} cannot be written: no such topic",
        f"{dead}[0]@6: {origin} has no partition 2 any more",
    ]
    status, first = redrive(kafka, dead, "--yes")
    assert (status, first["sent"], first["from"], first["problems"]) == (1, 2, "0:5", dry["problems"][:1])
    status, rest = redrive(kafka, dead, "--yes", "--from", "0:7")
    assert (status, rest["sent"], rest["from"]) == (0, 1, "0:8")
    assert sorted((record.value or b"", record.partition) for record in kafka.read(origin, 3))[:2] == [
        (b"0", 1),
        (b"7", 0),
    ]
    assert gone not in kafka.topics()
    status, nothing = redrive(kafka, dead, "--yes", "--from", "0:999")
    assert (status, nothing["read"], nothing["from"]) == (0, 0, "0:999")
    status, chosen = redrive(
        kafka, dead, "--origin", f"{origin}:1:40-50", "--class", "CalculatorFailure", "--since", "1h"
    )
    assert (status, chosen["matching"], chosen["letters"][0]["offset"]) == (0, 1, 0)


def test_a_transaction_that_is_open_or_was_aborted_is_not_read(kafka: Kafka, names: Names) -> None:
    """Letters of `exactly-once` count when they are committed; the end is found though markers are behind it."""
    origin, dead = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("dead"))
    for ends in ("commit", "abort", "open"):
        kafka.transaction(f"{ends}-{names.node_id}", dead, [ends.encode()], headers=place(origin, 0), ends=ends)
    status, done = redrive(kafka, dead, "--yes")
    assert (status, done["sent"], done["problems"]) == (0, 1, [])
    assert [record.value for record in kafka.read(origin, 1)] == [b"commit"]


def test_a_signal_ends_it_with_the_place_to_go_on(kafka: Kafka, names: Names) -> None:
    """What was confirmed counts, and the next run brings the rest: none is missing."""
    origin, dead = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("dead"), 2)
    letters = 60_000
    kafka.produce(dead, [b"%d" % number for number in range(letters)], headers=place(origin, 0))
    run = command("redrive", "--yes", "--stream", dead, KAFKA_DSN=kafka.bootstrap)
    end = time.monotonic() + 30
    while not kafka.end_offsets(origin)[0]:
        assert time.monotonic() < end, "nothing is sent"
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=30)
    assert run.returncode == -signal.SIGTERM
    assert "problem: interrupted by SIGTERM" in out
    (begin,) = re.findall(r"to go on from here: --from (\S+)", out)
    status, rest = redrive(kafka, dead, "--yes", "--from", begin)
    assert (status, 0 < rest["sent"] < letters) == (0, True)
    assert len({record.value for record in kafka.read(origin, letters)}) == letters


def test_nobody_and_nothing_there_is_said(kafka: Kafka, names: Names) -> None:
    """A dead broker, no such topic, no such partition: status 1 and a sentence; no topic is made."""
    dead = kafka.create_topic(names.topic("dead"))
    missing = names.topic("missing")
    for environ, words, said in (
        ({"KAFKA_DSN": "127.0.0.1:1"}, ("--stream", dead), "no broker of 127.0.0.1:1 answers: 127.0.0.1:1/bootstrap"),
        ({"KAFKA_DSN": kafka.bootstrap}, ("--stream", missing), f"{missing}: there is no such topic"),
        ({"KAFKA_DSN": kafka.bootstrap}, ("--stream", dead, "--from", "7:0"), f"--from: {dead} has no partition 7"),
    ):
        run = command("redrive", "--yes", *words, **environ)
        out, complaints = run.communicate(timeout=60)
        assert (run.returncode, out) == (1, "")
        assert complaints.startswith(f"supervisor redrive: {said}")
    assert missing not in kafka.topics()
