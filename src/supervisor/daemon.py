"""The composition root: makes the parts, starts them in order, turns signals into orders, and ends in order.

Start: relay, registration, Calculator, configuration; each works while the others wait for their peers.
End: nobody is sent to a closing instance, so it leaves Consul first; then stop taking, EOF, SIGTERM, SIGKILL, the rest
of STDOUT, flush, commit, leave the group.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import Coroutine
from typing import Any, Final

import structlog

from supervisor import __version__, calculator_locale, code_pages, logs
from supervisor.agent import ConsulAgent
from supervisor.calculator import Calculator
from supervisor.errors import SupervisorError
from supervisor.health import CheckReport, Facts, calculator_check, supervisor_check
from supervisor.health_log import HealthLog
from supervisor.hints import Hints
from supervisor.http import StatusServer
from supervisor.logs import state_changed
from supervisor.password_file import PasswordFile
from supervisor.reaper import Reaper
from supervisor.registration import Registration
from supervisor.relay import Relay
from supervisor.remedies import GENERAL
from supervisor.resync import Resync
from supervisor.route import Route
from supervisor.sampler import Look, Sampler
from supervisor.settings import SECRET_VARIABLES, Settings
from supervisor.signal_names import signal_name
from supervisor.signals import Receiver
from supervisor.states import DAEMON, DaemonState, Lifecycle
from supervisor.stderr_tail import KEPT_LINES, StderrTail

log = structlog.get_logger("supervisor.daemon")

HEALTH_INTERVAL_S: Final = 0.5
"""How often the checks are worked out anew; a change is announced at once, the same report only as a heartbeat."""

DEREGISTER_DEADLINE_S: Final = 1.0
_FIRST_LISTEN_S = 1.0  # a host name may take longer to be looked up
_DEREGISTER_FIRST_S = 0.25  # an agent that is there has answered by then; the others are not waited for


class Daemon:
    """All parts of one Supervisor. ``run`` returns the exit status."""

    def __init__(self, settings: Settings, reaper: Reaper, signals: Receiver, instance: str) -> None:
        self.lifecycle = Lifecycle("supervisor", DAEMON, DaemonState.STARTING, state_changed)
        self._settings = settings
        self._signals = signals
        self._version = __version__
        self._stop_asked = asyncio.Event()
        self._grace_s = settings.shutdown_graceperiod_s
        self._stopping: asyncio.Task[object] | None = None
        self._relay = Relay(settings, self._restart_calculator, self._fail_calculator, self._set_loading)
        self._calculator = Calculator(
            (settings.program, *settings.args),
            listener=self._relay,
            reaper=reaper,
            backoff_max_s=settings.restart_backoff_max_s,
            withheld=SECRET_VARIABLES,
            stderr_form=settings.calculator_log,
            stderr_tail=StderrTail(KEPT_LINES if settings.status_stderr else 0),
            stop_signals=settings.stop_signals,
            takes_input=self._relay.takes_input,
        )
        self._sampler = Sampler()
        self._hints = Hints()
        self._agent = ConsulAgent(settings)
        self._resync = Resync(self._agent, settings, self._adopt, self._relay.restart_run)
        self._registration = Registration(self._agent, settings, self._reports, instance=instance)
        self._http = (
            StatusServer(settings.http_host, settings.http_port, self.facts, points=self._sampler.points)
            if settings.http_port
            else None
        )

    async def run(self) -> int:
        """Until a signal of STOP_SIGNALS; raise SupervisorError when it cannot start."""
        loop = asyncio.get_running_loop()
        self._signals.give_to(lambda signum: loop.call_soon_threadsafe(self._on_signal, signum))
        log.info("supervisor starts", version=self._version, pid=os.getpid())
        for note in (*self._settings.notes, calculator_locale.warning(self._calculator.environ)):
            if note is not None:
                log.warning(note)
        self._calculator.check()
        listening = None
        try:
            await self._relay.start()
            if self._http is not None:
                listening = asyncio.create_task(self._http.listen(), name="http")
                await asyncio.wait({listening}, timeout=_FIRST_LISTEN_S)  # before the Calculator may take the port
            await self._run_parts()
        finally:
            if listening is not None and self._http is not None:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                await self._http.stop()
            self._agent.close()
        await asyncio.sleep(0)  # the loop still holds what it woke this up with: the parts' errors, and so their frames
        left = await self._relay.let_go()
        (log.error if any(left.values()) else log.debug)("native memory at the end", **left)
        self.lifecycle.change(DaemonState.STOPPED, "everything is closed")
        return 0

    async def _run_parts(self) -> None:
        tasks: list[asyncio.Task[object]] = []
        try:
            tasks = [
                asyncio.create_task(self._watched(part), name=name)
                for name, part in (
                    ("calculator", self._calculator.run()),
                    ("resync", self._resync.run()),
                    ("registration", self._registration.run()),
                    ("health", self._announce()),
                    *self._password_watch(),
                )
            ]
            self.lifecycle.change(DaemonState.RUNNING, "all parts started")
            asyncio.get_running_loop().call_later(code_pages.AFTER_S, code_pages.give_back)
            stop = asyncio.create_task(self._stop_asked.wait())
            done, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
            await self._stop({task.get_name(): task for task in tasks})
            for task in done - {stop}:
                task.result()  # a part that ended before it was told to: its error is ours
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _password_watch(self) -> list[tuple[str, Coroutine[Any, Any, object]]]:
        file, password = self._settings.kafka_sasl_password_file, self._settings.kafka_sasl_password
        if file is None or password is None:
            return []
        watch = PasswordFile(file, password.get_secret_value(), self._relay.log_in_with)
        return [("password", watch.run())]

    async def _watched(self, part: Coroutine[Any, Any, object]) -> object:
        try:
            return await part
        except SupervisorError:
            raise
        except Exception:
            log.exception("a part failed; the Supervisor stops")
            raise

    def _on_signal(self, signum: int) -> None:
        if signum in self._settings.stop_signals:
            self._on_stop_signal(signum)
        elif signum == signal.SIGHUP:
            self._resync.look_now()
            if self._settings.reload_signal is not None:
                self._calculator.forward(self._settings.reload_signal)
        else:
            self._calculator.forward(signum)

    def _on_stop_signal(self, signum: int) -> None:
        if self._stop_asked.is_set():
            log.warning("asked to stop again: the grace is cut short", signal=signal_name(signum))
            self._grace_s = 0.0
            self._calculator.shorten_grace(0.0)
            self._relay.shorten_end()
            return
        log.info("asked to stop", signal=signal_name(signum))
        self._calculator.expect_stop(signum)
        self._stop_asked.set()

    async def _stop(self, tasks: dict[str, asyncio.Task[object]]) -> None:
        began_s = time.monotonic()
        why = "asked to" if self._stop_asked.is_set() else "a part failed"
        self.lifecycle.change(DaemonState.STOPPING, why)
        for name in ("resync", "health", "registration"):
            tasks[name].cancel()
        await asyncio.gather(*(tasks[name] for name in ("resync", "health", "registration")), return_exceptions=True)
        deregistered = asyncio.create_task(self._registration.deregister(DEREGISTER_DEADLINE_S))
        await asyncio.wait({deregistered}, timeout=_DEREGISTER_FIRST_S)
        self._relay.stop_taking(self._grace_s)
        await self._calculator.stop(
            close_stdin=self._relay.close_stdin, at_once=not self._relay.has_incoming, grace_s=self._grace_s
        )
        await deregistered
        left = await self._relay.stop()
        log.info("stopped", took_s=round(time.monotonic() - began_s, 3), **left)

    async def _restart_calculator(self, why: str) -> None:
        await self._calculator.restart(
            why, close_stdin=self._relay.close_stdin, grace_s=self._settings.shutdown_graceperiod_s
        )

    def _set_loading(self, loading: bool, why: str) -> None:
        self._calculator.set_loading(loading, why)

    def _fail_calculator(self, why: str) -> None:
        self._calculator.fail_run(why)

    async def _adopt(self, route: Route | None) -> None:
        before = self._relay.settings
        await self._relay.adopt(route)
        settings = self._relay.settings
        for note in settings.kv_notes:
            log.warning(note)
        if settings.log_level != before.log_level:
            logs.set_level(settings.log_level)
            log.info("log level changed", new=settings.log_level, old=before.log_level)

    async def _announce(self) -> None:
        """Work the checks out anew, often; tell the registration when one changed."""
        told = HealthLog()
        while True:
            self._calculator.look_at_permission()
            self._relay.look_at_counters()
            self._hints.look(self._relay.seen(), time.monotonic())
            self._look()
            facts = self.facts()
            self._relay.look_for_hang()
            self._relay.look_at_partitions()
            self._relay.look_at_quotas()
            told.look({"supervisor": supervisor_check(facts), "calculator": calculator_check(facts)})
            # Compared with what was told: a trouble that was told and is over between two of these looks counts too.
            if self._registration.out_of_date():
                self._registration.poke()
            await asyncio.sleep(HEALTH_INTERVAL_S)

    def _look(self) -> None:
        relay = self._relay
        known = [high - done for done, high in relay.lag().values() if done >= 0 and high >= 0]
        lag = sum(max(0, behind) for behind in known) if known else None
        look = Look(relay.inlet_counters(), relay.outlet_counters(), lag, relay.waits_to_join)
        self._sampler.look(look, time.monotonic())

    def _reports(self) -> tuple[CheckReport, CheckReport]:
        """Return what goes to Consul: that it could not be told is not true any more once it is told."""
        facts = dataclasses.replace(self.facts(), registration_error=None)
        return supervisor_check(facts), calculator_check(facts)

    def facts(self) -> Facts:
        """Everything that health, status and metrics are made of, now."""
        now_s = time.monotonic()
        calculator, resync, relay = self._calculator, self._resync, self._relay
        inlet, outlet = relay.inlet_counters(), relay.outlet_counters()
        incoming, outgoing = relay.incoming, relay.outgoing
        poison, letters = relay.poison.trouble, relay.dead_letter_trouble
        failure = calculator.last_failure
        return Facts(
            node_id=self._settings.node_id,
            version=self._version,
            daemon=self.lifecycle.state,
            calculator=calculator.lifecycle.state,
            calculator_for_s=now_s - calculator.lifecycle.since_s,
            calculator_pid=calculator.pid,
            restarts=calculator.restarts,
            last_exit=str(calculator.last_exit) if calculator.last_exit is not None else None,
            last_stderr_line=calculator.stderr_tail.last_line,
            stderr_lines=calculator.stderr_tail.lines,
            route_state=resync.lifecycle.state,
            route_for_s=now_s - resync.lifecycle.since_s,
            route=resync.route,
            adopted_version=resync.adopted_version,
            route_problems=resync.problems,
            agent_error=resync.agent_error,
            relay=relay.lifecycle.state,
            relay_for_s=now_s - relay.lifecycle.since_s,
            consumer_error=incoming.error if incoming else None,
            producer_error=outgoing.error,
            consumer_remedy=incoming.remedy if incoming else GENERAL,
            producer_remedy=outgoing.remedy,
            consumer_unstable=relay.consumer_unstable,
            inlet=inlet,
            outlet=outlet,
            lag=relay.lag(),
            registration=self._registration.lifecycle.state,
            agent_errors_total=self._agent.errors_total,
            adoption_delay_s=resync.adoption_delay_s,
            kv_directory=self._settings.kv_directory,
            calculator_failures=calculator.failures,
            agent_error_for_s=_since(resync.agent_error_since_s, now_s),
            registration_error=self._registration.error,
            registration_error_for_s=_since(self._registration.error_since_s, now_s),
            consumer_error_for_s=_since(incoming.error_since_s if incoming else None, now_s),
            producer_error_for_s=_since(outgoing.error_since_s, now_s),
            poison=poison.what if poison else None,
            poison_for_s=_since(poison.since_s if poison else None, now_s),
            dead_letter_stream=relay.dead_letter_stream,
            dead_letter_error=letters.what if letters else None,
            dead_letter_error_for_s=_since(letters.since_s if letters else None, now_s),
            settings=relay.settings_in_force,
            waits_to_join=relay.waits_to_join,
            log_lines_dropped=logs.dropped_lines(),
            http_error=self._http.error if self._http is not None else None,
            http_error_for_s=_since(self._http.error_since_s if self._http is not None else None, now_s),
            last_failure=failure.how if failure else None,
            last_failure_ago_s=now_s - failure.at_s if failure else None,
            last_failure_words=failure.last_words if failure else None,
            unsignallable_for_s=_since(calculator.unsignallable_since_s, now_s),
            hints=self._hints.at(now_s),
            throttled=relay.throttled(),
            unreadable=relay.unreadable(),
            max_in_flight_records=self._settings.max_in_flight_records,
            max_in_flight_bytes=self._settings.max_in_flight_bytes,
            **self._sampler.standing(now_s),
        )


def _since(since_s: float | None, now_s: float) -> float | None:
    return None if since_s is None else now_s - since_s


async def run(settings: Settings, signals: Receiver, instance: str) -> int:
    """Run one Supervisor until it is asked to stop; return the exit status. ``instance`` is its name."""
    try:
        with Reaper(orphans=True) as reaper:
            return await Daemon(settings, reaper, signals, instance).run()
    finally:
        signals.ignore()
