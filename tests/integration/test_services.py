from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.services import obtain
from tests.services.agent import Agent, Consul
from tests.services.peers import Manager, Persistence
from tests.services.process import Service, ServiceError
from tests.services.topics import Kafka


def test_values_come_back_in_order(kafka: Kafka, names: Names) -> None:
    """A partition's records are read in the order they were produced, tombstones included."""
    topic = kafka.create_topic(names.topic("in"), partitions=2)
    values = [b"first", b"", None, b"x" * 900_000]
    kafka.produce(topic, values, partition=1)
    assert [record.value for record in kafka.read(topic, 4)] == values
    assert kafka.end_offsets(topic) == {0: 0, 1: 4}
    assert kafka.committed(names.group, topic) == {}


def test_read_waits_and_says_what_it_met(kafka: Kafka, names: Names) -> None:
    """A topic with fewer records than expected is an AssertionError with their number."""
    topic = kafka.create_topic(names.topic("in"))
    kafka.produce(topic, [b"one"])
    with pytest.raises(AssertionError, match=r"1 records in .* expected 2"):
        kafka.read(topic, 2, deadline_s=1)


def test_manager_writes_every_key(consul: Consul, names: Names) -> None:
    """A route is five keys of plain text; a stream that is not there has no key."""
    manager = Manager(consul, names.node_id)
    manager.route("in", "out")
    manager.route("in", paused=True)
    keys = consul.get(f"kv/{manager.directory}/", keys="")
    found = {key.rsplit("/", 1)[1]: consul.kv_get(key) for key in keys}
    expected = {"desired_version": b"2", "adopted_version": b"0", "incoming_stream": b"in", "pause_stream": b"true"}
    assert found == expected
    with pytest.raises(AssertionError, match="adopted_version is 0"):
        manager.wait_adopted(deadline_s=0.1)
    manager.decommission()
    assert consul.kv_get(f"{manager.directory}/desired_version") is None


def test_persistence_takes_parsed_else_raw(kafka: Kafka, names: Names) -> None:
    """``parsed`` is taken where it is there and not null, else ``raw``; what is no JSON stops the reader."""
    topic = kafka.create_topic(names.topic("out"))
    kafka.produce(
        topic,
        [
            b'{"wsp": "w", "ts": 1, "raw": "a"}',
            b'{"wsp": "w", "ts": 2, "parsed": {"a": 0}}',
            b'{"wsp": "w", "ts": 3, "parsed": null, "raw": "null"}',
        ],
    )
    persistence = Persistence(kafka, topic)
    assert [frame[:3] for frame in persistence.read(3)] == [("w", 1, "a"), ("w", 2, {"a": 0}), ("w", 3, "null")]
    kafka.produce(topic, [b"no JSON"])
    with pytest.raises(ValueError, match="Expecting value"):
        persistence.read(4)


def test_agent_comes_back_empty_on_its_ports() -> None:
    """A restarted agent listens where it did and knows nothing."""
    with Agent() as agent:
        agent.kv_put("a", "1")
        agent.restart()
        assert agent.kv_get("a") is None


def test_service_that_does_not_start_shows_its_log(tmp_path: Path) -> None:
    """The end of the log stands in the error."""
    service = Service("thing", ["sh", "-c", "echo why it failed; exit 3"], log=tmp_path / "log")
    with pytest.raises(ServiceError, match=r"thing ended with status 3\nwhy it failed"):
        service.start(lambda: False, deadline_s=10)


def test_service_dies_with_a_killed_test_run(tmp_path: Path) -> None:
    """SIGKILL of the process that started a service ends the service."""
    starter = (
        "import pathlib, sys, time\n"
        "from tests.services.process import Service\n"
        "service = Service('sleeper', ['sleep', '600'], log=pathlib.Path(sys.argv[1]))\n"
        "service.start(lambda: True, 10)\n"
        "print(service.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", starter, str(tmp_path / "log")], cwd=root, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        pid = int(run.stdout.readline())
        os.kill(pid, 0)
        run.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and _state(pid) != "Z":
        assert time.monotonic() < end, f"process {pid} outlived its test run"
        time.sleep(0.02)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return "Z"


def test_missing_tool_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without java the message names it and says what to install."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="java was not found on PATH: Java 17 or newer"):
        obtain.java()


def test_broken_consul_on_path_is_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file called consul that is none is left alone, and one that works is taken before anything is built."""
    fake = tmp_path / "consul"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    built = obtain.consul_binary()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert obtain.consul_binary() == built
    fake.write_text("#!/bin/sh\necho Consul v9.9.9\n")
    assert obtain.consul_binary() == fake
