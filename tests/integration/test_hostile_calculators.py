"""Calculators as hostile as the world's: the Supervisor stays alive and bounded, and the records are accounted for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

RECORDS = 2000
MEMORY_BYTES = 200 << 20
ALL = {str(number) for number in range(RECORDS)}
DEMAND = {"ACK_IDLE": "200ms", "RESTART_BACKOFF_MAX": "200ms"}
LINE = DEMAND | {"ACK_MODE": "line"}


def python(*lines: str) -> tuple[str, ...]:
    """Return the command of a Calculator written here."""
    return ("python3", "-u", "-c", "\n".join(("import os, sys, time", *lines)))


ANSWERS_ALL = {
    "prints without being asked, by a thread": (
        python(
            "import threading",
            "def chat():",
            "    for n in range(100): os.write(1, b'unasked\\n'); time.sleep(0.005)",
            "threading.Thread(target=chat, daemon=True).start()",
            "for line in sys.stdin: os.write(1, line.encode())",
        ),
        DEMAND,
    ),
    "closes STDERR": (python("os.close(2)", "for line in sys.stdin: print(line, end='')"), DEMAND),
    "writes 20 MB without a newline first": (
        python("os.write(1, b'x')", "print('x' * 20_000_000)", "for line in sys.stdin: print(line, end='')"),
        DEMAND,
    ),
    "answers out of order": (
        python(
            "batch = []",
            "for line in sys.stdin:",
            "    batch.append(line)",
            "    if len(batch) == 10: print(*reversed(batch), sep='', end=''); batch.clear()",
        ),
        LINE,
    ),
    "lets a child answer": (("sh", "-c", "cat; exit 1"), DEMAND),
    "dies and leaves a child that prints on": (
        python(
            "os.environ['SECOND'] = str(os.path.exists(MARK))",
            "open(MARK, 'w').close()",
            "for number, line in enumerate(sys.stdin):",
            "    print(line, end='')",
            "    if number == 99 and os.environ['SECOND'] == 'False':",
            "        if os.fork(): os.abort()",
            "        os.setsid(); os.close(0)",
            "        for n in range(30): print('late'); time.sleep(0.1)",
            "        sys.exit(0)",
        ),
        DEMAND,
    ),
    "exits 0 every 100 records": (
        python(
            "for number, line in enumerate(sys.stdin):", "    print(line, end='')", "    number == 99 and sys.exit(0)"
        ),
        LINE,
    ),
    "crashes every 100 records": (
        python(
            "for number, line in enumerate(sys.stdin):", "    print(line, end='')", "    number == 99 and os.abort()"
        ),
        LINE,
    ),
    "writes to STDERR without end": (("sh", "-c", "yes something is wrong >&2 & exec cat"), DEMAND),
}


@pytest.mark.parametrize("kind", ANSWERS_ALL)
def test_every_record_of_one_that_answers_comes_out(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, kind: str
) -> None:
    """Whatever else it does."""
    program, environment = ANSWERS_ALL[kind]
    mark = f"/tmp/{names.node_id}"
    program = tuple(word.replace("MARK", repr(mark)) for word in program)
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(RECORDS)])
    manager.route(incoming, outgoing)
    with open(os.devnull, "wb") as log:  # noqa: PTH123 - a device
        process = supervisor_process(program, env=environment, log_fd=log.fileno())
        kafka.wait_committed(names.group, incoming, RECORDS, deadline_s=60)
        assert process.memory_bytes() < MEMORY_BYTES
        assert process.terminate() == 0
    assert {frame.value for frame in persistence(outgoing).read(RECORDS)} >= ALL


def test_any_bytes_become_a_dataframe_each(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """NUL, control bytes, broken UTF-8, a lone carriage return: a standard JSON parser reads every one."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = python(
        "for number, line in enumerate(sys.stdin.buffer):",
        "    os.write(1, bytes(byte for byte in range(256) if byte != 10) + b'%d\\n' % number)",
    )
    kafka.produce(incoming, [b"%d" % number for number in range(RECORDS)])
    manager.route(incoming, outgoing)
    process = supervisor_process(program, env=DEMAND)
    kafka.wait_committed(names.group, incoming, RECORDS)
    body = bytes(byte for byte in range(256) if byte != 10).decode("utf-8", "replace")
    assert [frame.value for frame in persistence(outgoing).read(RECORDS)] == [f"{body}{n}" for n in range(RECORDS)]
    assert process.status()["outlet"]["lines_repaired"] == RECORDS


def test_one_that_closes_stdin_is_said_and_loses_nothing(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """What it did not take stays in Kafka; nothing is committed that did not come out."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = python(
        "for number in range(50): os.write(1, sys.stdin.buffer.raw.read(2))", "os.close(0)", "time.sleep(1000)"
    )
    kafka.produce(incoming, [b"%d" % (number % 10) for number in range(RECORDS)])
    manager.route(incoming, outgoing)
    process = supervisor_process(program, env=DEMAND)
    process.wait_status(
        lambda status: "closed its STDIN and takes no records" in status["checks"]["calculator"]["output"],
        "the check says so",
    )
    assert process.status()["checks"]["calculator"]["status"] == "critical"
    assert len(persistence(outgoing).read(50)) == 50
    assert process.terminate() == 0
    assert sum(kafka.committed(names.group, incoming).values()) <= 50


def test_one_that_closes_stdout_goes_on_as_a_sink(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """It still reads, and prints nothing: `demand` takes it for a filter."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = python("print('only this')", "os.close(1)", "for line in sys.stdin: pass")
    kafka.produce(incoming, [b"%d" % number for number in range(RECORDS)])
    manager.route(incoming, outgoing)
    process = supervisor_process(program, env=DEMAND)
    kafka.wait_committed(names.group, incoming, RECORDS)
    assert [frame.value for frame in persistence(outgoing).read(1)] == ["only this"]
    assert process.terminate() == 0


def test_one_that_reads_no_more_is_said_and_bounded(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """100 MB wait for it: they stay in Kafka, and the next one gets all of them."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, (b"%d " % number + b"x" * 50_000 for number in range(RECORDS)))
    manager.route(incoming, outgoing)
    process = supervisor_process(("sh", "-c", "read -r line; exec sleep 1000"))
    process.wait_status(
        lambda status: "has read nothing" in status["checks"]["calculator"]["output"], "the check says so", 60
    )
    assert process.memory_bytes() < MEMORY_BYTES
    assert process.terminate() == 0
    assert kafka.committed(names.group, incoming) in ({}, {0: 0})
    supervisor_process(python("for line in sys.stdin: print(line.split(' ')[0], flush=True)"))
    kafka.wait_committed(names.group, incoming, RECORDS, deadline_s=60)
    assert {frame.value for frame in persistence(outgoing).read(RECORDS)} == ALL


@pytest.mark.parametrize("mode", ["demand", "line"])
def test_one_that_answers_at_the_end_of_stdin_gets_its_end(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: str
) -> None:
    """A stop closes STDIN, takes everything it prints then, and commits it."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(RECORDS)])
    manager.route(incoming, outgoing)
    process = supervisor_process(("tac",), env={"ACK_MODE": mode, "ACK_IDLE": "1h"})
    process.wait_counter("inlet", "lines_written", RECORDS)
    assert process.terminate() == 0
    assert [frame.value for frame in persistence(outgoing).read(RECORDS)] == [str(n) for n in reversed(range(RECORDS))]
    kafka.wait_committed(names.group, incoming, RECORDS)


def test_one_that_ignores_sigterm_is_killed_at_the_end_of_the_grace(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Its records are accounted for, and the stop keeps its time."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(RECORDS)])
    manager.route(incoming, outgoing)
    program = ("sh", "-c", "trap '' TERM INT HUP; cat; while :; do sleep 1; done")
    process = supervisor_process(program, env=DEMAND | {"SHUTDOWN_GRACEPERIOD": "2s"})
    kafka.wait_committed(names.group, incoming, RECORDS)
    began_s = time.monotonic()
    assert process.terminate() == 0
    assert 1.5 < time.monotonic() - began_s < 8
    assert {frame.value for frame in persistence(outgoing).read(RECORDS)} == ALL
