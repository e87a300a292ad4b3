"""Little of a processor, and a Calculator that wants all of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.cpu_quota import CpuQuota
from tests.services.peers import Manager
from tests.services.processes import until
from tests.services.programs import python
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]

BUSY = """
import sys, threading
def spin():
    while True: pass
for _ in range(2): threading.Thread(target=spin, daemon=True).start()
for line in sys.stdin: print(line, end="", flush=True)
"""
WATCHED_S = 25


def test_checks_pass_and_probes_are_answered_with_a_twentieth_of_a_processor(
    kafka: Kafka, consul: Consul, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """The Calculator's threads take what they get of the container's share."""
    quota = CpuQuota(5)
    if not quota.available:
        pytest.skip("this machine lets nobody make a control group with a CPU quota")
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(python(BUSY), env={"ACK_MODE": "line"})
    process.wait_ready()

    def checks() -> set[str]:
        return {check["Status"] for check in consul.checks(f"bdz-wsp-{names.node_id}")}

    until(lambda: checks() == {"passing"}, "the catalogue has the first reports")
    slowest_s, looks = 0.0, 0
    with quota:
        quota.hold([process.pid, process.status()["calculator_pid"]])
        end = time.monotonic() + WATCHED_S
        while time.monotonic() < end:
            kafka.produce(incoming, [b"%d" % looks])
            began = time.monotonic()
            status, _ = process.http("/health/live")
            slowest_s = max(slowest_s, time.monotonic() - began)
            assert status == 200
            told = consul.checks(f"bdz-wsp-{names.node_id}")
            assert {check["Status"] for check in told} == {"passing"}, [check["Output"] for check in told]
            looks += 1
            time.sleep(0.5)
    assert slowest_s < 5
    assert looks > 5
    kafka.wait_committed(names.group, incoming, looks, deadline_s=60)
