"""A Calculator of another user under a Supervisor without CAP_KILL, as sudo and a hardened container make it."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.integration.conftest import PLACES
from tests.services.peers import Manager, Persistence
from tests.services.privileges import BECOME_NOBODY, WITHOUT_CAP_KILL, needs_root
from tests.services.processes import children, field, until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

pytestmark = needs_root

Start = Callable[..., Supervised]
Read = Callable[[str], Persistence]
both_places = pytest.mark.parametrize("place", PLACES)

REFUSED = "the calculator may not be signalled: it runs as another user, and the Supervisor has no CAP_KILL"
GRACE_S = 1.0
FLUSH_DEADLINE_S = 5.0


@pytest.fixture(autouse=True)
def leave_nobody(names: Names) -> Iterator[None]:
    """Nothing but the test ends what a Supervisor had to leave behind."""
    yield
    for proc in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"NODE_ID={names.node_id}".encode() in (proc / "environ").read_bytes().split(b"\0"):
                os.kill(int(proc.name), signal.SIGKILL)


def as_nobody(script: str) -> tuple[str, ...]:
    return (*BECOME_NOBODY, "sh", "-c", script)


def zombies(process: Supervised) -> list[int]:
    found = []
    for pid in children(process.pid):
        with contextlib.suppress(OSError):
            found += [pid] if field(pid, "State").startswith("Z") else []
    return found


def assert_no_errors(process: Supervised) -> None:
    """No exception was met anywhere, and the refusal was told once."""
    assert not [event for event in process.events if "exception" in event or event["level"] == "text"]
    assert len([event for event in process.events if event["event"] == REFUSED]) <= 1


@both_places
def test_one_that_ends_is_reaped_and_started_again(lonely: Start, place: str) -> None:
    """Its status is taken although the rest of its group cannot be killed first; nothing stays a zombie."""
    process = lonely(place, as_nobody("sleep 0.2; exit 3"), prefix=WITHOUT_CAP_KILL)
    process.wait_log("calculator ended", status="exit status 3", count=3)
    until(lambda: not zombies(process), "no zombie")
    assert process.terminate(GRACE_S + FLUSH_DEADLINE_S) == 0
    assert_no_errors(process)


@both_places
def test_a_stop_ends_in_time_and_the_check_says_why(lonely: Start, place: str) -> None:
    """Neither EOF nor a signal ends it; forwarded signals do no harm."""
    process = lonely(
        place,
        as_nobody("while :; do sleep 0.1; done"),
        prefix=WITHOUT_CAP_KILL,
        env={"SHUTDOWN_GRACEPERIOD": f"{GRACE_S}s"},
    )
    process.wait_log(REFUSED)
    process.wait_status(
        lambda status: "may not be signalled since" in status["checks"]["calculator"]["output"], "said in the check"
    )
    assert process.status()["checks"]["calculator"]["status"] == "warning"
    for number in (signal.SIGUSR1, signal.SIGWINCH, signal.SIGUSR1):
        process.send(number)
    began_s = time.monotonic()
    assert process.terminate(GRACE_S + FLUSH_DEADLINE_S) == 0
    assert time.monotonic() - began_s >= GRACE_S
    process.wait_log("the calculator is left behind", why="it may not be signalled and does not end by itself")
    assert_no_errors(process)


def test_a_second_sigterm_cuts_the_grace_short(lonely: Start) -> None:
    """Of one that may not be signalled too."""
    process = lonely(
        "subreaper",
        as_nobody("while :; do sleep 0.1; done"),
        prefix=WITHOUT_CAP_KILL,
        env={"SHUTDOWN_GRACEPERIOD": "60s"},
    )
    process.wait_log(REFUSED)
    process.send(signal.SIGTERM)
    process.wait_log("asked to stop")
    assert process.terminate(FLUSH_DEADLINE_S) == 0
    assert_no_errors(process)


def test_one_that_hangs_has_a_successor_and_nothing_is_lost(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """It is left behind without its STDIN and STDOUT; what it had not answered is written to the next one."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    mark = Path(f"/tmp/{names.node_id}")
    script = f"while read -r line; do [ $line = 7 ] && [ ! -e {mark} ] && touch {mark} && sleep 1000; echo $line; done"
    kafka.produce(incoming, [b"%d" % number for number in range(10)])
    manager.route(incoming, outgoing)
    env = {"CALCULATOR_TIMEOUT": "1s", "ACK_MODE": "line", "SHUTDOWN_GRACEPERIOD": f"{GRACE_S}s"}
    process = supervisor_process(as_nobody(script), env=env, prefix=WITHOUT_CAP_KILL)
    process.wait_log("the calculator is left behind")
    kafka.wait_committed(names.group, incoming, 10)
    assert {frame.value for frame in persistence(outgoing).read(10)} == {str(number) for number in range(10)}
    assert process.terminate(GRACE_S + FLUSH_DEADLINE_S) == 0
    assert kafka.members(names.group) == []
    assert_no_errors(process)


def test_a_stop_commits_what_was_answered_and_leaves_the_group(
    kafka: Kafka, names: Names, manager: Manager, supervisor_process: Start
) -> None:
    """One that is left behind takes none of the time that this needs."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    manager.route(incoming, outgoing)
    script = "while read -r line; do echo $line; done; while :; do sleep 0.1; done"
    env = {"SHUTDOWN_GRACEPERIOD": f"{GRACE_S}s", "ACK_MODE": "line"}
    process = supervisor_process(as_nobody(script), env=env, prefix=WITHOUT_CAP_KILL)
    process.wait_ready()
    kafka.produce(incoming, [b"%d" % number for number in range(200)])
    process.wait_counter("inlet", "acknowledged", 200)
    assert process.terminate(GRACE_S + FLUSH_DEADLINE_S) == 0
    assert kafka.committed(names.group, incoming) == {0: 200}
    assert kafka.members(names.group) == []
    process.wait_log("the calculator is left behind")


def test_what_outlives_its_leader_and_prints_on_does_not_hold_up_the_next_run(
    kafka: Kafka, names: Names, manager: Manager, persistence: Read, supervisor_process: Start
) -> None:
    """A process of another user in the group of one that may be signalled: it cannot be killed with it."""
    incoming, outgoing = kafka.create_topic(names.topic("in")), kafka.create_topic(names.topic("out"))
    child = " ".join((*BECOME_NOBODY, "sh", "-c", "'while echo on and on; do sleep 0.1; done'"))
    script = f"{child} & read -r line; echo $line; exit 3"
    kafka.produce(incoming, [b"1", b"2"])
    manager.route(incoming, outgoing)
    process = supervisor_process(("sh", "-c", script), prefix=WITHOUT_CAP_KILL)
    process.wait_log("the Calculator's STDOUT is held open by a process that outlived it; closed")
    process.wait_log("calculator ended", count=2, deadline_s=30)
    assert "1" in {frame.value for frame in persistence(outgoing).read(1)}
    assert not [event for event in process.events if "exception" in event]
