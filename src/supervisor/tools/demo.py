"""``python -m supervisor demo``: the main job in half a minute, with nothing but this package.

librdkafka's mock cluster stands for Kafka and a fixed route for Consul; relay, data path and Calculator are the real
ones. The Calculator is killed on the way, and the output topic is read back to count what was lost and doubled.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Protocol

import uvloop

from supervisor import logs
from supervisor.calculator import Calculator
from supervisor.kafka import MockCluster
from supervisor.reaper import Reaper
from supervisor.relay import Relay
from supervisor.route import Route
from supervisor.settings import SECRET_VARIABLES, Options, Settings
from supervisor.states import CalculatorState
from supervisor.tools.commands import parse

HELP: Final = """\
usage: supervisor demo

The whole system in under a minute, with nothing but this package: 200,000
records on librdkafka's mock cluster, and a Calculator that is killed three
times. The output topic is read back to count what was lost and doubled.

exit status: 0 if nothing was lost, 1 if not, 2 wrong use.
"""

RECORDS: Final = 200_000
RECORDS_A_SECOND: Final = 20_000
KILLS_AT: Final = (0.2, 0.5, 0.8)
"""The Calculator is killed when this share of the records has come out."""

DEADLINE_S: Final = 50.0
_INCOMING, _OUTGOING = "demo_events", "demo_results"


class _Reader(Protocol):
    """The part of a Kafka consumer that the count uses."""

    def consume(self, num_messages: int, timeout: float) -> list[Any]:
        """Return the records that came."""

    def close(self) -> None:
        """Give the consumer back."""


class Traffic:
    """Sends numbered records in one thread, and counts in another what the output topic holds."""

    def __init__(self, cluster: MockCluster) -> None:
        self.sent = 0
        self.seen: Counter[int] = Counter()
        self._cluster = cluster
        self._over = threading.Event()
        self._threads = [threading.Thread(target=body, daemon=True) for body in (self._send, self._receive)]

    def start(self) -> None:
        """Begin both."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both, after what is in the output topic now was read."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        producer = self._cluster.producer()
        began_s = time.monotonic()
        while self.sent < RECORDS and not self._over.is_set():
            due = min(RECORDS, int((time.monotonic() - began_s) * RECORDS_A_SECOND) + 1)
            for number in range(self.sent, due):
                producer.produce(_INCOMING, f"{number:07d} record with “quotes” and a tail of {number % 97}".encode())
            self.sent = due
            producer.poll(0.005)
        producer.flush(10)

    def _receive(self) -> None:
        reader: _Reader = self._cluster.reader(_OUTGOING)
        quiet = False
        while not (self._over.is_set() and quiet):
            records = reader.consume(20_000, 0.3)
            quiet = not records
            for record in records:
                if record.error() is None:
                    # {"wsp":"demo","ts":…,"raw":"0000001 …"}: the number stands first in raw.
                    value: bytes = record.value()
                    at = value.index(b'"raw":"') + 7
                    self.seen[int(value[at : at + 7])] += 1
        reader.close()


async def _run(settings: Settings, cluster: MockCluster) -> int:
    with Reaper(orphans=True) as reaper:
        calculator: Calculator

        async def restart(why: str) -> None:
            await calculator.restart(why, close_stdin=relay.close_stdin, grace_s=settings.shutdown_graceperiod_s)

        relay = Relay(settings, restart, lambda why: calculator.fail_run(why))  # noqa: PLW0108 - it is made after the relay
        await relay.start()
        calculator = Calculator(
            (settings.program, *settings.args),
            listener=relay,
            reaper=reaper,
            backoff_max_s=settings.restart_backoff_max_s,
            withheld=SECRET_VARIABLES,
        )
        running = asyncio.create_task(calculator.run())
        await relay.adopt(Route(version=1, incoming_stream=_INCOMING, outgoing_stream=_OUTGOING, paused=False))
        traffic = Traffic(cluster)
        traffic.start()
        await _watch(traffic, relay, calculator)
        replayed = relay.inlet_counters()["replayed"]
        relay.stop_taking(settings.shutdown_graceperiod_s)
        await calculator.stop(close_stdin=relay.close_stdin, at_once=False, grace_s=settings.shutdown_graceperiod_s)
        await relay.stop()
        await running
        await asyncio.to_thread(traffic.stop)
    return _report(traffic, calculator.restarts, replayed)


async def _watch(traffic: Traffic, relay: Relay, calculator: Calculator) -> None:
    """Show progress and kill the Calculator on the way, until every record is out or time is up."""
    began_s = shown_s = time.monotonic()
    before = (0, 0)
    kills = list(KILLS_AT)
    while len(traffic.seen) < RECORDS and time.monotonic() - began_s < DEADLINE_S:
        await asyncio.sleep(0.05)
        out = len(traffic.seen)
        if kills and out >= kills[0] * RECORDS and calculator.lifecycle.state is CalculatorState.RUNNING:
            kills.pop(0)
            print(f"\n    killing the Calculator (pid {calculator.pid}) with SIGKILL", flush=True)
            os.kill(calculator.pid or 0, signal.SIGKILL)
        now_s = time.monotonic()
        if now_s - shown_s >= 0.5:
            written = relay.inlet_counters()["lines_written"]
            rates = [(now - then) / (now_s - shown_s) for now, then in zip((written, out), before, strict=True)]
            line = (
                f"    sent {traffic.sent:7,}   in {written:7,} ({rates[0]:7,.0f}/s)   out {out:7,} ({rates[1]:7,.0f}/s)"
            )
            print(f"\r{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)
            before, shown_s = (written, out), now_s


def _report(traffic: Traffic, restarts: int, replayed: int) -> int:
    received = sum(traffic.seen.values())
    lost = sum(number not in traffic.seen for number in range(traffic.sent))
    doubled = received - len(traffic.seen)
    print(f"""
The output topic, read back:
    sent      {traffic.sent:9,}
    received  {received:9,}
    lost      {lost:9,}
    doubled   {doubled:9,}   (at-least-once: what was in flight at a crash may come twice)
    replayed  {replayed:9,}   (written again to the next run, out of memory)
    crashes   {restarts:9,}
""")
    if lost or traffic.sent < RECORDS:
        print("Records were lost." if lost else f"Only {traffic.sent:,} records could be sent in time.", flush=True)
        return 1
    print("Nothing was lost.", flush=True)
    return 0


def main(argv: Sequence[str]) -> int:
    """Run the demo; return 0 only if nothing was lost."""
    parse(argv, {})
    cluster = MockCluster(_INCOMING, _OUTGOING)
    settings = Settings.load(
        {
            "NODE_ID": "demo",
            "KAFKA_DSN": cluster.bootstrap_servers,
            "KAFKA_CONSUMER_GROUP": "demo",
            "RESTART_BACKOFF_MAX": "1s",
        },
        Options(program=sys.executable, args=("-m", "supervisor.example_calculator")),
    )
    logs.configure("warning", None, "console")
    print(f"""\
The Supervisor, on librdkafka's mock cluster at {cluster.bootstrap_servers}:
    {_INCOMING} -> Calculator (python -m supervisor.example_calculator) -> {_OUTGOING}
    {RECORDS:,} records, {len(KILLS_AT)} crashes; all of it takes about 15 s
""", flush=True)  # fmt: skip
    return uvloop.run(_run(settings, cluster))
