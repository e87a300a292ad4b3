"""A kind of program as the Calculator of a real Supervisor, which is killed, and its Supervisor too."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.services.agent import Consul
from tests.services.peers import Manager, Persistence
from tests.services.processes import until
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

from .harness import NotRunError, Workshop
from .kinds import Kind, Promise

_PROGRESS_DEADLINE_S = 90.0  # a Supervisor that follows one that was killed is careful for a minute
_FILLER = b"x" * 400


def values(first: int, count: int) -> list[bytes]:
    """Numbered records of many sizes."""
    return [b"%08d %s" % (number, _FILLER[: number * 37 % 400]) for number in range(first, first + count)]


class KillRun:
    """Records in shares; between two of them a kill, of the Calculator and of the Supervisor in turn."""

    def __init__(self, kafka: Kafka, consul: Consul, shop: Workshop, kind: Kind, *, kills: int, seed: int) -> None:
        if kind.hidden and shutil.which("setpriv") is None:
            raise NotRunError("not run: setpriv not found on PATH")
        self._command = shop.command(kind)
        self._kind = kind
        self._kills = kills
        self._chance = random.Random(seed)
        self._kafka = kafka
        self._consul = consul
        self._stem = f"matrix-{kind.name.lower()}-{uuid.uuid4().hex[:8]}"
        self._environment = {
            **{name: value for name, value in shop.environment().items() if name == "SERVER"},
            "SIDE": os.devnull,
            "ACK_IDLE": f"{kind.idle_ms}ms",
            "RESTART_BACKOFF_MAX": "200ms",
            # One that comes back gets its partitions back at once.
            "KAFKA_OPTIONS": f"group.instance.id={self._stem}",
        }
        self._all: list[Supervised] = []
        self._sent = 0

    def run(self) -> str:
        """What was lost, in words; nothing if all that is promised holds. AssertionError if it stands still."""
        incoming = self._kafka.create_topic(f"{self._stem}-in", 2)
        outgoing = self._kafka.create_topic(f"{self._stem}-out")
        manager = Manager(self._consul, self._stem)
        manager.route(incoming, outgoing)
        try:
            process = self._start()
            for kill in range(self._kills):
                self._feed_until_busy(process, incoming)
                time.sleep(self._chance.random() ** 2 * 0.5)
                if kill % 2 == 0:
                    self._kill_calculator(process)
                else:
                    process.kill()
                    process = self._start()
            self._feed(incoming)
            self._wait_done(incoming, outgoing)
            seen = self._numbers(outgoing)
        finally:
            for process in self._all:
                process.close()
            manager.decommission()
        lost = [number for number in range(self._sent) if number not in seen]
        how = "never came out" if self._kind.promise is Promise.SAFE_BUT_TAIL else "are committed and did not come out"
        return f"{len(lost)} of {self._sent} records {how}: {lost[:20]}" if lost else ""

    def log(self) -> str:
        """The end of each Supervisor's log."""
        return "\n".join(f"--- Supervisor {process.pid}\n{process.log_text(30)}" for process in self._all)

    def _start(self) -> Supervised:
        prefix = ["setpriv", "--bounding-set=-sys_ptrace"] if self._kind.hidden else []
        process = Supervised(
            self._command,
            node_id=self._stem,
            group=self._stem,
            kafka=self._kafka,
            consul=self._consul,
            env=self._environment,
            prefix=prefix,
        )
        self._all.append(process)
        return process.start()

    def _feed(self, incoming: str) -> None:
        count = max(10, self._kind.records // (self._kills + 1))
        self._kafka.produce(incoming, values(self._sent, count))
        self._sent += count

    def _feed_until_busy(self, process: Supervised, incoming: str) -> None:
        """Feed a share, and wait until something more is delivered: the Calculator is at work on it."""
        before = _delivered(process)
        self._feed(incoming)
        until(lambda: _delivered(process) > before, f"{self._kind.name} is at work", _PROGRESS_DEADLINE_S)

    def _kill_calculator(self, process: Supervised) -> None:
        pid = process.status()["calculator_pid"]
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            process.wait_log("calculator ended", pid=pid)

    def _wait_done(self, incoming: str, outgoing: str) -> None:
        """Until all is committed; where the last lines never are, until nothing new comes out, or all has."""
        if self._kind.promise is not Promise.SAFE_BUT_TAIL:
            self._kafka.wait_committed(self._stem, incoming, self._sent, _PROGRESS_DEADLINE_S)
            return
        end = time.monotonic() + _PROGRESS_DEADLINE_S
        while len(self._numbers(outgoing)) < self._sent and time.monotonic() < end:
            time.sleep(0.2)

    def _numbers(self, outgoing: str) -> Counter[int]:
        return Counter(int(str(frame.value).split()[0]) for frame in Persistence(self._kafka, outgoing).read())


def _delivered(process: Supervised) -> int:
    """Lines delivered so far; none while it starts."""
    with suppress(OSError):
        return int(process.status()["outlet"].get("lines_delivered", 0))
    return 0


def kill_run(
    kafka: Kafka, consul: Consul, shop: Workshop, kind: Kind, *, kills: int, seed: int, say: Callable[[str], object]
) -> str:
    """One run: what is wrong, in words; nothing if all is as promised."""
    began_s = time.monotonic()
    attempt = KillRun(kafka, consul, shop, kind, kills=kills, seed=seed)
    try:
        wrong = attempt.run()
    except AssertionError as error:
        wrong = str(error)
    say(f"{kind.name}, seed {seed}: {kills} kills, {wrong or 'nothing lost'}, {time.monotonic() - began_s:.1f} s")
    if wrong:
        say(attempt.log())
    return wrong
