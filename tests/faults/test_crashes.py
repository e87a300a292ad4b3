"""What the fault machine does not do: other programs as Calculators, and what is said while a peer is away."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.broker import Cluster
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

SLOWLY = (
    "import sys, time\nfor i, line in enumerate(sys.stdin):\n    print(line, end='')\n    i % 500 or time.sleep(0.01)"
)
PROGRAMS = {
    "cat": ("cat",),
    "python": ("python3", "-u", "-c", SLOWLY),
    "sed": ("sed", "-u", "s/x/y/"),
    "shell": ("sh", "-c", 'while read -r line; do echo "$line"; done'),
}


def numbers(values: list[str]) -> Counter[int]:
    """Count how often each numbered record came out."""
    return Counter(int(value.split()[0]) for value in values)


@pytest.mark.parametrize("program", PROGRAMS)
def test_killing_the_calculator_loses_nothing(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, program: str
) -> None:
    """SIGKILL at random moments: every record comes out, at most the window twice."""
    records, kills = 60_000, 6
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"), 2)
    manager.route(incoming, outgoing)
    process = supervisor_process(PROGRAMS[program], env={"RESTART_BACKOFF_MAX": "200ms"})
    process.wait_ready()
    chance = random.Random()
    for share in range(kills):
        first = share * records // kills
        kafka.produce(incoming, (b"%d some text" % n for n in range(first, first + records // kills)))
        time.sleep(chance.random() * 0.3)
        pid = process.status()["calculator_pid"]
        if pid:
            os.kill(pid, signal.SIGKILL)
            process.wait_log("calculator ended", pid=pid)
    kafka.wait_committed(names.group, incoming, records, deadline_s=60)
    seen = numbers([frame.value for frame in persistence(outgoing).read(records)])
    assert [n for n in range(records) if n not in seen] == []
    doubled = sum(seen.values()) - len(seen)
    assert doubled <= process.status()["inlet"]["replayed"]


def test_the_broker_may_go_and_come_back(
    consul: Consul, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """The Calculator keeps running while the broker is away, the check says so, and the flow resumes by itself."""
    with Cluster() as cluster:
        kafka = Kafka(cluster.bootstrap)
        incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
        manager.route(incoming, outgoing)
        process = supervisor_process(("cat",), kafka=kafka)
        kafka.produce(incoming, (b"%d before" % n for n in range(1000)))
        kafka.wait_committed(names.group, incoming, 1000)
        pid = process.status()["calculator_pid"]
        cluster.kill()
        end = time.monotonic() + 20
        while process.status()["checks"]["supervisor"]["status"] == "passing":
            assert time.monotonic() < end, "no check tells that the broker is away"
            time.sleep(0.1)
        assert process.http("/health/ready")[0] == 503
        cluster.restart()
        kafka.produce(incoming, (b"%d after" % n for n in range(1000, 2000)))
        kafka.wait_committed(names.group, incoming, 2000, deadline_s=40)
        seen = numbers([frame.value for frame in Persistence(kafka, outgoing).read(2000)])
        assert len(seen) == 2000
        assert process.status()["calculator_pid"] == pid
        process.wait_ready()
        assert process.terminate() == 0


def test_the_agent_may_be_away(kafka: Kafka, names: Names, supervisor_process: Start) -> None:
    """Without an agent the Calculator runs, health tells why there is no route, and a stop is still in order."""
    nobody = Consul("http://127.0.0.1:9")
    process = supervisor_process(("cat",), kafka=kafka, consul=nobody)
    process.wait_log("calculator running")
    end = time.monotonic() + 10
    while process.status()["agent_error"] is None:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert process.http("/health/ready")[0] == 503
    assert process.http("/health/live")[0] == 200
    assert process.terminate() == 0
