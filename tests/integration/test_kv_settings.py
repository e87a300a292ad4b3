"""Settings in the KV directory, changed while records flow: none lost, and none doubled where the mode says so."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from supervisor.calculator import ExitStatus, Run
from supervisor.relay import Relay
from supervisor.route import Route
from supervisor.settings import Options, Settings
from tests.conftest import Names
from tests.services.peers import Manager, Persistence
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]

# One line for one, and each marker line as it is: right for every ACK_MODE.
ONE_FOR_ONE = ("sed", "-u", r"/^\x1eBDZ-ACK /b;s/$/a/")
SLOW_AT_FIRST = """
import os, sys, time
slow = not os.path.exists(sys.argv[1])
open(sys.argv[1], "w").close()
for number, line in enumerate(sys.stdin):
    print(line if line.startswith("\x1e") else line.rstrip("\\n") + "a\\n", end="", flush=True)
    if slow and number % 50 == 0: time.sleep(0.01)
"""


class Flow:
    """Numbered records that come without a pause; ``sent`` of them so far."""

    def __init__(self, kafka: Kafka, topic: str) -> None:
        self.sent = 0
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, "linger.ms": 5})
        self._topic = topic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)

    def _send(self) -> None:
        while not self._over.wait(0.02):
            for number in range(self.sent, self.sent + 60):
                self._producer.produce(self._topic, b"%d" % number, partition=0)
            self.sent += 60
            self._producer.poll(0)
        assert self._producer.flush(30) == 0

    @contextmanager
    def running(self) -> Iterator[Flow]:
        """All are delivered at the end."""
        self._thread.start()
        try:
            yield self
        finally:
            self._over.set()
            self._thread.join(40)


def effect(status: dict[str, Any]) -> tuple[str, str]:
    """Guarantee and acknowledgement in force."""
    settings = status["settings"]
    return settings["processing_guarantee"]["value"], settings["ack_mode"]["value"]


def switch(process: Supervised, manager: Manager, guarantee: str | None, mode: str | None) -> None:
    """Write or delete both keys; return when the change is in force and lines flow under it."""
    manager.put("processing_guarantee", guarantee)
    manager.put("ack_mode", mode)
    wanted = (guarantee or "at-least-once", mode or "demand")

    def flows(status: dict[str, Any]) -> bool:
        out = status["outlet"]
        return (
            effect(status) == wanted
            and status["relay"] == "flowing"
            and out["lines_delivered"] > 0
            and (out["markers_echoed"] > 0) == (mode == "marker")
            and (out["transactions_committed"] > 0) == (guarantee == "exactly-once")
        )

    process.wait_status(flows, f"{wanted} in force, and flowing", 20)


def lines(records: int) -> list[str]:
    return [f"{number}a" for number in range(records)]


def test_modes_change_in_full_flow_and_every_line_comes_once(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Through every kind of change and back; a fresh run for each, and every record in its order."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(ONE_FOR_ONE, env={"ADOPTION_GRACEPERIOD": "10s"})
    process.wait_ready()
    changes = (
        (None, "line"),
        (None, "marker"),
        ("exactly-once", "marker"),
        ("exactly-once", "line"),
        ("at-least-once", "line"),
        ("at-most-once", None),
        (None, None),
    )
    with Flow(kafka, incoming).running() as flow:
        process.wait_counter("outlet", "lines_delivered", 1)
        for guarantee, mode in changes:
            switch(process, manager, guarantee, mode)
    kafka.wait_committed(names.group, incoming, flow.sent, deadline_s=30)
    assert [frame.value for frame in persistence(outgoing).read(flow.sent)] == lines(flow.sent)
    status = process.status()
    assert status["restarts"] >= len(changes), "a fresh run for each change"
    assert not [event for event in process.events if event["event"] == "records in flight were not done in time"]
    assert status["settings"]["ack_mode"] == {"value": "demand", "source": "default"}
    assert manager.adopted() == "1"
    assert process.terminate() == 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("at-least-once", "demand"), ("at-least-once", "line")),
        (("at-least-once", "line"), ("exactly-once", "line")),
        (("exactly-once", "marker"), ("at-least-once", "line")),
    ],
    ids="-".join,
)
def test_what_is_not_done_in_time_comes_again_under_the_new_mode(  # noqa: PLR0917 - fixtures
    kafka: Kafka,
    names: Names,
    manager: Manager,
    persistence: Read,
    supervisor_process: Start,
    tmp_path: Path,
    before: tuple[str, str],
    after: tuple[str, str],
) -> None:
    """Records in flight beyond ADOPTION_GRACEPERIOD, and a Calculator that is killed over them."""
    records = 20_000
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, (b"%d" % number for number in range(records)))
    manager.route(incoming, outgoing)
    process = supervisor_process(
        ("python3", "-c", SLOW_AT_FIRST, str(tmp_path / "begun")),
        env={
            "PROCESSING_GUARANTEE": before[0],
            "ACK_MODE": before[1],
            "ADOPTION_GRACEPERIOD": "50ms",  # well below FEED_AHEAD, which is what is in flight
            "SHUTDOWN_GRACEPERIOD": "200ms",
        },
    )
    process.wait_counter("outlet", "lines_delivered", 1)
    manager.put("processing_guarantee", after[0])
    manager.put("ack_mode", after[1])
    process.wait_log("records in flight were not done in time")
    kafka.wait_committed(names.group, incoming, records, deadline_s=40)
    assert effect(process.status()) == after
    assert process.terminate() == 0
    counted = Counter(frame.value for frame in persistence(outgoing).read(records))
    assert set(counted) == set(lines(records)), "none lost, none invented"
    if before[0] == "exactly-once":
        assert max(counted.values()) == 1, "what was not committed was aborted"


def test_wrong_values_are_refused_and_what_is_in_force_stays(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Unknown, of a wrong form, contradictory: one log line, a check that fails, and records flow all the while."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(ONE_FOR_ONE, env={"BDZ_ACK_MODE": "line", "INPUT_NEWLINES": "split"})
    process.wait_ready()
    pid = process.status()["calculator_pid"]
    wrong = (
        ("ack_mode", "lines", "ack_mode: met 'lines'; expected demand or line or marker"),
        ("calculator_timeout", "30", "calculator_timeout: met '30'; a bare number, expected a duration with its unit"),
        (
            "processing_guarantee",
            "exactly-once",
            "processing_guarantee: exactly-once with BDZ_ACK_MODE line and INPUT_NEWLINES split",
        ),
    )
    for number, (key, value, problem) in enumerate(wrong, 1):
        manager.put(key, value)
        process.wait_status(
            lambda status, problem=problem: (  # type: ignore[misc]
                status["checks"]["supervisor"]["status"] != "passing"
                and problem in status["checks"]["supervisor"]["output"]
            ),
            problem,
        )
        said = process.wait_log("configuration refused", count=number)
        assert said["problems"][0].startswith(problem)
        kafka.produce(incoming, [b"%d" % number])
        kafka.wait_committed(names.group, incoming, number)
        manager.put(key, None)
        process.wait_status(lambda status: status["checks"]["supervisor"]["status"] == "passing", "taken back")
    assert len([event for event in process.events if event["event"] == "configuration refused"]) == len(wrong)
    status = process.status()
    assert (status["calculator_pid"], status["restarts"]) == (pid, 0)
    assert status["settings"]["ack_mode"] == {"value": "line", "source": "environment"}
    assert [frame.value for frame in persistence(outgoing).read(3)] == ["1a", "2a", "3a"]


def test_settings_that_touch_no_line_under_way_leave_the_calculator_alone(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """INPUT_NEWLINES and back, then CALCULATOR_TIMEOUT, in the same run, which then hangs by it."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    hangs = "import sys\nfor line in sys.stdin:\n    print(line, end='', flush=True)\n    while line == 'hang\\n': pass"
    process = supervisor_process(("python3", "-c", hangs), env={"ACK_MODE": "line"})
    process.wait_ready()
    pid = process.status()["calculator_pid"]
    for number, newlines in enumerate(("split", None), 1):
        manager.put("input_newlines", newlines)
        wanted = {"value": newlines, "source": "KV"} if newlines else {"value": "space", "source": "default"}
        process.wait_status(
            lambda status, wanted=wanted: (  # type: ignore[misc]
                status["settings"]["input_newlines"] == wanted and status["relay"] == "flowing"
            ),
            f"{wanted} in force",
        )
        kafka.produce(incoming, [b"a\nb"])
        kafka.wait_committed(names.group, incoming, number)
    manager.put("calculator_timeout", "500ms")
    process.wait_status(
        lambda status: status["settings"]["calculator_timeout"] == {"value": "500ms", "source": "KV"}, "in force"
    )
    assert process.status()["calculator_pid"] == pid
    kafka.produce(incoming, [b"hang", b"c"])
    process.wait_log("the Calculator hangs: it has records to answer and neither reads nor prints")
    assert [frame.value for frame in persistence(outgoing).read(4)][:4] == ["a", "b", "a b", "hang"]


def test_settings_that_are_there_at_the_start_cost_no_restart(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """The Calculator runs before the directory is read; what it has printed by then is not lost."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(100)])
    manager.put("ack_mode", "marker")
    manager.put("processing_guarantee", "exactly-once")
    process = supervisor_process(("sh", "-c", f"echo hello; exec sed -u '{ONE_FOR_ONE[2]}'"))
    process.wait_started()
    manager.route(incoming, outgoing)
    kafka.wait_committed(names.group, incoming, 100)
    assert [frame.value for frame in persistence(outgoing).read(101)] == ["hello", *lines(100)]
    status = process.status()
    assert (effect(status), status["restarts"]) == (("exactly-once", "marker"), 0)
    assert status["outlet"]["markers_echoed"] > 0
    assert status["outlet"]["transactions_committed"] > 0
    assert process.terminate() == 0


def test_lines_of_a_run_before_the_first_route_are_not_lost_to_new_ends(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, tmp_path: Path
) -> None:
    """They are in the hands of the outgoing side that read them at that run's end."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    kafka.produce(incoming, [b"%d" % number for number in range(100)])
    manager.put("ack_mode", "marker")
    crashed = tmp_path / "crashed"
    process = supervisor_process(
        ("sh", "-c", f"echo $$; test -e {crashed} || {{ touch {crashed}; exit 1; }}; exec sed -u '{ONE_FOR_ONE[2]}'")
    )
    process.wait_log("calculator ended", status="exit status 1")
    manager.route(incoming, outgoing)
    kafka.wait_committed(names.group, incoming, 100)
    met = [frame.value for frame in persistence(outgoing).read(100)]
    assert [value for value in met if value.endswith("a")] == lines(100)
    pids = [str(event["pid"]) for event in process.events if event["event"] == "calculator ended"]
    assert [value for value in met if not value.endswith("a")] == [*pids, str(process.status()["calculator_pid"])]


def test_a_pause_or_no_route_between_two_modes_loses_and_doubles_nothing(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """The Calculator has worked by another rule before, so it is a fresh run that goes on."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    process = supervisor_process(ONE_FOR_ONE, env={"ADOPTION_GRACEPERIOD": "10s"})
    with Flow(kafka, incoming).running() as flow:
        process.wait_counter("outlet", "lines_delivered", 1)
        manager.route(incoming, outgoing, paused=True)
        manager.wait_adopted()
        manager.put("ack_mode", "line")
        process.wait_status(lambda status: effect(status) == ("at-least-once", "line"), "adopted while paused")
        assert process.status()["relay"] == "paused"
        manager.route(incoming, outgoing)
        switch(process, manager, "exactly-once", "marker")
        for guarantee, mode in (("at-least-once", "line"), ("exactly-once", "line")):
            manager.decommission()
            process.wait_status(lambda status: status["relay"] == "idle", "no route")
            assert process.status()["settings"]["ack_mode"] == {"value": "demand", "source": "default"}
            manager.put("processing_guarantee", guarantee)
            manager.put("ack_mode", mode)
            manager.route(incoming, outgoing)
            switch(process, manager, guarantee, mode)
    kafka.wait_committed(names.group, incoming, flow.sent, deadline_s=30)
    assert [frame.value for frame in persistence(outgoing).read(flow.sent)] == lines(flow.sent)
    assert process.terminate() == 0


def test_replicas_change_their_modes_each_in_its_own_time(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """Both leave and join the group with every change; partitions go back and forth between two modes."""
    incoming, outgoing = kafka.create_topic(names.topic("in"), 4), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    records = 30_000
    replicas = [supervisor_process(ONE_FOR_ONE, env={"ADOPTION_GRACEPERIOD": "10s"}) for _ in range(2)]
    for replica in replicas:
        replica.wait_ready()
    changes = (("exactly-once", "line"), ("at-least-once", "marker"), (None, None))
    for number, (guarantee, mode) in enumerate(changes):
        first = number * records // len(changes)
        kafka.produce(incoming, (b"%d" % value for value in range(first, first + records // len(changes))))
        manager.put("ack_mode", mode)
        manager.put("processing_guarantee", guarantee)
        for replica in replicas:
            replica.wait_status(
                lambda status, wanted=(guarantee or "at-least-once", mode or "demand"): (  # type: ignore[misc]
                    effect(status) == wanted and status["relay"] == "flowing"
                ),
                f"{guarantee}, {mode} in force",
                30,
            )
    kafka.wait_committed(names.group, incoming, records, deadline_s=40)
    # Overlapping rebalances may double what at-least-once had in flight.
    assert {frame.value for frame in persistence(outgoing).read(records)} == set(lines(records))


def test_a_fresh_run_is_early_and_meets_the_new_ends_alone(kafka: Kafka, names: Names) -> None:
    """It has started and printed before the old run's end is dealt with: none of that goes the old way."""
    incoming = kafka.create_topic(names.topic("in"))
    old, new = kafka.create_topic(names.topic("old")), kafka.create_topic(names.topic("new"))
    environ = {"NODE_ID": names.node_id, "KAFKA_DSN": kafka.bootstrap, "KAFKA_CONSUMER_GROUP": names.group}
    runs: list[tuple[Run, int]] = []

    async def start(relay: Relay, *printed: bytes) -> None:
        (stdin, ours), (theirs, stdout) = os.pipe(), os.pipe()
        for fd in (ours, theirs):
            os.set_blocking(fd, False)
        runs.append((Run(len(runs) + 1, os.getpid(), ours, theirs), stdout))
        os.close(stdin)
        for line in printed:
            os.write(stdout, line)
        await relay.calculator_started(runs[-1][0])

    async def end(relay: Relay) -> None:
        relay.close_stdin()
        os.close(runs[-1][1])
        await relay.calculator_exited(runs[-1][0], ExitStatus(0, None))

    async def main() -> None:
        started: list[asyncio.Task[None]] = []

        async def restart(_why: str) -> None:
            await end(relay)
            started.append(asyncio.create_task(start(relay, b"early\n")))
            await asyncio.sleep(0.3)  # the longest pause of the loop between the end of a run and of the restart

        relay = Relay(Settings.load(environ, Options(program="cat")), restart, lambda _why: None)
        await relay.start()
        await start(relay, b"late\n")
        await relay.adopt(Route(1, incoming, old, paused=False))
        await relay.adopt(Route(2, incoming, new, paused=False, settings={"ack_mode": "marker"}))
        await asyncio.gather(*started)
        relay.stop_taking(5.0)
        await end(relay)
        await relay.stop()

    asyncio.run(main())
    assert [b'"early"' in (record.value or b"") for record in kafka.read(new, 1)] == [True]
    assert [b'"late"' in (record.value or b"") for record in kafka.read(old, 1)] == [True]


# Ends with status 1 at the end of its input, as a program that takes that for an error does.
ENDS_WITH_AN_ERROR = """
import sys
for line in sys.stdin: print(line.rstrip("\\n") + "a", flush=True)
sys.exit(1)
"""


@pytest.mark.parametrize("mode", [("at-least-once", "demand"), ("exactly-once", "line")], ids="-".join)
def test_the_key_restart_calculator_restarts_it_in_order(  # noqa: PLR0917 - fixtures
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start, mode: tuple[str, str]
) -> None:
    """In full flow: every line comes once, whatever status it ends with, and nothing counts as a failure."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.put("restart_calculator", "of a time before")
    manager.route(incoming, outgoing)
    environ = {"ADOPTION_GRACEPERIOD": "10s", "PROCESSING_GUARANTEE": mode[0], "ACK_MODE": mode[1]}
    process = supervisor_process(("python3", "-c", ENDS_WITH_AN_ERROR), env=environ)
    process.wait_ready()
    with Flow(kafka, incoming).running() as flow:
        process.wait_counter("outlet", "lines_delivered", 1)
        manager.put("restart_calculator", "now")
        process.wait_status(lambda status: status["restarts"] == 1, "a restart")
        manager.put("restart_calculator", None)
        manager.put("pause_stream", "true")
        process.wait_status(lambda status: status["relay"] == "paused", "a pause, and no restart")
        manager.put("restart_calculator", "now")
        process.wait_status(lambda status: status["restarts"] == 2, "a restart while it is paused")
        manager.put("pause_stream", "false")
    kafka.wait_committed(names.group, incoming, flow.sent, deadline_s=30)
    assert [frame.value for frame in persistence(outgoing).read(flow.sent)] == lines(flow.sent)
    status = process.status()
    assert (status["restarts"], status["calculator"]) == (2, "running")
    said = {event["event"] for event in process.events if event.get("level") in {"warning", "error"}}
    assert said <= {"librdkafka", "health"}, said  # a look may fall into the restart: then the check warns of it
    ends = [event for event in process.events if event["event"] == "calculator ended"]
    assert [(end["status"], end["asked"]) for end in ends] == [("exit status 1", True)] * 2
    assert process.terminate() == 0


def test_a_stop_in_the_middle_of_a_change_is_orderly(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """While the old run is being ended: exit status 0, and the next instance goes on behind the last commit."""
    records = 1000
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    stubborn = "trap '' TERM; sed -u 's/$/a/'; while :; do sleep 0.1; done"
    environment = {"ACK_MODE": "line", "PROCESSING_GUARANTEE": "exactly-once"}
    process = supervisor_process(("sh", "-c", stubborn), env=environment)
    process.wait_ready()
    kafka.produce(incoming, (b"%d" % number for number in range(records)))
    process.wait_counter("outlet", "lines_delivered", 1)
    manager.put("processing_guarantee", "at-least-once")
    process.wait_log("SIGTERM to the calculator")
    began_s = time.monotonic()
    assert process.terminate() == 0
    assert time.monotonic() - began_s < 8, "SHUTDOWN_GRACEPERIOD and the flush deadline"
    supervisor_process(ONE_FOR_ONE, env=environment)
    kafka.wait_committed(names.group, incoming, records, deadline_s=30)
    assert [frame.value for frame in persistence(outgoing).read(records)] == lines(records)
