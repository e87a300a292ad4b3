"""exactly-once: a dead letter and the offset of its record are committed together, whatever ends in between.

Those who read committed records only see each letter once. A letter is held under way by a stream that is missing.
"""

from __future__ import annotations

import os
import signal
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

REJECTING = {
    "PROCESSING_GUARANTEE": "exactly-once",
    "INPUT_NEWLINES": "reject",
    "KAFKA_OPTIONS": (
        "heartbeat.interval.ms=500,topic.metadata.refresh.interval.ms=300,topic.metadata.propagation.max.ms=60000"
    ),
}

MARKER = REJECTING | {"ACK_MODE": "marker"}
MUTE = ("sh", "-c", "exec cat > /dev/null")
"""A Calculator that closes its STDOUT: the end of its run waits for no transaction."""


def end_a_run(process: Supervised) -> None:
    """Kill the Calculator, when there is one."""
    process.wait_status(lambda status: status["calculator_pid"] is not None, "a Calculator")
    pid = process.status()["calculator_pid"]
    os.kill(pid, signal.SIGKILL)
    process.wait_log("calculator ended", pid=pid)


def wait_under_way(process: Supervised, letters: int) -> None:
    """Wait until so many letters are with the producer."""
    process.wait_status(
        lambda status: status["outlet"].get("dead_letters_waiting") == letters == status["inlet"].get("dead_in_flight"),
        f"{letters} letters are under way",
        20,
    )


def test_a_letter_that_outlives_its_run_is_committed_with_the_offset(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """`marker`: what was not echoed when the Calculator died is taken back, a record whose letter is on its way too."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    dead = names.topic("dead")
    manager.route(incoming, outgoing)
    process = supervisor_process(MUTE, env=MARKER | {"DEAD_LETTER_STREAM": dead})
    process.wait_ready()
    for _ in range(3):  # so that the next start but one is 3 s away
        end_a_run(process)
    kafka.produce(incoming, [b"a\nb"])
    wait_under_way(process, 1)
    end_a_run(process)
    kafka.create_topic(dead)
    assert [letter.value for letter in kafka.read(dead, 1)] == [b"a\nb"]
    kafka.wait_committed(names.group, incoming, 1, deadline_s=2)
    assert process.status()["calculator_pid"] is None, "no other run has passed the record"


@pytest.mark.parametrize("first_comes", ["the end of the run", "the other member"])
def test_a_letter_under_way_keeps_its_partition(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start, *, first_comes: str
) -> None:
    """It is asked back, and the Calculator dies: it is given up when letter and offset are committed, not before."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    dead = names.topic("dead")
    manager.route(incoming, outgoing)
    env = MARKER | {"DEAD_LETTER_STREAM": dead, "ADOPTION_GRACEPERIOD": "30s", "LOG_LEVEL": "debug"}
    process = supervisor_process(MUTE, env=env)
    process.wait_ready()
    for _ in range(3):
        end_a_run(process)
    for partition in (0, 1):
        kafka.produce(incoming, [b"%d\nb" % partition], partition=partition)
    wait_under_way(process, 2)
    if first_comes == "the end of the run":
        end_a_run(process)
    with kafka.another_member(names.group, incoming):
        kafka.wait_shares(names.group, 0, 1)
        if first_comes == "the other member":
            rounds = process.status()["inlet"]["rounds"]
            process.wait_counter("inlet", "rounds", rounds + 2)  # so that it has been asked
            end_a_run(process)
        kafka.create_topic(dead)
        assert len(kafka.read(dead, 2)) == 2
        kafka.wait_committed(names.group, incoming, 2, deadline_s=2)
        process.wait_log("partitions given up")


@pytest.mark.parametrize("ack_mode", ["line", "marker"])
def test_each_letter_comes_once_though_everything_comes_and_goes(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, ack_mode: str
) -> None:
    """Rejected values and poison in full flow: the Calculator is killed, a replica comes, the first one goes."""
    incoming, outgoing, dead = (
        kafka.create_topic(names.topic(role), partitions) for role, partitions in (("in", 4), ("out", 1), ("dead", 1))
    )
    values = [b"%d\nb" % n if n % 50 == 7 else b"%d" % n for n in range(2600)]
    values[900] = b"900 poison"
    kafka.produce(incoming, values[:1300])
    manager.route(incoming, outgoing)
    program = (
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        "    if 'poison' in line: os._exit(3)\n"
        "    print(line, end='', flush=True); time.sleep(0.0003)"
    )
    env = REJECTING | {"ACK_MODE": ack_mode, "DEAD_LETTER_STREAM": dead, "RESTART_BACKOFF_MAX": "100ms"}
    first = supervisor_process(python(program), env=env)
    for letters in (4, 9, 15):
        first.wait_counter("outlet", "dead_letters_delivered", letters, 30)
        pid = first.status()["calculator_pid"]
        if pid:
            os.kill(pid, signal.SIGKILL)
    second = supervisor_process(python(program), env=env)
    kafka.wait_shares(names.group, 2, 2)
    kafka.produce(incoming, values[1300:])
    second.wait_counter("outlet", "dead_letters_delivered", 1, 30)
    assert first.terminate(30) == 0
    kafka.wait_committed(names.group, incoming, len(values), deadline_s=60)
    kafka.wait_stable(outgoing)
    kafka.wait_stable(dead)
    put_aside = [value for value in values if b"\n" in value or b"poison" in value]
    assert sorted(letter.value or b"" for letter in kafka.read(dead)) == sorted(put_aside)
    lines = [frame.value for frame in persistence(outgoing).read()]
    assert sorted(lines) == sorted(value.decode() for value in values if value not in put_aside)


def test_a_record_that_is_begun_when_its_partition_goes_is_committed_once(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, *, tmp_path: Path
) -> None:
    """STDIN is full, so one is begun at any moment: it is finished and answered, and that counts."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    slowly = tmp_path / "slowly"
    slowly.touch()
    program = (
        "import os, sys, time\n"
        "for line in sys.stdin:\n"
        "    print(line.split()[0], flush=True)\n"
        f"    if os.path.exists({str(slowly)!r}): time.sleep(0.03)"
    )
    kafka.produce(incoming, (b"%d " % number + b"x" * 60_000 for number in range(600)))
    manager.route(incoming, outgoing)
    env = {
        "PROCESSING_GUARANTEE": "exactly-once",
        "ACK_MODE": "line",
        "KAFKA_OPTIONS": "heartbeat.interval.ms=500",
        "LOG_LEVEL": "debug",
    }
    command = python(program)
    first = supervisor_process(command, env=env)
    first.wait_status(lambda status: status["inlet"].get("stdin_full", False), "STDIN is full")
    for times in (1, 2, 3):
        second = supervisor_process(command, env=env)
        first.wait_log("partitions given up", count=times)
        second.wait_counter("inlet", "assigned_partitions", 1)
        if times < 3:
            assert second.terminate() == 0
            first.wait_counter("inlet", "assigned_partitions", 2)  # or the next one may get what this one leaves
    slowly.unlink()
    kafka.wait_committed(names.group, incoming, 600, deadline_s=40)
    assert sorted(int(frame.value) for frame in persistence(outgoing).read()) == list(range(600))
