"""A record that ends the Calculator each time: found, put aside with its offset, and nothing else with it."""

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

FAST = {"RESTART_BACKOFF_MAX": "100ms", "ADOPTION_GRACEPERIOD": "1s"}
MODES = [
    FAST | {"ACK_MODE": "demand"},
    FAST | {"ACK_MODE": "line"},
    FAST | {"ACK_MODE": "marker"},
    FAST | {"ACK_MODE": "line", "PROCESSING_GUARANTEE": "exactly-once"},
    FAST | {"ACK_MODE": "marker", "PROCESSING_GUARANTEE": "exactly-once"},
]
NAMES = ["demand", "line", "marker", "exactly-once-line", "exactly-once-marker"]

DIES_OF_POISON = (
    "import os, sys\n"
    "for line in sys.stdin:\n"
    "    if 'poison' in line: os._exit(3)\n"
    "    sys.stdout.write(line); sys.stdout.flush()\n"
)


@pytest.mark.parametrize("mode", MODES, ids=NAMES)
def test_poison_becomes_a_dead_letter(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, mode: dict[str, str]
) -> None:
    """Two poisoned records among others; the program reads ahead, so who it is has to be found out."""
    incoming, outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("in", "out", "dead"))
    values = [b"%d" % number for number in range(200)]
    values[17], values[93] = b"poison 17", b"poison 93"
    kafka.produce(incoming, values, keys=[b"k"] * len(values), headers=[("trace", b"t1")])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(DIES_OF_POISON), env=mode | {"DEAD_LETTER_STREAM": dead})
    letters = kafka.read(dead, 2, 60)
    assert [letter.value for letter in letters] == [values[17], values[93]], "unchanged, and nothing else"
    for letter, offset in zip(letters, (b"17", b"93"), strict=True):
        headers = dict(letter.headers)
        assert letter.key == b"k"
        assert headers["trace"] == b"t1", "the record's own headers stay"
        assert headers["__connect.errors.topic"] == incoming.encode()
        assert headers["__connect.errors.partition"] == b"0"
        assert headers["__connect.errors.offset"] == offset
        assert headers["__connect.errors.exception.class.name"] == b"supervisor.CalculatorFailure"
        assert b"exit status 3" in (headers["__connect.errors.exception.message"] or b"")
    kafka.wait_committed(names.group, incoming, len(values))
    answers = [frame.value for frame in persistence(outgoing).read(198)]
    assert dict.fromkeys(answers) == {value.decode(): None for value in values if b"poison" not in value}, "in order"
    if "PROCESSING_GUARANTEE" in mode:
        assert len(answers) == 198, "each once"
    assert process.status()["outlet"]["dead_letters_delivered"] == 2
    assert process.terminate() == 0


def test_without_a_stream_poison_waits_and_nothing_is_lost(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, tmp_path: Path
) -> None:
    """The record is tried again alone, the check says which; a Calculator that can take it makes all go on."""
    incoming, outgoing = (kafka.create_topic(names.topic(role)) for role in ("in", "out"))
    mended = tmp_path / "mended"
    program = DIES_OF_POISON.replace("'poison' in line", f"'poison' in line and not os.path.exists({str(mended)!r})")
    kafka.produce(incoming, [b"1", b"poison", b"2"])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(program), env=FAST)
    process.wait_log("the record ends the Calculator: it is tried again alone, nothing behind it is written", offset=1)
    check = process.status()["checks"]["supervisor"]
    assert check["status"] == "critical"
    assert f"{incoming}, partition 0, offset 1" in check["output"]
    assert "DEAD_LETTER_STREAM" in check["output"]
    assert {frame.value for frame in persistence(outgoing).read(1)} == {"1"}
    mended.touch()
    kafka.wait_committed(names.group, incoming, 3)
    answers = dict.fromkeys(frame.value for frame in persistence(outgoing).read(3))
    assert list(answers) == ["1", "poison", "2"]
    process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "passing", "all is well")


def test_a_calculator_that_fails_at_its_start_accuses_no_record(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, tmp_path: Path
) -> None:
    """It ends before it reads: a crash loop, and no record is put aside."""
    incoming, outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("in", "out", "dead"))
    works = tmp_path / "works"
    program = f"import os, sys\nif not os.path.exists({str(works)!r}): sys.exit(4)\n" + DIES_OF_POISON
    kafka.produce(incoming, [b"1", b"2"])
    manager.route(incoming, outgoing)
    process = supervisor_process(python(program), env=FAST | {"DEAD_LETTER_STREAM": dead, "POISON_MAX_ATTEMPTS": "1"})
    process.wait_status(lambda status: status["restarts"] >= 6, "six restarts")
    works.touch()
    assert [frame.value for frame in persistence(outgoing).read(2)] == ["1", "2"]
    assert kafka.read(dead) == []


def test_a_dead_letter_stream_that_is_missing_holds_the_record(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Its offset is not committed before its letter is there; the Supervisor may be killed meanwhile."""
    incoming, outgoing = (kafka.create_topic(names.topic(role)) for role in ("in", "out"))
    dead = names.topic("dead")
    env = FAST | {
        "DEAD_LETTER_STREAM": dead,
        "ACK_MODE": "line",
        "KAFKA_OPTIONS": "topic.metadata.propagation.max.ms=500",
    }
    kafka.produce(incoming, [b"1", b"poison", b"2"])
    manager.route(incoming, outgoing)
    first = supervisor_process(python(DIES_OF_POISON), env=env)
    first.wait_log("the dead letter stream does not take a record; it waits, and all behind it")
    assert "'" + dead + "'" in first.status()["checks"]["supervisor"]["output"]
    persistence(outgoing).read(2)
    assert kafka.committed(names.group, incoming).get(0, 0) <= 1
    first.kill()
    second = supervisor_process(python(DIES_OF_POISON), env=env)
    second.wait_log("the dead letter stream does not take a record; it waits, and all behind it", 40)
    kafka.create_topic(dead)
    assert [letter.value for letter in kafka.read(dead, 1)] == [b"poison"]
    kafka.wait_committed(names.group, incoming, 3)
    assert second.terminate() == 0


def test_a_record_that_meets_kills_by_chance_is_not_put_aside(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Three kills from outside while the same record is first: it is tried alone, answered, and the flow goes on."""
    incoming, outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("in", "out", "dead"))
    program = (
        "import os, signal, sys\n"
        f"path = '/tmp/{names.node_id}'\n"
        "for line in sys.stdin:\n"
        "    with open(path, 'a') as kills: kills.write('x')\n"
        "    if os.path.getsize(path) <= 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    print(line, end='', flush=True)"
    )
    values = [b"%d" % number for number in range(50)]
    kafka.produce(incoming, values)
    manager.route(incoming, outgoing)
    process = supervisor_process(python(program), env=FAST | {"DEAD_LETTER_STREAM": dead, "ACK_MODE": "line"})
    process.wait_log("every record that was written alone was answered; the flow goes on")
    assert [frame.value for frame in persistence(outgoing).read(50)] == [value.decode() for value in values]
    Path(f"/tmp/{names.node_id}").unlink()
    kafka.wait_committed(names.group, incoming, 50)
    assert kafka.read(dead) == []


def test_a_suspicion_ends_with_its_topic(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, tmp_path: Path
) -> None:
    """A record of another topic has the same place: failures are not counted on from one to the other."""
    in1, in2, outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("in1", "in2", "out", "dead"))
    program = (
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        f"    path = {str(tmp_path)!r} + '/' + line.strip()\n"
        "    with open(path, 'a') as failures: failures.write('x')\n"
        "    if os.path.getsize(path) <= 2: os._exit(3)\n"
        "    if 'first' in line: time.sleep(600)\n"
        "    print(line, end='')"
    )
    kafka.produce(in1, [b"first"])
    kafka.produce(in2, [b"second"])
    manager.route(in1, outgoing)
    env = FAST | {"ACK_MODE": "line", "DEAD_LETTER_STREAM": dead, "SHUTDOWN_GRACEPERIOD": "1s"}
    process = supervisor_process(python(program), env=env)
    process.wait_status(lambda status: status["restarts"] >= 2, "two failures")
    process.wait_counter("inlet", "lines_written", 3)
    manager.route(in2, outgoing)
    assert [frame.value for frame in persistence(outgoing).read(1)] == ["second"]
    kafka.wait_committed(names.group, in2, 1)
    assert "a record may be what ends the Calculator" not in process.log_text()
    assert kafka.read(dead) == []
