"""The subjects: each takes records from one topic through ``cat`` to another until it is stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import orjson

from tests.services.agent import Consul
from tests.services.peers import Manager
from tests.services.process import ServiceError, spawn
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

WSP = "2c1f9d0e-6f0b-4f6e-9a53-0d6f4b7c8a11"
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20

# Never runs into its queue's bound: this librdkafka then waits a second before it fetches again. Sees the topic's end
# at once: only then its last lines leave its buffer.
KCAT_CONSUMER = [
    *("-X", "queued.min.messages=10000000"),
    *("-X", "queued.max.messages.kbytes=2000000"),
    *("-X", "fetch.wait.max.ms=10"),
]
KCAT_PRODUCER = ["-X", "linger.ms=5", "-X", "batch.size=1000000", "-X", "queue.buffering.max.messages=1000000"]
SED = ["env", "LC_ALL=C", "sed", rf's/["\\]/\\&/g;s/.*/{{"wsp":"{WSP}","ts":1700000000000,"raw":"&"}}/']


@dataclass(frozen=True)
class Place:
    """Where a subject works. ``partitions`` is the number of the incoming topic's partitions."""

    kafka: Kafka
    consul: Consul
    incoming: str
    outgoing: str
    partitions: int = 1


@dataclass
class Pipeline:
    """A started subject. ``release()`` lets the records flow; ``pids`` are the roots of its process trees."""

    release: Callable[[], None]
    pids: Callable[[], list[int]]
    stack: contextlib.ExitStack = field(repr=False)

    def stop(self) -> None:
        """End every process."""
        self.stack.close()


@dataclass(frozen=True)
class Subject:
    """A way to do the job; ``unwrap`` takes the line out of an outgoing record's value."""

    name: str
    start: Callable[[Place], Pipeline]
    unwrap: Callable[[bytes], bytes]


def raw(value: bytes) -> bytes:
    """Take the line out of a dataframe."""
    line: str = orjson.loads(value)["raw"]
    return line.encode()


def _supervisor(place: Place, **environment: str) -> Pipeline:
    return supervisor_of(sys.executable, place, **environment)


def supervisor_of(python: str, place: Place, command: Sequence[str] = ("cat",), **environment: str) -> Pipeline:
    """``python -m supervisor``, by default with its defaults; its route is written by the platform's manager."""
    node_id = str(uuid.uuid4())
    stack = contextlib.ExitStack()
    environment["LOG_LEVEL"] = "warning"
    process = Supervised(
        command,
        node_id=node_id,
        kafka=place.kafka,
        consul=place.consul,
        env=environment,
        launcher=(python, "-m", "supervisor"),
    )
    stack.callback(process.close)
    manager = Manager(place.consul, node_id)
    stack.callback(manager.decommission)
    process.start()
    process.wait_started()
    # What a start costs, Consul's client among it, is not the flow's.
    process.wait_status(lambda status: status["registration"] == "registered", "registered in Consul")

    def release() -> None:
        manager.route(place.incoming, place.outgoing)

    return Pipeline(release, lambda: [process.pid], stack)


def kcat_path() -> str:
    """Path of kcat; ServiceError that says how to get it."""
    found = shutil.which("kcat")
    if found is None:
        raise ServiceError("kcat was not found on PATH: the benchmark compares with it (Debian: apt install kcat)")
    return found


def _kcat(place: Place, *filters: list[str]) -> Pipeline:
    common = [kcat_path(), "-q", "-b", place.kafka.bootstrap]
    chosen = ["-p", "0"] if place.partitions == 1 else []
    consume = [*common, "-C", "-e", "-t", place.incoming, *chosen, "-o", "beginning", *KCAT_CONSUMER]
    produce = [*common, "-P", "-t", place.outgoing, "-p", "0", *KCAT_PRODUCER]
    stack = contextlib.ExitStack()
    pids: list[int] = []
    return Pipeline(lambda: start_pipe([consume, *filters, produce], stack, pids), lambda: pids, stack)


def start_pipe(commands: list[list[str]], stack: contextlib.ExitStack, pids: list[int]) -> None:
    """Start the commands with pipes of 1 MiB between them, as the Supervisor has them."""
    upstream = os.open(os.devnull, os.O_RDONLY)
    for command in commands:
        last = command is commands[-1]
        readable, writable = (-1, os.open(os.devnull, os.O_WRONLY)) if last else os.pipe()
        if not last:
            with contextlib.suppress(OSError):  # the machine's limit is lower
                fcntl.fcntl(writable, _F_SETPIPE_SZ, _PIPE_BYTES)
        process = spawn(command, stdin=upstream, stdout=writable)
        os.close(upstream)
        os.close(writable)
        upstream = readable
        stack.callback(_end, process)
        pids.append(process.pid)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _loop(place: Place) -> Pipeline:
    script = Path(__file__).with_name("loop.py")
    group = f"loop-{uuid.uuid4()}"
    arguments = [place.kafka.bootstrap, place.incoming, place.outgoing, group]
    process = spawn([sys.executable, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stack = contextlib.ExitStack()
    stack.callback(_end, process)
    assert process.stdin is not None
    assert process.stdout is not None
    stack.enter_context(process.stdin)
    stack.enter_context(process.stdout)
    process.stdout.readline()
    release = process.stdin

    def go() -> None:
        release.write(b"\n")
        release.flush()

    return Pipeline(go, lambda: [process.pid], stack)


SUPERVISOR = Subject("Supervisor", _supervisor, raw)
MODES = [
    Subject(f"{guarantee}, {ack_mode}", partial(_supervisor, PROCESSING_GUARANTEE=guarantee, ACK_MODE=ack_mode), raw)
    for guarantee, ack_mode in (
        ("at-least-once", "demand"),
        ("at-least-once", "line"),
        ("at-least-once", "marker"),
        ("exactly-once", "line"),
        ("exactly-once", "marker"),
        ("at-most-once", "demand"),
    )
]
WINDOWS = [
    Subject(f"{records} in flight", partial(_supervisor, ACK_MODE="line", MAX_IN_FLIGHT_RECORDS=str(records)), raw)
    for records in (1_000, 10_000, 100_000)
]


def spread(topics: Mapping[int, str]) -> list[Subject]:
    """The same records, in topics of so many partitions."""

    def start(topic: str, place: Place) -> Pipeline:
        return _supervisor(replace(place, incoming=topic))

    return [Subject(f"{number} partitions", partial(start, topic), raw) for number, topic in topics.items()]


KCAT = Subject("kcat pair", lambda place: _kcat(place, ["cat"]), bytes)
KCAT_SED = Subject("kcat pair with sed", lambda place: _kcat(place, ["cat"], SED), raw)
LOOP = Subject("Python loop", _loop, raw)
