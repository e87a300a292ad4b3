"""ACK_MODE=marker on a real broker: filters, fan-out and batches, acknowledged by marker lines that come back."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]
MARKER = {"ACK_MODE": "marker", "RESTART_BACKOFF_MAX": "200ms"}

BATCHES = (
    "import sys\n"
    "batch = []\n"
    "def out():\n"
    "    print('+'.join(batch)) if batch else None; batch.clear()\n"
    "for line in sys.stdin:\n"
    "    if line.startswith('\\x1eBDZ-ACK '): out(); print(line, end='', flush=True)\n"
    "    else: batch.append(line.strip())\n"
    "    if len(batch) == 7: out()\n"
)


def python(program: str) -> tuple[str, ...]:
    """Return the command of a Calculator written here."""
    return ("python3", "-c", program)


def test_markers_are_swallowed_and_records_committed(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Several partitions, tombstones and empty values; every record once and no marker among them."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"), 2)
    values = [b"" if number % 7 == 0 else None if number % 5 == 0 else b"%d" % number for number in range(50_000)]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=MARKER)
    expected = Counter(value.decode() for value in values if value is not None)
    assert Counter(frame.value for frame in persistence(outgoing).read(expected.total())) == expected
    kafka.wait_committed(names.group, incoming, len(values))
    inlet, outlet = process.status()["inlet"], process.status()["outlet"]
    assert inlet["markers_written"] == outlet["markers_echoed"] > 0
    assert outlet["lines_delivered"] == expected.total()


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (("grep", "--line-buffered", "-E", "^(.BDZ-ACK |[0-9]*7$)"), {str(n) for n in range(3000) if n % 10 == 7}),
        (("sed", "-u", r"/^\x1eBDZ-ACK /b;s/.*/&a\n&b/"), {f"{n}{half}" for n in range(3000) for half in "ab"}),
    ],
    ids=["filter", "fan-out"],
)
def test_killing_a_filter_or_a_fan_out_loses_nothing(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    program: tuple[str, ...],
    expected: set[str],
) -> None:
    """What no echo covers is written again; what one covers is not."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(program, env=MARKER)
    process.wait_ready()
    for part in range(3):
        kafka.produce(incoming, [b"%d" % number for number in range(1000 * part, 1000 * part + 1000)])
        process.wait_counter("inlet", "acknowledged", 1000 * part + 1)
        pid = process.status()["calculator_pid"]
        os.kill(pid, signal.SIGKILL)
        process.wait_log("calculator ended", pid=pid)
    kafka.wait_committed(names.group, incoming, 3000)
    assert {frame.value for frame in persistence(outgoing).read(len(expected))} == expected


def test_a_batch_is_answered_with_the_marker_behind_it(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Also at the end: the last marker comes before the EOF, and the rest of the batch with it."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(1000)])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(BATCHES), env=MARKER)
    kafka.wait_committed(names.group, incoming, 1000)
    kafka.produce(incoming, [b"1000"])
    process.wait_counter("inlet", "lines_written", 1001)
    assert process.terminate() == 0
    kafka.wait_committed(names.group, incoming, 1001)
    values = [number for frame in persistence(outgoing).read(144) for number in frame.value.split("+")]
    assert values == [str(number) for number in range(1001)]


def test_a_calculator_that_never_echoes_is_said(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """In the log and the check; nothing is committed, the window bounds what is taken, a better program gets it all."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(500)])
    manager.route(incoming, outgoing)
    process = supervisor_process(
        ("grep", "--line-buffered", "-v", "BDZ-ACK"),
        env=MARKER | {"MAX_IN_FLIGHT_RECORDS": "100", "ACK_IDLE": "200ms", "MARKER_PREFIX": r"\x23BDZ-ACK\x3a"},
    )
    said = process.wait_log("the Calculator waits for input and has not echoed the marker lines of ACK_MODE=marker")
    assert said["unacknowledged_records"] == 100
    process.wait_status(
        lambda status: "100 records cannot be acknowledged" in status["checks"]["calculator"]["output"],
        "the Calculator's check says so",
    )
    assert process.status()["inlet"]["in_flight_records"] == 100
    assert kafka.committed(names.group, incoming) in ({}, {0: 0})
    assert process.terminate() == 0
    supervisor_process(("cat",), env=MARKER)
    kafka.wait_committed(names.group, incoming, 500)
    assert {frame.value for frame in persistence(outgoing).read(500)} == {str(number) for number in range(500)}


def test_what_only_looks_like_a_marker_is_data(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Numbers that were never written, and no numbers, come out as lines; a marker twice acknowledges once."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    strays = ["#987654321", "#", "#12a", "#-1", "#00000000000000000001111111111"]
    shell = "; ".join(f"echo '{stray}'" for stray in strays)
    kafka.produce(incoming, [b"1", b"2"])
    manager.route(incoming, outgoing)
    supervisor_process(("sh", "-c", f"{shell}; exec sed -u '/^#/p'"), env=MARKER | {"MARKER_PREFIX": "#"})
    assert [frame.value for frame in persistence(outgoing).read(len(strays) + 2)] == [*strays, "1", "2"]
    kafka.wait_committed(names.group, incoming, 2)


@pytest.mark.parametrize("input_newlines", ["space", "split", "reject"])
def test_a_value_that_looks_like_a_marker_acknowledges_nothing(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    input_newlines: str,
) -> None:
    """It is changed or rejected as a value with a newline is, and every record comes out or has its letter."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    dead = kafka.create_topic(names.topic("dead"))
    like = [b"\x1eBDZ-ACK %d" % number for number in range(20)]
    values = [b"plain", *like, b"x\n\x1eBDZ-ACK 1"]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    env = MARKER | {"INPUT_NEWLINES": input_newlines, "DEAD_LETTER_STREAM": dead}
    process = supervisor_process(("cat",), env=env)
    kafka.wait_committed(names.group, incoming, len(values))
    changed = [value.decode().replace("\x1e", " ") for value in like]
    lines = {
        "space": ["plain", *changed, "x \x1eBDZ-ACK 1"],
        "split": ["plain", *changed, "x", " BDZ-ACK 1"],
        "reject": ["plain"],
    }
    assert [frame.value for frame in persistence(outgoing).read(len(lines[input_newlines]))] == lines[input_newlines]
    counters = process.status()
    assert counters["inlet"]["values_changed"] == (0 if input_newlines == "reject" else len(like) + 1)
    assert counters["inlet"]["markers_written"] == counters["outlet"]["markers_echoed"]
    if input_newlines == "reject":
        letters = kafka.read(dead, len(values) - 1, partitions=[0])
        assert [letter.value for letter in letters] == values[1:]
