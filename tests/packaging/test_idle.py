"""How soon it is there, and what it takes while nothing happens."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.packaging import table
from tests.packaging.job import pss_bytes, wait_registered
from tests.services.agent import Consul
from tests.services.peers import Manager
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

pytestmark = pytest.mark.full

_START_S = 0.5
_STARTS = 5
_STARTS_AT_MOST = 25  # other work on the machine makes a start longer, never shorter
_IDLE_S = 60.0
_PSS_BYTES = 45 << 20


def test_it_starts_soon_and_is_small(
    in_root: Callable[..., Supervised], kafka: Kafka, consul: Consul, names: Names
) -> None:
    """Registered within 0.5 s, the best of several; 45 MiB at most a minute later, with a route in force."""
    starts_s: list[float] = []
    while len(starts_s) < _STARTS or (min(starts_s) > _START_S and len(starts_s) < _STARTS_AT_MOST):
        process = in_root("empty", ("/calculator",), kafka=kafka, consul=consul, group=names.group)
        began_s = time.monotonic()
        process.start()
        starts_s.append(wait_registered(consul, names.node_id) - began_s)
        assert process.terminate() == 0
    assert min(starts_s) <= _START_S, starts_s
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager = Manager(consul, names.node_id)
    try:
        process = in_root("empty", ("/calculator",), kafka=kafka, consul=consul, group=names.group).start()
        manager.route(incoming, outgoing)
        manager.wait_adopted()
        kafka.produce(incoming, [b"one"] * 100)
        kafka.wait_committed(names.group, incoming, 100)
        time.sleep(_IDLE_S)
        idle_bytes = pss_bytes(process.pid)
        assert idle_bytes <= _PSS_BYTES, idle_bytes
        assert process.terminate() == 0
    finally:
        manager.decommission()
    base = "empty, idle for a minute with a route"
    table.add("directory", base, f"best of {len(starts_s)} starts", start_s=min(starts_s), pss_bytes=idle_bytes)
