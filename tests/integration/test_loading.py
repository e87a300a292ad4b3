"""A Calculator that loads: no member of the group and not ready before it takes input, whatever it loads with."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import pytest

from tests.conftest import Names
from tests.services.agent import Consul
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

# Loads, until the file is there, as programs do: at work, in a thread of its own, in a program that a shell started.
LOADS = """
import os, sys, threading, time
def load():
    while not os.path.exists(sys.argv[1]):
        if sys.argv[2] == "works": sum(range(10000))
        else: time.sleep(3)
if sys.argv[2] == "thread":
    thread = threading.Thread(target=load); thread.start(); thread.join()
else: load()
for line in sys.stdin: print(line, end="", flush=True)
"""


def calculator(process: Supervised) -> str:
    return str(process.status()["calculator"])


@pytest.mark.parametrize("how", ["works", "thread", "shell"])
def test_it_is_not_ready_and_no_member_before_it_takes_input(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    consul: Consul,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    tmp_path: object,
    how: str,
) -> None:
    """The route is adopted meanwhile, the checks pass and say since when; a restart leaves the group alone."""
    loaded = f"{tmp_path}/loaded"
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    command = [sys.executable, "-c", LOADS, loaded, how]
    process = supervisor_process(["sh", "-c", '"$@"; exit', "-", *command] if how == "shell" else command)
    manager.wait_adopted()
    process.wait_status(lambda status: status["calculator"] == "loading", "loading")
    kafka.produce(incoming, [b"1"])
    time.sleep(2.5)
    code, why = process.http("/health/ready")
    assert code == 503
    assert "has been loading since" in why
    assert kafka.members(names.group) == []
    checks = {check["Name"]: check for check in consul.checks(f"bdz-wsp-{names.node_id}")}
    assert {check["Status"] for check in checks.values()} == {"passing"}
    said = process.status()["checks"]
    assert "has been loading since" in said["calculator"]["output"]
    assert "the consumer group is joined when the Calculator takes input" in said["supervisor"]["output"]

    with open(loaded, "w", encoding="ascii"):  # noqa: PTH123 - made at once
        pass
    process.wait_ready()
    assert calculator(process) == "running"
    assert [frame.value for frame in persistence(outgoing).read(1)] == ["1"]
    assert process.terminate() == 0


@pytest.mark.parametrize(
    ("command", "streams"),
    [
        (("sleep", "600"), (None, "out")),
        (("sh", "-c", "while read -r line; do echo $line; done"), ("in", "out")),
    ],
    ids=["producer", "reader"],
)
def test_others_are_ready_when_they_run(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    supervisor_process: Start,
    command: tuple[str, ...],
    streams: tuple[str | None, str],
) -> None:
    """A producer, which need not read anything, and one that reads at once; CALCULATOR_START_TIMEOUT or not."""
    incoming, outgoing = (role and kafka.create_topic(names.topic(role)) for role in streams)
    manager.route(incoming, outgoing)
    process = supervisor_process(command, env={"CALCULATOR_START_TIMEOUT": "1s"})
    process.wait_ready(10)
    time.sleep(1.5)
    assert (calculator(process), process.status()["restarts"]) == ("running", 0)
    assert process.terminate() == 0


def test_a_start_that_takes_too_long_is_a_failure(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """By CALCULATOR_START_TIMEOUT, which may stand in the KV directory; and a run that loads can be stopped."""
    manager.put("calculator_start_timeout", "1s")
    manager.route(kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out")))
    process = supervisor_process(("sleep", "600"), env={"SHUTDOWN_GRACEPERIOD": "1s"})
    process.wait_log("calculator ended", status="killed by SIGKILL")
    backoff = process.wait_log("calculator backoff")
    assert "had not come to take input after CALCULATOR_START_TIMEOUT, 1 s" in backoff["why"]
    manager.put("calculator_start_timeout", "off")
    process.wait_status(lambda status: status["settings"]["calculator_start_timeout"]["value"] == "off", "off")
    process.wait_status(lambda status: status["calculator"] in {"loading", "crash-loop"}, "another run")
    assert kafka.members(names.group) == []
    assert process.terminate() == 0
