"""A record that takes the Supervisor along: the kernel ends every process of a pod, and nobody is left to count."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.services.mock import MockProcess
from tests.services.peers import Manager, Persistence
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

OFFSET_COMMIT = 8
OFFSET_METADATA_TOO_LARGE = 12
# A static member that comes back is given its partitions at once, not when the session of the one before is over.
FAST = {"KAFKA_OPTIONS": "group.instance.id=one", "ADOPTION_GRACEPERIOD": "1s", "ACK_IDLE": "200ms"}
MODES = {
    "demand": FAST | {"ACK_MODE": "demand"},
    "line": FAST | {"ACK_MODE": "line"},
    "marker": FAST | {"ACK_MODE": "marker"},
    "exactly-once-line": FAST | {"ACK_MODE": "line", "PROCESSING_GUARANTEE": "exactly-once"},
    "exactly-once-marker": FAST | {"ACK_MODE": "marker", "PROCESSING_GUARANTEE": "exactly-once"},
}
END_BOTH = "os.kill(os.getppid(), signal.SIGKILL), os.kill(os.getpid(), signal.SIGKILL)"
TAKES_ALL_ALONG = (
    "import os, signal, sys\n"
    "for line in sys.stdin:\n"
    f"    if 'poison' in line: {END_BOTH}\n"
    "    sys.stdout.write(line); sys.stdout.flush()\n"
)


def ends_until(start: Callable[[], Supervised], ends: int) -> None:
    """So many Supervisors end by the record, each after the one before."""
    for _ in range(ends):
        assert start().wait(40) == -signal.SIGKILL


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", [0, 17])
def test_poison_becomes_a_dead_letter_after_the_promised_number_of_starts(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: str, place: int
) -> None:
    """As many as for a Calculator that ends alone: POISON_MAX_ATTEMPTS and one more; the rest is delivered."""
    incoming = kafka.create_topic(names.topic("in"), 3)
    outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("out", "dead"))
    for partition in range(3):
        values = [b"%d-%d" % (partition, number) for number in range(60)]
        if partition == 1:
            values[place] = b"poison"
        kafka.produce(incoming, values, partition=partition)
    manager.route(incoming, outgoing)
    env = MODES[mode] | {"DEAD_LETTER_STREAM": dead, "POISON_MAX_ATTEMPTS": "2"}
    ends_until(lambda: supervisor_process(python(TAKES_ALL_ALONG), env=env), 3)
    assert kafka.read(dead) == []
    last = supervisor_process(python(TAKES_ALL_ALONG), env=env)
    letter = kafka.read(dead, 1, 40)[0]
    assert letter.value == b"poison"
    headers = dict(letter.headers)
    assert headers["__connect.errors.partition"] == b"1"
    assert headers["__connect.errors.offset"] == b"%d" % place
    assert headers["__connect.errors.exception.class.name"] == b"supervisor.CalculatorFailure"
    kafka.wait_committed(names.group, incoming, 180, deadline_s=30)
    answers = Counter(frame.value for frame in persistence(outgoing).read(179, deadline_s=40))
    assert set(answers) == {f"{p}-{n}" for p in range(3) for n in range(60)} - {f"1-{place}"}
    if "exactly" in mode:
        assert max(answers.values()) == 1
    assert last.exit_status is None
    assert last.terminate() == 0
    assert kafka.read(dead) == [letter]


@pytest.mark.parametrize("mode", ["line", "demand", "exactly-once-line"])
def test_kills_by_chance_put_no_record_aside(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    mode: str,
    tmp_path: Path,
) -> None:
    """Each kill hits another record, soon after the start, before anything is committed or while it is alone."""
    incoming, outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("in", "out", "dead"))
    starts = tmp_path / "starts"
    program = (
        "import os, signal, sys\n"
        f"with open({str(starts)!r}, 'a') as file: file.write('x')\n"
        f"start = os.path.getsize({str(starts)!r})\n"
        "for line in sys.stdin:\n"
        f"    if start <= 6 and int(line) == 3 * start + 5: {END_BOTH}\n"
        "    sys.stdout.write(line); sys.stdout.flush()\n"
    )
    kafka.produce(incoming, [b"%d" % number for number in range(60)])
    manager.route(incoming, outgoing)
    env = MODES[mode] | {"DEAD_LETTER_STREAM": dead, "POISON_MAX_ATTEMPTS": "2"}
    ends_until(lambda: supervisor_process(python(program), env=env), 6)
    last = supervisor_process(python(program), env=env)
    kafka.wait_committed(names.group, incoming, 60, deadline_s=40)
    assert {frame.value for frame in persistence(outgoing).read(60, deadline_s=40)} == {str(n) for n in range(60)}
    assert kafka.read(dead) == []
    assert last.terminate() == 0
    assert kafka.committed_metadata(names.group, incoming) == {0: ""}


def test_without_a_dead_letter_stream_the_check_says_so(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, tmp_path: Path
) -> None:
    """It is tried alone each time, and may take long; a Calculator that can take it makes all go on."""
    incoming, outgoing = (kafka.create_topic(names.topic(role)) for role in ("in", "out"))
    lasts, mended = tmp_path / "lasts", tmp_path / "mended"
    program = (
        "import os, signal, sys, time\n"
        "for line in sys.stdin:\n"
        "    if 'poison' in line:\n"
        f"        if not os.path.exists({str(lasts)!r}): time.sleep(1.5), {END_BOTH}\n"
        f"        while not os.path.exists({str(mended)!r}): time.sleep(0.05)\n"
        "    sys.stdout.write(line); sys.stdout.flush()\n"
    )
    kafka.produce(incoming, [b"1", b"poison", b"2"])
    manager.route(incoming, outgoing)
    env = MODES["line"] | {"POISON_MAX_ATTEMPTS": "1"}
    ends_until(lambda: supervisor_process(python(program), env=env), 4)
    lasts.touch()
    process = supervisor_process(python(program), env=env)
    process.wait_status(
        lambda status: f"{incoming}, partition 0, offset 1" in status["checks"]["supervisor"]["output"],
        "it is named",
        40,
    )
    check = process.status()["checks"]["supervisor"]
    assert check["status"] == "critical"
    assert "DEAD_LETTER_STREAM" in check["output"]
    mended.touch()
    kafka.wait_committed(names.group, incoming, 3)
    process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "passing", "all is well")
    assert {frame.value for frame in persistence(outgoing).read(3)} == {"1", "poison", "2"}


SLEEPS = "import sys, time\nfor line in sys.stdin: time.sleep(600)"


@pytest.mark.parametrize("mode", ["line", "exactly-once-line"])
def test_an_orderly_stop_clears_what_is_noted(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, mode: str
) -> None:
    """The offset stays as it is; so does that of a partition without a record."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(10)], partition=0)
    kafka.commit(names.group, incoming, {0: 4})
    manager.route(incoming, outgoing)
    env = MODES[mode] | {"SHUTDOWN_GRACEPERIOD": "1s"}
    for _ in range(2):
        process = supervisor_process(python(SLEEPS), env=env)
        process.wait_counter("inlet", "lines_written", 1)
        assert kafka.committed_metadata(names.group, incoming) == {0: "supervisor-attempts 1 4 1"}, (
            "before it was written"
        )
        assert process.terminate() == 0
        assert kafka.committed_metadata(names.group, incoming) == {0: ""}
        assert kafka.committed(names.group, incoming) == {0: 4}


@pytest.mark.parametrize("mode", ["line", "exactly-once-line"])
def test_a_rebalance_counts_nothing(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, mode: str
) -> None:
    """The partition that goes to another instance has the attempts of those before us; the one that stays has ours."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    for partition in range(2):
        kafka.produce(incoming, [b"x"], partition=partition)
    manager.route(incoming, outgoing)
    env = MODES[mode] | {"KAFKA_OPTIONS": "", "ACK_IDLE": "1s", "SHUTDOWN_GRACEPERIOD": "1s"}
    process = supervisor_process(python(SLEEPS), env=env)
    noted = "supervisor-attempts 1 0 1"
    process.wait_counter("inlet", "lines_written", 2)
    kafka.wait_metadata(names.group, incoming, [noted, noted])
    with kafka.another_member(names.group, incoming):
        kafka.wait_shares(names.group, 1, 1)
        kafka.wait_metadata(names.group, incoming, ["", noted])
    assert kafka.committed(names.group, incoming) == {0: 0, 1: 0}


# Takes every line, and is never done with one.
TAKES_AND_SLEEPS = (
    "import sys, threading, time\n"
    "threading.Thread(target=lambda: [line for line in sys.stdin], daemon=True).start()\n"
    "time.sleep(1000)\n"
)


def test_a_membership_that_was_lost_counts_nothing(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """A frozen instance is thrown out of the group, and back in it gets the record that it had not done."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"x"])
    manager.route(incoming, outgoing)
    env = {"ACK_MODE": "line", "KAFKA_OPTIONS": "session.timeout.ms=6000", "SHUTDOWN_GRACEPERIOD": "1s"}
    process = supervisor_process(python(TAKES_AND_SLEEPS), env=env)
    for written in (1, 2, 3):
        process.wait_counter("inlet", "lines_written", written, 30)
        assert kafka.committed_metadata(names.group, incoming) == {0: "supervisor-attempts 1 0 1"}
        if written < 3:
            process.send(signal.SIGSTOP)
            kafka.wait_shares(names.group)
            process.send(signal.SIGCONT)
    assert "is written alone now" not in process.log_text()
    assert process.terminate() == 0


def test_a_note_passes_over_no_record_whose_dead_letter_is_not_there(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """The record that has no line is the one to go on at, should the Supervisor end now."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"a\nb", b"1"])
    manager.route(incoming, outgoing)
    env = MODES["line"] | {"INPUT_NEWLINES": "reject", "DEAD_LETTER_STREAM": names.topic("never")}
    process = supervisor_process(python(SLEEPS), env=env | {"SHUTDOWN_GRACEPERIOD": "1s"})
    process.wait_counter("inlet", "lines_written", 1)
    assert kafka.committed_metadata(names.group, incoming) == {0: "supervisor-attempts 1 1 1"}
    assert kafka.committed(names.group, incoming) == {0: 0}
    process.kill()


def test_a_note_takes_no_offset_back(kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start) -> None:
    """The first record that has a line comes when another one before it is acknowledged."""
    incoming, outgoing, dead = (kafka.create_topic(names.topic(role)) for role in ("in", "out", "dead"))
    kafka.produce(incoming, [b"a\nb"])
    kafka.commit(names.group, incoming, {0: 0})
    manager.route(incoming, outgoing)
    env = MODES["line"] | {"INPUT_NEWLINES": "reject", "DEAD_LETTER_STREAM": dead, "SHUTDOWN_GRACEPERIOD": "1s"}
    process = supervisor_process(python(SLEEPS), env=env)
    kafka.wait_committed(names.group, incoming, 1)
    kafka.produce(incoming, [b"1"])
    process.wait_counter("inlet", "lines_written", 1)
    assert kafka.committed_metadata(names.group, incoming) == {0: "supervisor-attempts 1 1 1"}
    assert kafka.committed(names.group, incoming) == {0: 1}
    assert process.terminate() == 0
    assert kafka.committed(names.group, incoming) == {0: 1}


@pytest.mark.parametrize("careful", [False, True])
def test_notes_go_by_what_is_acknowledged_though_the_log_was_cut_off(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, *, careful: bool
) -> None:
    """The committed offset lies behind the log's end, so it is read from its start: what is committed goes back."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(10)])
    kafka.commit(names.group, incoming, {0: 100})
    manager.route(incoming, outgoing)
    env = MODES["line"] | {"KAFKA_AUTO_OFFSET_RESET": "earliest", "SHUTDOWN_GRACEPERIOD": "1s"}
    if careful:
        before = supervisor_process(python(SLEEPS), env=env)
        before.wait_counter("inlet", "lines_written", 1)
        assert kafka.committed(names.group, incoming) == {0: 100}
        before.kill()
    answers = (
        "import sys, time\n"
        "for line in sys.stdin:\n"
        "    if line == '5\\n': time.sleep(600)\n"
        "    print(line, end='', flush=True)\n"
    )
    process = supervisor_process(python(answers), env=env)
    process.wait_counter("inlet", "lines_written", 6)
    kafka.wait_metadata(names.group, incoming, ["supervisor-attempts 1 5 2" if careful else ""])
    assert kafka.committed(names.group, incoming) == {0: 5}
    assert process.terminate() == 0
    assert kafka.committed(names.group, incoming) == {0: 5}
    assert kafka.committed_metadata(names.group, incoming) == {0: ""}


def test_what_another_program_wrote_there_is_nothing(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Nor is a note of attempts at a record that is not the first."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 3), kafka.create_topic(names.topic("out"))
    dead = kafka.create_topic(names.topic("dead"))
    for partition in range(3):
        kafka.produce(incoming, [b"%d" % number for number in range(10)], partition=partition)
    kafka.commit(
        names.group, incoming, {0: 1, 1: 1, 2: 1}, ["of others", "supervisor-attempts 1 5 9", "\N{SNOWMAN}" * 1000]
    )
    manager.route(incoming, outgoing)
    process = supervisor_process(("cat",), env=FAST | {"DEAD_LETTER_STREAM": dead})
    kafka.wait_committed(names.group, incoming, 30)
    assert len(persistence(outgoing).read(27)) == 27
    assert "is written alone now" not in process.log_text()
    assert kafka.read(dead) == []


def test_a_note_that_is_refused_does_not_stop_the_flow(
    names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """A broker with a small offset.metadata.max.bytes: nothing is counted then, and that is said once."""
    manager.route("in", "out")
    with MockProcess("in", "out") as mock:
        kafka = Kafka(mock.bootstrap_servers)
        kafka.produce("in", [b"%d" % number for number in range(200)])
        mock.answer_with(OFFSET_COMMIT, *[OFFSET_METADATA_TOO_LARGE] * 15)
        process = supervisor_process(("cat",), kafka=kafka)
        process.wait_counter("outlet", "lines_delivered", 200)
        what = "attempts at the first record of a partition cannot be noted with its offset: "
        process.wait_log("librdkafka", line=what + "Broker: Offset metadata string too large")
        told = [line for line in process.events if "cannot be noted with its offset" in line.get("line", "")]
        assert len(told) == 1
        process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "passing", "it passes")
