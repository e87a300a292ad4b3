"""A Supervisor that is stopped for a while, as by a debugger or a busy host, accuses nobody when it goes on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

ROUNDS = 5


def test_lines_printed_meanwhile_are_not_missed(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Callable[[str], Persistence],
    supervisor_process: Callable[..., Supervised],
    tmp_path: Path,
) -> None:
    """ACK_MODE=line: the Calculator answers and waits for more while nobody reads its STDOUT, for over ACK_IDLE."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    program = (
        "import pathlib, sys, time\n"
        "for line in sys.stdin:\n"
        f"    flag = pathlib.Path({str(tmp_path)!r}, line.strip())\n"
        "    while not flag.exists(): time.sleep(0.01)\n"
        "    print(line, end='', flush=True)\n"
        "    flag.unlink()"
    )
    manager.route(incoming, outgoing)
    env = {"ACK_MODE": "line", "ACK_IDLE": "200ms"}
    process = supervisor_process(("python3", "-u", "-c", program), env=env)
    for number in range(ROUNDS):
        kafka.produce(incoming, [b"%d" % number])
        process.wait_counter("inlet", "lines_written", number + 1)
        process.send(signal.SIGSTOP)
        flag = tmp_path / str(number)
        flag.touch()
        while flag.exists():
            time.sleep(0.01)
        time.sleep(0.4)  # the time is what is tested: twice ACK_IDLE
        process.send(signal.SIGCONT)
        kafka.wait_committed(names.group, incoming, number + 1)
    assert process.status()["inlet"]["protocol_violations"] == 0
    assert [frame.value for frame in persistence(outgoing).read(ROUNDS)] == [str(number) for number in range(ROUNDS)]
