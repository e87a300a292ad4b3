"""The main job around a Supervisor that a user installed: register, adopt, every record through, a crash, a stop."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.peers import Manager, Persistence
from tests.services.processes import children, until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

RECORDS = 2_000


class Measured(NamedTuple):
    """Seconds from the start of the process to its service in Consul, and its proportional set size after the job."""

    start_s: float
    pss_bytes: int


def pss_bytes(pid: int) -> int:
    """Proportional set size: memory that is shared counts in parts."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise KeyError(pid)


def wait_registered(consul: Consul, node_id: str, deadline_s: float = 20.0) -> float:
    """Wait until the service is at the agent; the monotonic time when it was seen."""
    end = time.monotonic() + deadline_s
    while not any(service["Service"].endswith(node_id) for service in consul.services().values()):
        assert time.monotonic() < end, f"{node_id} did not register within {deadline_s} s"
        time.sleep(0.002)
    return time.monotonic()


def do_main_job(process: Supervised, kafka: Kafka, consul: Consul, names: Names, deadline_s: float = 30.0) -> Measured:
    """Start ``process`` and see it do all that it is for, with a Calculator that echoes."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 2), kafka.create_topic(names.topic("out"))
    manager = Manager(consul, names.node_id)
    began_s = time.monotonic()
    process.start()
    try:
        start_s = wait_registered(consul, names.node_id, deadline_s) - began_s
        manager.route(incoming, outgoing)
        manager.wait_adopted(deadline_s=deadline_s)
        process.wait_ready(deadline_s)
        values = [b"%d \xd1\x8d\xd1\x82\xd0\xbe" % number for number in range(RECORDS)]
        kafka.produce(incoming, values[: RECORDS // 2])
        until(lambda: sum(kafka.end_offsets(outgoing).values()) > RECORDS // 10, "records come out", deadline_s)
        (calculator,) = children(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(calculator, signal.SIGKILL)
        process.wait_status(lambda status: status["restarts"] >= 1, "the Calculator was restarted", deadline_s)
        kafka.produce(incoming, values[RECORDS // 2 :])
        kafka.wait_committed(names.group, incoming, RECORDS, deadline_s)
        frames = Persistence(kafka, outgoing).read(sum(kafka.end_offsets(outgoing).values()), deadline_s=deadline_s)
        assert {frame.value for frame in frames} == {value.decode() for value in values}
        assert {frame.wsp for frame in frames} == {names.node_id}
        checks = {
            check["CheckID"].rpartition(":")[2]: check["Status"] for check in consul.checks(f"bdz-wsp-{names.node_id}")
        }
        assert checks.keys() >= {"supervisor", "calculator"}
        memory_bytes = pss_bytes(process.pid)
        assert process.terminate(deadline_s) == 0
    finally:
        manager.decommission()
    until(lambda: not consul.checks(f"bdz-wsp-{names.node_id}"), "nothing is left in Consul")
    return Measured(start_s, memory_bytes)
