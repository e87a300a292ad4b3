"""CALCULATOR_TIMEOUT: a Calculator that hangs is restarted, one that has nothing to do is not."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]


@pytest.mark.parametrize("mode", ["demand", "line", "marker"])
def test_a_hang_is_said_and_ended_and_nothing_is_lost(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: str
) -> None:
    """At the seventh line, once; its record and those behind it are written again."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = (
        "import os, sys, time\n"
        f"mark = '/tmp/{names.node_id}'\n"
        "for line in sys.stdin:\n"
        "    if line == '7\\n' and not os.path.exists(mark): open(mark, 'w').close(); time.sleep(1000)\n"
        "    print(line, end='', flush=True)"
    )
    kafka.produce(incoming, [b"%d" % number for number in range(10)])
    manager.route(incoming, outgoing)
    process = supervisor_process(("python3", "-c", program), env={"ACK_MODE": mode, "CALCULATOR_TIMEOUT": "1s"})
    said = process.wait_log("the Calculator hangs: it has records to answer and neither reads nor prints")
    assert said["unanswered"] > 0
    assert process.wait_log("calculator ended", status="killed by SIGKILL")
    kafka.wait_committed(names.group, incoming, 10)
    assert {frame.value for frame in persistence(outgoing).read(10)} == {str(number) for number in range(10)}


def test_an_idle_or_paused_or_busy_calculator_does_not_hang(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Nothing to do, work that prints now and then, a paused stream: all longer than the timeout."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    program = (
        "import sys, time\n"
        "for line in sys.stdin:\n"
        "    for part in range(6): print(line.strip(), part, flush=True); time.sleep(0.5)"
    )
    process = supervisor_process(("python3", "-c", program), env={"CALCULATOR_TIMEOUT": "1500ms"})
    process.wait_ready()
    pid = process.status()["calculator_pid"]
    kafka.produce(incoming, [b"a", b"b"])
    assert len(persistence(outgoing).read(3)) == 3
    manager.route(incoming, outgoing, paused=True)
    manager.wait_adopted()
    time.sleep(4)  # what is tested: nothing happens
    manager.route(incoming, outgoing)
    kafka.wait_committed(names.group, incoming, 2)
    time.sleep(2)  # likewise
    assert len(persistence(outgoing).read(12)) == 12
    assert process.status()["calculator_pid"] == pid
