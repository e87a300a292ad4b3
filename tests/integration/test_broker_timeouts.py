"""Exactly-once, when a transaction outlives its time: the broker aborts it, or does not answer for longer than that."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.kafka import TRANSACTION_TIMEOUT_MS
from tests.conftest import Names
from tests.services.broker import Cluster
from tests.services.flow import Flow
from tests.services.peers import Manager
from tests.services.supervised import Supervised

Start = Callable[..., Supervised]
ABORTED = "transaction aborted; its records will be written again"
EXACTLY_ONCE = {"PROCESSING_GUARANTEE": "exactly-once", "RESTART_BACKOFF_MAX": "200ms"}

# Prints what it gets, and echoes no marker line before the file is there; the first hundred records do not wait for it.
HOLDS_MARKERS = """
import os, sys, time
records = 0
for line in sys.stdin:
    marker = line.startswith("\\x1e")
    records += not marker
    if marker and records < 100 and not os.path.exists(sys.argv[1]): continue
    while marker and not os.path.exists(sys.argv[1]): time.sleep(0.01)
    print(line, end="", flush=True)
"""
SLOWLY = """
import sys, time
for number, line in enumerate(sys.stdin):
    print(line, end="", flush=True)
    number % 300 or time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A broker that may be frozen."""
    with Cluster() as cluster:
        yield cluster


@pytest.mark.parametrize("who", ["somebody", "the broker"])
def test_an_open_transaction_is_aborted_from_outside(  # noqa: PLR0917 - fixtures
    cluster: Cluster, names: Names, manager: Manager, supervisor_process: Start, tmp_path: Path, who: str
) -> None:
    """Its lines are delivered by then, and the Calculator is in the middle; every record is there once in the end."""
    kafka = cluster.admin
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    gate = tmp_path / "gate"
    command = ("python3", "-u", "-c", HOLDS_MARKERS, str(gate))
    process = supervisor_process(command, kafka=kafka, env=EXACTLY_ONCE | {"ACK_MODE": "marker"})
    flow = Flow(kafka, process, names.group, incoming, outgoing)
    flow.send(100)
    flow.flows(100)
    assert process.status()["outlet"]["transaction_open"]
    if who == "somebody":
        kafka.fence(kafka.transactional_ids(names.node_id).pop())
    kafka.wait_stable(outgoing)  # aborted: no transaction is open
    assert not kafka.read(outgoing)
    assert kafka.committed(names.group, incoming) == {0: 0}, "nothing but where it stood"
    assert process.status()["outlet"]["transaction_open"], "the Supervisor has heard nothing of it"
    gate.touch()
    said = process.wait_log(ABORTED)
    assert "fenced" in said["why"]
    flow.send(100)
    flow.arrived(once=True, same_calculator=False)
    flow.in_order()
    status = process.status()
    assert (status["outlet"]["clients_renewed"], status["restarts"]) == (1, 1)


def test_a_broker_frozen_for_longer_than_a_transaction(
    cluster: Cluster, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """In full flow: said, aborted, gone on with by itself; each record once, and one restart for each abort."""
    kafka = cluster.admin
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    command = ("python3", "-u", "-c", SLOWLY)
    process = supervisor_process(command, kafka=kafka, env=EXACTLY_ONCE | {"ACK_MODE": "line"})
    flow = Flow(kafka, process, names.group, incoming, outgoing)
    flow.send(60_000)
    flow.flows(1000)
    cluster.freeze()
    try:
        began_s = time.monotonic()
        print(flow.trouble("outgoing stream"))
        time.sleep(max(0.0, began_s + TRANSACTION_TIMEOUT_MS / 1000 + 1 - time.monotonic()))  # what is tested
    finally:
        cluster.thaw()
    flow.arrived(once=True, same_calculator=False, deadline_s=60)
    flow.in_order()
    status = process.status()
    aborts = [line for line in process.events if line["event"] == ABORTED]
    assert status["restarts"] <= len(aborts)
    assert process.terminate() == 0
