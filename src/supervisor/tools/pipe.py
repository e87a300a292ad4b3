"""``supervisor pipe``: the whole data path between STDIN and STDOUT.

librdkafka's mock cluster stands for Kafka and a fixed route for Consul; relay, data path, acknowledgement and restarts
are the real ones, so what a crash does here it does there. STDIN ends for the program when every line is acknowledged;
a program that answers at the end alone gets the end when it has rested.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import uvloop

from supervisor import logs
from supervisor.calculator import Calculator
from supervisor.reaper import Reaper
from supervisor.relay import Relay
from supervisor.route import Route
from supervisor.settings import PREFIX, SECRET_VARIABLES, Settings
from supervisor.tools import local
from supervisor.tools.commands import Ended, parse
from supervisor.tools.pipe_ends import DEAD_LETTERS, GROUP, INCOMING, OUTGOING, REQUEST_BYTES, Feeder, Printer, cluster

HELP: Final = """\
usage: supervisor pipe [--raw] -- PROGRAM [ARG]... < lines > dataframes

The whole data path between STDIN and STDOUT, without Kafka and Consul: each
line of STDIN is a record that the program gets, each line it prints a record
on STDOUT, in order. Crashes and replays are as on the platform.

  --raw                     print lines as the program printed them
  --bin PROGRAM, --args A,B as when it is run by the Supervisor

What decides how records are handled is taken from the environment, as on the
platform: PROCESSING_GUARANTEE (at-least-once or at-most-once), ACK_MODE,
OUTPUT_JSON, POISON_MAX_ATTEMPTS, DEAD_LETTER_STREAM, MAX_LINE_BYTES, ...
What leads to Kafka and Consul (KAFKA_*, CONSUL_*, NODE_ID) is ignored.

  ACK_MODE=line supervisor pipe --raw -- python3 main.py < sample.txt

exit status: 0 every line was handled and all of STDOUT printed, 1 not (STDERR
says what), 2 wrong use, 126 the program cannot be executed, 127 it was not
found. A STDOUT that is closed ends it as SIGPIPE ends any program.
"""

_TICK_S: Final = 0.02
_PROGRESS_S: Final = 0.5
_REST_S: Final = 10.0
"""A program that acknowledges nothing more and reads and prints nothing for so long holds its answers for the end."""

_LATE_ANSWERS_S: Final = 30.0  # and it gets at least so long for them, as long as it goes on printing
_RUNS_AT_THE_END: Final = 3
_FAILURES_BEYOND_POISON: Final = 3
_OPTIONS: Final = (
    f"batch.size={REQUEST_BYTES},fetch.wait.max.ms=5,socket.timeout.ms=300000,request.timeout.ms=900000,"
    "session.timeout.ms=1800000,max.poll.interval.ms=1800000"  # the mock counts microseconds in 32 bits
)


class _Failed(Exception):  # noqa: N818 - the answer is no, and nothing is wrong with this command
    """Not every line was handled."""


class _Pipe:
    def __init__(self, settings: Settings, feeder: Feeder, printer: Printer, relay: Relay, reaper: Reaper) -> None:
        self.calculator: Calculator
        self._settings = settings
        self._feeder = feeder
        self._printer = printer
        self._relay = relay
        self._reaper = reaper
        self._shown_s = time.monotonic()
        self._restarts = 0
        self._changed_s = time.monotonic()
        self._before: tuple[int, ...] = ()
        self._failures = 0  # runs that failed since something was acknowledged
        self._failed_runs = 0
        self._acknowledged = 0

    async def run(self) -> None:
        """Until every line is handled and printed; raise _Failed."""
        for _ in range(_RUNS_AT_THE_END):
            self.calculator = Calculator(
                (self._settings.program, *self._settings.args),
                listener=self._relay,
                reaper=self._reaper,
                backoff_max_s=self._settings.restart_backoff_max_s,
                withheld=SECRET_VARIABLES,
                stderr_form="raw",
            )
            running = asyncio.create_task(self.calculator.run())
            try:
                await self._until(self._handled, running)
                ending = asyncio.create_task(self._end_run())
                await self._until(ending.done, running)
                await ending
                await running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            if self._unhandled() == 0:
                break
            self._restarts += self.calculator.restarts + 1
        await self._until(self._printed, None)
        self._judge()

    async def _until(self, done: Callable[[], bool], running: asyncio.Task[None] | None) -> None:
        while not done():
            if running is not None and running.done():
                running.result()
            self._look()
            await asyncio.sleep(_TICK_S)

    def _look(self) -> None:
        """See what cannot go on, and show how far it is."""
        self._printer.look()
        if self._printer.reader_gone:
            raise BrokenPipeError
        error = self._feeder.error or self._printer.error
        if error is not None:
            raise _Failed(error)
        poison = self._relay.poison.trouble
        if poison is not None and self._settings.dead_letter_stream is None:
            raise _Failed(f"{_line_of(poison.what)} ends the program each time it gets it: {self._last_failure()}")
        self._look_at_failures()
        self._relay.look_for_hang()
        now_s = time.monotonic()
        if sys.stderr.isatty() and now_s - self._shown_s >= _PROGRESS_S:
            self._shown_s = now_s
            print(f"\r{self._progress()} ", end="", file=sys.stderr, flush=True)

    def _look_at_failures(self) -> None:
        counters = self._counters()
        if counters["acknowledged"] != self._acknowledged:
            self._acknowledged, self._failures = counters["acknowledged"], 0
        failed = self.calculator.failures
        self._failures += max(0, failed - self._failed_runs)
        self._failed_runs = failed
        if self._failures >= self._settings.poison_max_attempts + _FAILURES_BEYOND_POISON:
            raise _Failed(
                f"the program failed {self._failures} times in a row without handling a line: {self._last_failure()}"
            )

    def _last_failure(self) -> str:
        return f"the last time it {self.calculator.last_failure}"

    def _progress(self) -> str:
        counters = self._counters()
        return (
            f"in {self._feeder.records:,}  out {self._printer.records:,}  handled {counters['acknowledged']:,}"
            f"  restarts {self._restarts + self.calculator.restarts:,}"
        )

    def _counters(self) -> Mapping[str, int]:
        return self._relay.inlet_counters()

    def _unhandled(self) -> int:
        """Records that were taken and are not acknowledged, those that wait for the next run included."""
        return self._counters()["in_flight_records"]

    def _handled(self) -> bool:
        """Whether STDIN of the program may end: all is acknowledged, or what is missing waits for that end."""
        self._relay.look_at_counters()
        counters, outlet = self._counters(), self._relay.outlet_counters()
        now = (
            *(counters[name] for name in ("records_read", "acknowledged", "lines_written", "stdin_unread_bytes")),
            *(outlet[name] for name in ("bytes_read", "lines_delivered")),
            self._feeder.records,
            self.calculator.restarts,
        )
        if now != self._before or self._printer.behind:
            self._before, self._changed_s = now, time.monotonic()
        rested = time.monotonic() - self._changed_s > _REST_S
        if not self._feeder.over:
            return False
        if counters["records_read"] < self._feeder.records:
            if rested and counters["in_flight_records"] == 0:
                raise _Failed(
                    f"the embedded cluster has lost {self._feeder.records - counters['records_read']} lines of STDIN"
                )
            return False
        if counters["in_flight_records"] == 0 and counters["stdin_unread_bytes"] == 0:
            return True
        return rested and counters["stdin_unread_bytes"] == 0

    async def _end_run(self) -> None:
        """End of input; what holds answers for it has the time to print them."""
        grace_s = self._settings.shutdown_graceperiod_s
        if self._unhandled():
            grace_s = max(grace_s, _LATE_ANSWERS_S)
        await self.calculator.stop(close_stdin=self._relay.close_stdin, at_once=False, grace_s=grace_s)

    def _printed(self) -> bool:
        outlet = self._relay.outlet_counters()
        waiting = outlet["undelivered"] + outlet["dead_letters_waiting"] + outlet["dead_letters_in_flight"]
        there = outlet["lines_delivered"], outlet["dead_letters_delivered"]
        return waiting == 0 and (self._printer.records, self._printer.dead_count) >= there

    def _judge(self) -> None:
        """Raise _Failed if something is missing."""
        if self._unhandled():
            raise _Failed(
                f"{self._unhandled()} lines were not handled when the program ended at the end of its input, "
                f"{_RUNS_AT_THE_END} times: {self.calculator.last_exit}"
            )
        if self._printer.dead_count:
            more = ["..."] if self._printer.dead_count > len(self._printer.dead) else []
            raise _Failed("\n  ".join([f"{self._printer.dead_count} dead letters:", *self._printer.dead, *more]))
        outlet = self._relay.outlet_counters()
        dropped = outlet["lines_oversize"] + outlet["lines_unproducible"]
        if dropped:
            raise _Failed(f"{dropped} lines of the program were too long and are missing: MAX_LINE_BYTES is the limit")

    def summary(self) -> str:
        """Return what was done, in a line."""
        return self._progress()


def _line_of(place: str) -> str:
    """As ``stdin, partition 0, offset 16`` is known to whoever wrote the lines."""
    return f"line {int(place.rpartition(' ')[2]) + 1} of STDIN"


async def _run(
    settings: Settings, made_feeder: Callable[[Relay], Feeder], made_printer: Callable[[Relay], Printer]
) -> int:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    came: list[int] = []

    def end(signum: int) -> None:
        came.append(signum)
        task.cancel()

    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(signum, end, signum)
    pipe: _Pipe | None = None

    async def restart(why: str) -> None:
        assert pipe is not None
        await pipe.calculator.restart(why, close_stdin=relay.close_stdin, grace_s=settings.shutdown_graceperiod_s)

    relay = Relay(settings, restart, lambda why: pipe.calculator.fail_run(why) if pipe is not None else None)
    try:
        with Reaper(orphans=True) as reaper:
            await relay.start()
            await relay.adopt(Route(version=1, incoming_stream=INCOMING, outgoing_stream=OUTGOING, paused=False))
            feeder, printer = made_feeder(relay), made_printer(relay)
            pipe = _Pipe(settings, feeder, printer, relay, reaper)
            feeder.start()
            printer.start()
            await pipe.run()
    except asyncio.CancelledError:
        if not came:
            raise
        raise Ended(came[0]) from None
    except _Failed as failed:
        _say(str(failed))
        return 1
    if sys.stderr.isatty():
        print(f"\r{pipe.summary()} ", file=sys.stderr)
    return 0


def _say(what: str) -> None:
    line = "\n" if sys.stderr.isatty() else ""
    print(f"{line}supervisor pipe: {what}", file=sys.stderr, flush=True)


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    words = parse(argv, {"--raw": ""}, program=True)
    environ = os.environ
    dead_letters = DEAD_LETTERS if any(environ.get(f"{prefix}DEAD_LETTER_STREAM") for prefix in ("", PREFIX)) else None
    ours = {"NODE_ID": "pipe", "KAFKA_DSN": "127.0.0.1:9", "KAFKA_CONSUMER_GROUP": GROUP, "KAFKA_OPTIONS": _OPTIONS}
    defaults = {"RESTART_BACKOFF_MAX": "1s", "LOG_LEVEL": "error"}
    if dead_letters:
        ours["DEAD_LETTER_STREAM"] = dead_letters  # whatever its name there
    checked = local.settings(words, environ, ours, defaults)
    local.check_program(checked)
    made = cluster(dead_letters)
    settings = checked.model_copy(update={"kafka_dsn": made.bootstrap_servers})
    logs.configure(settings.log_level, settings.log_colors, "console", settings.secrets)

    def taken(relay: Relay) -> Callable[[], tuple[int, int]]:
        def look() -> tuple[int, int]:
            counters = relay.inlet_counters()
            return counters["records_read"], counters["bytes_read"]

        return look

    def delivered(relay: Relay) -> Callable[[], tuple[int, float]]:
        def look() -> tuple[int, float]:
            counters = relay.outlet_counters()
            return counters["lines_delivered"], counters["bytes_produced"] / max(1, counters["lines_read"])

        return look

    return uvloop.run(
        _run(
            settings,
            lambda relay: Feeder(made, taken(relay)),
            lambda relay: Printer(made, dead_letters, delivered(relay), raw="--raw" in words.given),
        )
    )
