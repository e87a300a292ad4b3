"""One fault run: a workload through real Supervisors, a real cluster and a real agent, under a seed's blows."""

from __future__ import annotations

import heapq
import json
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException

from tests.services.agent import Agent
from tests.services.broker import Cluster
from tests.services.peers import Manager, Persistence
from tests.services.process import ServiceError
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

from . import blows as b
from .count import Count, count, ranges
from .modes import Mode
from .verdict import broken_promises
from .workload import Feeder, expected

_WORKER = str(Path(__file__).with_name("worker.py"))
_SETTLE_DEADLINE_S = 120.0
_BUSY_WITHIN_S = 4.0  # a killed instance's partitions have moved by then
_STOP_DEADLINE_S = 40.0
# A session of 3 s, so that a killed instance's partitions move soon.
_KAFKA_OPTIONS = "session.timeout.ms=3000,heartbeat.interval.ms=500"
_NOISE = ("health", "librdkafka")  # events that fill a log's end and tell little of records


class FaultError(AssertionError):
    """A promise was broken; the message has all that is needed to look into it."""


@dataclass
class Services:
    """The cluster and the agent that runs share."""

    cluster: Cluster = field(default_factory=lambda: Cluster(3))
    agent: Agent = field(default_factory=Agent)

    def __enter__(self) -> Self:
        self.cluster.__enter__()
        self.agent.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.agent.stop()
        self.cluster.stop()


class Machine:
    """Deals a script's blows to a mode; ``run`` returns the count or raises FaultError."""

    def __init__(self, services: Services, mode: Mode, script: b.Script, *, records: int, log_level: str = "info"):
        self._mode = mode
        self._script = script
        self._records = records
        self._cluster = services.cluster
        self._agent = services.agent
        self._kafka = Kafka(services.cluster.bootstrap)
        stem = f"faults-{mode.name.replace('/', '-')}-{script.seed}-{uuid.uuid4().hex[:6]}"
        self._group = self._node_id = stem
        self._incoming = f"{stem}-in"
        self._outgoing = [f"{stem}-out{number}" for number in range(script.outgoing_topics)]
        self._manager = Manager(services.agent, stem)
        self._environment = {
            **mode.environment,
            "MAX_IN_FLIGHT_RECORDS": str(mode.window_records),
            "KAFKA_OPTIONS": _KAFKA_OPTIONS,
            "RESTART_BACKOFF_MAX": "200ms",
            "ADOPTION_GRACEPERIOD": "1s",
            "LOG_LEVEL": log_level,
        }
        self._all: list[Supervised] = []  # that ever ran, for their logs
        self._replicas: list[Supervised] = []  # running, or frozen
        self._frozen: list[Supervised] = []
        self._leaving: list[Supervised] = []
        self._paused = False
        self._target = self._outgoing[0]
        self._undoings: list[tuple[float, int, str, Callable[[], None]]] = []
        self._began_s = time.monotonic()
        self._dealt: list[str] = []
        self._blows: list[b.Blow] = []

    # ---------------------------------------------------------------- the run

    def run(self) -> Count:
        """Feed, deal, settle, count, judge."""
        script = self._script
        self._kafka.create_topic(self._incoming, script.incoming_partitions, replicas=3, min_insync_replicas="2")
        for topic in self._outgoing:
            self._kafka.create_topic(topic, script.outgoing_partitions, replicas=3, min_insync_replicas="2")
        self._route()
        feeder = Feeder(
            self._kafka.bootstrap,
            self._incoming,
            records=self._records,
            partitions=script.incoming_partitions,
            shares=len(script.blows) + 1,
        )
        try:
            for _ in range(script.replicas):
                self._start_replica()
            feeder.release(0)
            self._kafka.wait_committed(self._group, self._incoming, 1, deadline_s=60)
            self._began_s = time.monotonic()
            for share, blow in enumerate(script.blows, 1):
                self._undo_until(time.monotonic() + blow.after_s)
                self._deal(blow)
                feeder.release(share)
            self._undo_until(None)
            self._settle(feeder)
            for topic in self._outgoing:
                self._kafka.wait_stable(topic)
            frames = {
                topic: Persistence(self._kafka, topic).read(deadline_s=_SETTLE_DEADLINE_S) for topic in self._outgoing
            }
            counted = count(
                frames,
                expected(feeder.per_partition, self._mode.program),
                ordered=self._mode.ordered and script.one_outgoing_partition,
            )
        except (AssertionError, ServiceError, KafkaException, OSError) as error:
            raise FaultError(self._report(f"{type(error).__name__}: {error}")) from error
        else:
            broken = broken_promises(self._mode, script, self._blows, counted, self._events())
            if broken:
                raise FaultError(self._report("; ".join(broken), counted))
            return counted
        finally:
            self._clean_up()

    def summary(self) -> str:
        """What was dealt, in short."""
        dealt = {kind: sum(blow.kind == kind for blow in self._blows) for kind in b.KINDS}
        torn = sum(event.get("event") == "unfinished last line dropped" for event in self._events())
        blows = ", ".join(f"{times} {kind}" for kind, times in dealt.items() if times)
        return f"{blows}; {torn} lines cut in two; {time.monotonic() - self._began_s:.0f} s"

    def _settle(self, feeder: Feeder) -> None:
        """Wait until all is committed and nobody has anything in hand, then stop in order."""
        deadline_s = _SETTLE_DEADLINE_S + 2 * self._records / self._script.rate_per_s
        end = time.monotonic() + deadline_s
        self._say("settling")
        self._cluster.wait_in_sync()
        feeder.finish()
        if not self._replicas:
            self._start_replica()
        ends = self._kafka.end_offsets(self._incoming)
        assert sum(ends.values()) == self._records, f"the machine fed {ends} instead of {self._records} records"
        committed: dict[int, int] = {}
        while committed != ends or not all(map(self._idle, self._replicas)):
            if time.monotonic() > end:
                states = "\n".join(_status_text(replica) for replica in self._replicas)
                raise AssertionError(f"not settled in {deadline_s:.0f} s: {committed} committed of {ends}\n{states}")
            self._look_for_the_dead()
            time.sleep(0.1)
            with suppress(KafkaException):
                committed = self._kafka.committed(self._group, self._incoming)
        self._manager.wait_adopted(deadline_s=60)
        self._leaving += self._replicas
        for replica in self._replicas:
            replica.send(signal.SIGTERM)
        self._replicas = []
        for replica in self._leaving:
            status = replica.wait(_STOP_DEADLINE_S)
            # One that was told so while its interpreter was still starting ends by the signal, without a word.
            too_early = status == -signal.SIGTERM and not replica.events
            assert status == 0 or too_early, f"a Supervisor that was told to stop exited with {status}"
        self._say("settled")

    @staticmethod
    def _idle(replica: Supervised) -> bool:
        with suppress(OSError):
            status = replica.status()
            return bool(status["inlet"].get("unacknowledged", 0) == 0 and status["outlet"]["undelivered"] == 0)
        return False

    # ---------------------------------------------------------------- what it looks like

    def _events(self) -> list[dict[str, Any]]:
        return [event for process in self._all for event in process.events]

    def _report(self, why: str, counted: Count | None = None) -> str:
        logs = Path(tempfile.mkdtemp(prefix="faults-logs-"))
        tails = []
        for number, process in enumerate(self._all):
            name = f"supervisor-{number}-{process.pid}"
            (logs / f"{name}.log").write_text(process.log_text())
            telling = [event for event in process.events if event.get("event") not in _NOISE]
            tail = "\n".join(json.dumps(event, ensure_ascii=False) for event in telling[-25:])
            tails.append(f"--- {name}, exit status {process.exit_status}\n{tail}")
        script = self._script
        kills = sum(blow.kind in b.KILLS for blow in script.blows)
        what = f"--mode {self._mode.name} --records {self._records} --kills {kills} --gap {script.gap_s:g}"
        topics = f"{script.outgoing_topics} outgoing topics of {script.outgoing_partitions} partitions"
        lines = [
            f"{self._mode.name}, seed {script.seed}: {why}",
            f"again: python -m tests.faults {what} --seed {script.seed}",
            f"{script.incoming_partitions} incoming partitions, {topics}",
            f"{script.replicas} replicas at first, {script.rate_per_s} lines a second each",
            *self._dealt,
        ]
        if counted is not None:
            lines += [
                str(counted),
                f"lost: {ranges(counted.lost)}",
                f"replayed: {ranges(counted.replayed)}",
                f"resent: {ranges(counted.resent)}",
                *counted.copies[:10],
                *counted.disordered[:20],
                *counted.foreign[:20],
            ]
        return "\n".join([*lines, f"logs in full: {logs}", *tails])

    # ---------------------------------------------------------------- blows

    def _deal(self, blow: b.Blow) -> None:
        self._look_for_the_dead()
        self._blows.append(blow)
        {
            b.CALCULATOR_KILL: self._kill_calculator,
            b.CALCULATOR_FREEZE: self._freeze_calculator,
            b.SUPERVISOR_KILL: self._kill_supervisor,
            b.SUPERVISOR_FREEZE: self._freeze_supervisor,
            b.BROKER_KILL: self._kill_broker,
            b.BROKER_FREEZE: self._freeze_broker,
            b.REPLICA_ADD: self._rescale,
            b.REPLICA_REMOVE: self._rescale,
            b.ROUTE_VERSION: self._change_route,
            b.ROUTE_PAUSE: self._pause_route,
            b.ROUTE_TOPIC: self._switch_topic,
        }[blow.kind](blow)

    def _kill_calculator(self, blow: b.Blow) -> None:
        pid = self._calculator_of(self._pick_busy(blow))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._say(f"{blow.kind} {pid}")

    def _freeze_calculator(self, blow: b.Blow) -> None:
        pid = self._calculator_of(self._pick_busy(blow))

        def thaw() -> None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        self._undo_later(blow, f"SIGCONT to the Calculator {pid}", thaw)
        self._say(f"{blow.kind} {pid}")

    def _kill_supervisor(self, blow: b.Blow) -> None:
        replica = self._pick_busy(blow) if blow.lasts_s < 0.7 else self._pick(blow)  # some while it joins the group
        calculators = _calculators(replica)
        self._replicas.remove(replica)
        replica.kill()
        end = time.monotonic() + 20
        while any(map(_runs_worker, calculators)):
            assert time.monotonic() < end, f"a Calculator of {calculators} outlived its Supervisor {replica.pid}"
            time.sleep(0.01)
        self._undo_later(blow, "another Supervisor", self._start_replica)
        self._say(f"{blow.kind} {replica.pid}")

    def _freeze_supervisor(self, blow: b.Blow) -> None:
        replica = self._pick(blow)

        def thaw() -> None:
            self._frozen.remove(replica)
            replica.send(signal.SIGCONT)

        self._frozen.append(replica)
        replica.send(signal.SIGSTOP)
        self._undo_later(blow, f"SIGCONT to the Supervisor {replica.pid}", thaw)
        self._say(f"{blow.kind} {replica.pid}")

    def _whole_cluster(self) -> None:
        """Return when no broker is struck: two of three must always serve."""
        while any("broker" in what for _, _, what, _ in self._undoings):
            self._undo_until(self._undoings[0][0])
        self._cluster.wait_in_sync()

    def _kill_broker(self, blow: b.Blow) -> None:
        self._whole_cluster()
        node = 1 + int(blow.pick * 3)
        self._cluster.kill(node)
        self._undo_later(blow, f"start of broker {node}", lambda: self._cluster.restart(node, wait=False))
        self._say(f"{blow.kind}: {node}")

    def _freeze_broker(self, blow: b.Blow) -> None:
        self._whole_cluster()
        node = 1 + int(blow.pick * 3)
        self._cluster.freeze(node)
        self._undo_later(blow, f"SIGCONT to broker {node}", lambda: self._cluster.thaw(node))
        self._say(f"{blow.kind}: {node}")

    def _rescale(self, blow: b.Blow) -> None:
        standing = [replica for replica in self._replicas if replica not in self._frozen]
        if len(standing) < 2 or (blow.kind == b.REPLICA_ADD and len(self._replicas) < b.MOST_REPLICAS):
            self._start_replica()
            self._say(b.REPLICA_ADD)
            return
        replica = self._pick(blow)
        self._replicas.remove(replica)
        self._leaving.append(replica)
        replica.send(signal.SIGTERM)
        self._say(f"{b.REPLICA_REMOVE}: SIGTERM to the Supervisor {replica.pid}")

    def _change_route(self, blow: b.Blow) -> None:
        self._say(f"{blow.kind}: {self._route()}")

    def _pause_route(self, blow: b.Blow) -> None:
        def resume() -> None:
            self._paused = False
            self._route()

        self._paused = True
        self._undo_later(blow, "resumption", resume)
        self._say(f"{blow.kind}: version {self._route()}")

    def _switch_topic(self, blow: b.Blow) -> None:
        self._target = next(topic for topic in self._outgoing if topic != self._target)
        self._say(f"{blow.kind}: version {self._route()}, {self._target}")

    # ---------------------------------------------------------------- means

    def _say(self, what: str) -> None:
        self._dealt.append(f"{time.monotonic() - self._began_s:7.2f} s  {time.strftime('%H:%M:%S')}  {what}")

    def _route(self) -> int:
        return self._manager.route(self._incoming, self._target, paused=self._paused)

    def _start_replica(self) -> None:
        replica = Supervised(
            ("python3", "-I", "-S", _WORKER, self._mode.program, str(self._script.rate_per_s)),
            node_id=self._node_id,
            group=self._group,
            kafka=self._kafka,
            consul=self._agent,
            env=self._environment,
        ).start()
        self._all.append(replica)
        self._replicas.append(replica)

    def _pick(self, blow: b.Blow) -> Supervised:
        """Return a replica that stands; what was struck before is set up again if there is none."""
        while not (standing := [replica for replica in self._replicas if replica not in self._frozen]):
            self._undo_until(self._undoings[0][0])
        return standing[int(blow.pick * len(standing))]

    def _pick_busy(self, blow: b.Blow) -> Supervised:
        """Return a replica whose Calculator is at work, if one is within a few seconds."""
        end = time.monotonic() + _BUSY_WITHIN_S
        while time.monotonic() < end:
            first = self._pick(blow)
            for replica in sorted(self._replicas, key=lambda replica: replica is not first):
                if replica not in self._frozen and _unanswered(replica) > 0:
                    return replica
            self._undo_until(time.monotonic() + 0.02)
        return self._pick(blow)

    @staticmethod
    def _calculator_of(replica: Supervised) -> int:
        end = time.monotonic() + 30
        while not (pids := _calculators(replica)):
            assert replica.exit_status is None, f"a Supervisor ended by itself\n{replica.log_text(30)}"
            assert time.monotonic() < end, f"no Calculator in 30 s\n{replica.log_text(30)}"
            time.sleep(0.01)
        return pids[0]

    def _undo_later(self, blow: b.Blow, what: str, undo: Callable[[], None]) -> None:
        heapq.heappush(self._undoings, (time.monotonic() + blow.lasts_s, len(self._blows), what, undo))

    def _undo_until(self, moment_s: float | None) -> None:
        """Let time pass until then and undo what is due; None: until all is undone."""
        while self._undoings and (moment_s is None or self._undoings[0][0] <= moment_s):
            due_s, _, what, undo = heapq.heappop(self._undoings)
            time.sleep(max(0.0, due_s - time.monotonic()))
            undo()
            self._say(what)
        if moment_s is not None:
            time.sleep(max(0.0, moment_s - time.monotonic()))

    def _look_for_the_dead(self) -> None:
        for process in self._replicas:
            status = process.exit_status
            assert status is None, f"a Supervisor ended by itself with {status}\n{process.log_text(30)}"

    def _clean_up(self) -> None:
        for process in self._all:
            process.close()
        with suppress(OSError, ServiceError):
            self._manager.decommission()
        for node in self._cluster.nodes:
            if not self._cluster.running(node):
                self._cluster.restart(node, wait=False)
            self._cluster.thaw(node)
        with suppress(KafkaException):
            for topic in (self._incoming, *self._outgoing):
                self._kafka.delete_topic(topic)


def _unanswered(replica: Supervised) -> int:
    with suppress(OSError):
        return int(replica.status()["inlet"].get("unanswered", 0))
    return 0


def _calculators(replica: Supervised) -> list[int]:
    """Process IDs of the Supervisor's children that are Calculators: none for a moment after a crash."""
    pids: list[int] = []
    for children in Path(f"/proc/{replica.pid}/task").glob("*/children"):
        with suppress(OSError):
            pids += map(int, children.read_text().split())
    return [pid for pid in pids if _runs_worker(pid)]


def _runs_worker(pid: int) -> bool:
    """Whether the process is a Calculator of ours; not so when it is a zombie."""
    try:
        return _WORKER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _status_text(replica: Supervised) -> str:
    try:
        status: dict[str, Any] | str = replica.status()
    except OSError as error:
        status = str(error)
    return f"{replica.pid}: {json.dumps(status)}"
