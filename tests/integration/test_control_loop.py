"""The control loop goes on while a Kafka client is made, replaced or destroyed that waits for a DNS answer.

Heartbeats are due every few seconds, and the status page is of most use when something hangs.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import pytest

from tests.services.mock import END_TXN, PRODUCE, MockProcess
from tests.services.peers import Manager
from tests.services.slow_names import BROKER, SlowNames
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

Start = Callable[..., Supervised]
LONGEST_S = 0.5
HANGS_S = 3.0
# Each producer wants a connection to the broker without an address from its start on.
EXACTLY_ONCE = {"PROCESSING_GUARANTEE": "exactly-once", "ACK_MODE": "line"}
AT_LEAST_ONCE = {"KAFKA_OPTIONS": "enable.sparse.connections=false"}
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
INVALID_PRODUCER_EPOCH = 47


@pytest.fixture
def names_that_hang(tmp_path: Path) -> Iterator[SlowNames]:
    """They do not hang yet."""
    names = SlowNames(tmp_path)
    yield names
    names.answer()


@pytest.fixture
def mock() -> Iterator[MockProcess]:
    """A cluster that errors can be injected into."""
    with MockProcess("in", "other", "out") as mock:
        yield mock


class Watch:
    """Ask a Supervisor for its status all the time; the longest answer is what the loop stood still."""

    def __init__(self, process: Supervised) -> None:
        self.longest_s = 0.0
        self._process = process
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._enough.wait(0.02):
            began_s = time.monotonic()
            try:
                self._process.status()
            except OSError:
                continue
            finally:
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)


@pytest.mark.parametrize(
    ("settings", "request_kind", "error"),
    [(EXACTLY_ONCE, END_TXN, INVALID_PRODUCER_EPOCH), (AT_LEAST_ONCE, PRODUCE, OUT_OF_ORDER_SEQUENCE_NUMBER)],
    ids=["exactly-once", "at-least-once"],
)
def test_a_producer_is_replaced_while_a_name_is_looked_up(  # noqa: PLR0917 - fixtures
    manager: Manager,
    supervisor_process: Start,
    mock: MockProcess,
    names_that_hang: SlowNames,
    settings: dict[str, str],
    request_kind: int,
    error: int,
) -> None:
    """Neither the loop nor the flow waits until the old client is destroyed; a second one is replaced after that."""
    names_that_hang.hold()
    # A client that knows the cluster lets brokers go that are not in it: not before the look-up has begun.
    mock.slow_down(200)
    kafka = Kafka(mock.bootstrap_servers)
    manager.route("in", "out")
    process = supervisor_process(
        ("cat",),
        kafka=kafka,
        env=names_that_hang.env | settings | {"KAFKA_DSN": f"{mock.bootstrap_servers},{BROKER}"},
    )
    process.wait_ready()
    kafka.produce("in", [b"%d" % number for number in range(10)])
    process.wait_counter("inlet", "acknowledged", 10)
    mock.slow_down(0)
    for renewed in (1, 2):
        acknowledged = process.status()["inlet"]["acknowledged"]
        if request_kind == PRODUCE:
            mock.answer_for_topic("out", request_kind, error)
        else:
            mock.answer_with(request_kind, error)
        with Watch(process) as watch:
            kafka.produce("in", [b"%d" % number for number in range(10)])
            if renewed == 2:  # one that is being destroyed at a time
                time.sleep(HANGS_S)
                assert process.status()["outlet"]["clients_renewed"] == 1
                names_that_hang.answer()
            process.wait_counter("outlet", "clients_renewed", renewed)
            process.wait_counter("inlet", "acknowledged", acknowledged + 10)
        assert watch.longest_s < LONGEST_S, f"the loop stood still for {watch.longest_s:.1f} s"
    assert process.terminate() == 0


def test_a_consumer_is_made_while_a_name_is_looked_up(
    manager: Manager, supervisor_process: Start, mock: MockProcess, names_that_hang: SlowNames
) -> None:
    """With this option librdkafka looks names up before a client is there. The route is adopted when it is."""
    kafka = Kafka(mock.bootstrap_servers)
    manager.route("in", "out")
    process = supervisor_process(
        ("cat",),
        kafka=kafka,
        env=names_that_hang.env
        | {
            "KAFKA_DSN": f"{mock.bootstrap_servers},{BROKER}",
            "KAFKA_OPTIONS": "client.dns.lookup=resolve_canonical_bootstrap_servers_only",
        },
    )
    process.wait_ready()
    names_that_hang.hold()
    with Watch(process) as watch:
        manager.route("other", "out")
        time.sleep(HANGS_S)
        assert process.status()["route"]["incoming_stream"] == "in"
        names_that_hang.answer()
        process.wait_status(lambda status: status["route"]["incoming_stream"] == "other", "the new route")
    assert watch.longest_s < LONGEST_S, f"the loop stood still for {watch.longest_s:.1f} s"


@pytest.mark.parametrize("made", ["outlet", "inlet"])
def test_an_end_that_never_ran_is_let_go_at_once(names_that_hang: SlowNames, made: str) -> None:
    """Whoever drops the last reference does not wait for the client's threads."""
    names_that_hang.hold()
    run = subprocess.run(
        [sys.executable, "-c", DROPPED, made, BROKER],
        env=names_that_hang.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < LONGEST_S


DROPPED = """
import os, sys, time
from pathlib import Path
from supervisor import kafka
from supervisor._framing import Inlet, Outlet, live, load

load(kafka.librdkafka_path())
config = {"bootstrap.servers": sys.argv[2], "log_level": "0", "enable.sparse.connections": "false"}
threads = lambda: len(list(Path("/proc/self/task").iterdir()))
outlet = Outlet(config, "workspace", output_json=False, max_line_bytes=1000, max_message_bytes=1_000_000,
                max_slab_bytes=4 << 20)
dropped = outlet
if sys.argv[1] == "inlet":
    dropped = Inlet(config | {"group.id": "group", "auto.offset.reset": "earliest"}, "in", outlet,
                    max_in_flight_records=1000, max_in_flight_bytes=1 << 20, feed_ahead_s=0.2, ack_idle_s=1.0,
                    revoke_grace_s=1.0, input_newlines="space", ack_mode="demand", commit_ahead=False)
time.sleep(1)  # it looks the name up
clients = live()["clients"]
# Should it wait, then not for ever.
answer = os.fork()
if answer == 0:
    time.sleep(5)
    os.unlink(os.environ["SLOW_NAMES"])
    os._exit(0)
began_s = time.monotonic()
if dropped is outlet:
    del outlet
del dropped
print(time.monotonic() - began_s)
assert live()["clients"] == clients, "it is still being destroyed"
os.waitpid(answer, 0)
end_s = time.monotonic() + 10
while live()["clients"] == clients:
    assert time.monotonic() < end_s, live()
    time.sleep(0.01)
assert live()["objects"] == clients - 1, live()
"""
