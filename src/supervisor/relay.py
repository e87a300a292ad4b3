"""Wires Inlet, Outlet and Calculator for the route in force: replay after a crash, swap of streams, orderly end.

What happens to records here, in one place:
- A run of the Calculator ends: its STDOUT is taken to the end first, then the inlet counts what that answered, and the
  rest is written again to the next run.
- The route changes: writing stops, the records in flight get ADOPTION_GRACEPERIOD. If they are not done by then, the
  Calculator is restarted, because a late line would go to a topic it does not belong to; unanswered records are written
  again under the new route if the incoming topic stays, and are left to the old topic's group if not.
- A setting changes that the ends are made of: the same, and then a fresh run between new ends (`renewal` says when and
  why). Records that were not done come again by the group's offsets.
- The consumer meets a fatal error: as when the route changes, but nothing is given up, and a new consumer of the same
  topic goes on behind the last commit.
- The end: STDIN is closed after the last whole record, STDOUT is taken to the end, delivered, committed; then the group
  is left.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final

import structlog

from supervisor import kafka
from supervisor._framing import Inlet, Outlet, live, load
from supervisor.calculator import ExitStatus, Run
from supervisor.complaints import Complaints
from supervisor.consumer_renewal import ConsumerRenewal
from supervisor.ends import make_inlet, make_outlet
from supervisor.errors import KafkaError, SettingsError
from supervisor.hang_watch import HangWatch
from supervisor.hints import Seen
from supervisor.loading import Loading
from supervisor.logs import state_changed
from supervisor.off_loop import off_loop
from supervisor.poison_watch import PoisonWatch
from supervisor.rebalances import Rebalances
from supervisor.remedies import remedy
from supervisor.renewal import Renewal, renewal
from supervisor.route import Route, describe, incoming_of, outgoing_of
from supervisor.settings import Settings
from supervisor.states import RELAY, Lifecycle, RelayState
from supervisor.stream import DESTROY_DEADLINE_S, StreamEnd
from supervisor.throttling import Throttled, Throttling
from supervisor.trouble import Trouble
from supervisor.unreadable import Unreadable, UnreadableBatches

log = structlog.get_logger("supervisor.relay")

FLUSH_DEADLINE_S: Final = 5.0
"""How long the end waits, beyond the Calculator's grace, for deliveries and for the group's goodbye, together."""

_FLUSH_S = 1.0  # of the flush deadline, kept for the delivery of the last lines of a Calculator
_GOODBYE_S = 1.0  # likewise, for leaving the group
_LEFT_BEHIND_S = 1.0  # a client that is not destroyed by then ends with the process

_POLL_S = 0.01  # between looks at the counters while something is waited for
_STDOUT_HELD_S = 1.0  # a dead Calculator's silent STDOUT is given up after this: a daemon it left holds it open
_STDOUT_LOOKS = 5  # after so many with a free way out its pipe was read empty, and what still comes is not its own


class Relay:
    """The flow of records. One instance lives as long as the process; ``start`` before anything else.

    ``restart(why)`` stops the Calculator in order and starts it again; the relay asks for it when a drain fails.
    ``fail_run(why)`` kills the present run as a failure: it broke the rule of its acknowledgement.
    ``set_loading(loading, why)`` is told whether the present run has still to come to take input.
    """

    def __init__(
        self,
        settings: Settings,
        restart: Callable[[str], Awaitable[None]],
        fail_run: Callable[[str], None],
        set_loading: Callable[[bool, str], None] = lambda _loading, _why: None,
    ) -> None:
        self.lifecycle = Lifecycle("relay", RELAY, RelayState.IDLE, state_changed)
        self.route: Route | None = None
        self._environment = settings
        self._settings = settings  # the environment's and the route's: what the ends are made of
        self._restart = restart
        self._fail_run = fail_run
        self._run: Run | None = None
        self._run_exited = False  # its process is gone; what it left behind is being taken
        self._counters_at_start: dict[str, int] = {}  # of the run, as of the ends it was given to
        self._stdin_fd = -1  # of a run that has no inlet
        self._fed = False  # the run has had an inlet
        self._undone = 0  # records that ended runs left, and that no run has got again
        self._eof_given = False
        self._end_at_s: float | None = None  # of a stop or a drain: when a dead run's lines must have been taken
        self._stop_end_s = math.inf  # of a stop: when everything must be over
        self._stdout_ended = asyncio.Event()
        self._ends_in_place = asyncio.Event()  # not between a run of the old ends and one of the new
        self._ends_in_place.set()
        self._set_loading = set_loading
        self._loading: Loading | None = None  # the run is to take input and has not come to that
        self._loading_watch: asyncio.Task[None] | None = None
        self._run_takes_input = False  # it was found to
        self._joins = False  # some run was: from then on a consumer joins its group at once
        self._hang = HangWatch()
        self.poison = PoisonWatch()
        self._fault_is_ours = False  # the run was ended for something that is no failure of the Calculator
        self.dead_letter_trouble: Trouble | None = None
        """Why the dead letter stream takes nothing."""
        self._complaints = Complaints()
        self._complaints_of_inlet = Complaints()
        self._password: str | None = None  # one that was changed since the start
        name = kafka.client_id(settings)
        self._producer_throttling, self._consumer_throttling = (
            Throttling("producer", name),
            Throttling("consumer", name),
        )
        self._outlet: Outlet
        self.outgoing: StreamEnd
        """Of the Calculator's lines."""
        self._inlet: Inlet | None = None
        self.incoming: StreamEnd | None = None
        """Of the records, while there are any."""
        self._rebalances = Rebalances("")
        self._unreadable = UnreadableBatches("")
        self._closing: set[asyncio.Task[bool]] = set()  # ends that were replaced
        self._changing = asyncio.Lock()  # of routes and inlets: one change at a time
        self._consumer_renewal = ConsumerRenewal(self._make_consumer_anew)
        self._failed_end: StreamEnd | None = None  # what it is to replace

    async def start(self) -> None:
        """Bind librdkafka and start the outgoing side.

        Raises KafkaError with librdkafka's reason if it refuses, SettingsError for what it can never do.
        """
        log.debug("librdkafka bound", version=load(kafka.librdkafka_path()))
        problem = kafka.sasl_problem(self._settings.kafka_sasl_mechanism)
        problems = [*([problem] if problem is not None else []), *kafka.option_problems(self._settings)]
        if problems:
            raise SettingsError(problems)
        self._outlet = await off_loop(lambda: make_outlet(self._settings))
        self._outlet.bury_in(self._settings.dead_letter_stream)
        self.outgoing = StreamEnd("outgoing", "", self._outlet, self._on_outlet_notice, renews_client=True)

    @property
    def _transactional(self) -> bool:
        return self._settings.processing_guarantee == "exactly-once"

    # ---------------------------------------------------------------- the Calculator's runs

    async def calculator_started(self, run: Run) -> None:
        """Wire a new run; takes ownership of its descriptors."""
        await self._ends_in_place.wait()  # as long as `adopt` takes, each of whose waits has a deadline
        self._run = run
        self._run_exited = False
        self._eof_given = False
        self.outgoing.take_notices()  # a late one of the last run's end must not count for this one
        self._stdout_ended.clear()
        self._counters_at_start = {"bytes_read": self._outlet.snapshot()["bytes_read"]}
        self._outlet.attach(run.stdout_fd)
        self._stdin_fd = run.stdin_fd
        self._fed = False
        self._run_takes_input = False
        self._wire_stdin()
        self._settle_loading()

    async def calculator_exited(self, run: Run, status: ExitStatus) -> None:
        """Take what a run left behind; return when the next one can begin."""
        self._run_exited = True
        self._stop_watching()
        if self._inlet is not None:
            self._inlet.exited()
        in_time = await self._stdout_taken()
        # STDIN's end first, then an exit by itself: a program that was told to stop may leave lines it had read undone.
        finished = status.code == 0 and self._eof_given and not (run.terminate_sent or run.maybe_told)
        keep_tail = status.code == 0 and self._stdout_ended.is_set()  # no end, no last line
        # A transaction's records come again with all their lines, those not taken yet included.
        keep_lines = in_time and not (self._transactional and self._inlet is not None)
        tail_bytes = self._outlet.finish(keep_lines=keep_lines, keep_tail=keep_tail)
        if tail_bytes and not keep_tail:
            log.warning("unfinished last line dropped", bytes=tail_bytes, exit=str(status))
        again = 0
        if self._inlet is not None:
            # A broken rule of the acknowledgement accuses no record: what was first did not end the run.
            broke_rule = self._inlet.broke_rule()
            if self.incoming is not None:
                self.incoming.take_notices()  # or what it says of this run would count for the next
            if self._transactional and self._leaves_lines():
                self._outlet.abort()
            again = self._undone = self._inlet.detach(finished=finished)
            if status.code != 0 and not (run.end_asked or self._fault_is_ours or broke_rule):
                self.poison.run_failed(self._inlet, incoming_of(self.route), status, self._settings)
        self._fault_is_ours = False
        self._close_held_stdin()
        self._run = None
        if again:
            log.info("records will be written again", records=again, exit=str(status))

    def _leaves_lines(self) -> bool:
        """Whether the ended run printed lines in the open transaction that no acknowledgement covers."""
        inlet = self._inlet.snapshot() if self._inlet is not None else {"rule_broken": 0, "unacknowledged": 0}
        return inlet["rule_broken"] > 0 or (
            self._settings.ack_mode == "marker"
            and inlet["unacknowledged"] > 0
            and self._outlet.snapshot()["lines_since_marker"] > 0
        )

    # ---------------------------------------------------------------- a run that loads

    def takes_input(self) -> bool:
        """Whether a run that starts now is to take input."""
        return self.has_incoming

    @property
    def waits_to_join(self) -> bool:
        """Whether the consumer joins its group only when the Calculator has come to take input."""
        return self._inlet is not None and not self._joins

    def _settle_loading(self) -> None:
        """After a run, an inlet or a route came or went: whether the run has still to come to take input."""
        if self._run is None or self._run_exited:
            self._stop_watching()  # one that waits for its ends is settled when it has them
        elif self._inlet is None or self._run_takes_input:
            self._stop_watching()
            self._set_loading(False, "there is nothing for it to take")
        elif self._loading is None:
            self._loading = Loading(self._run.stdin_fd, self._run.pid)
            if not self._has_loaded(self._loading):
                self._set_loading(True, "it has not come to take input yet")
                self._loading_watch = asyncio.create_task(self._watch_loading(self._loading), name="loading")

    async def _watch_loading(self, loading: Loading) -> None:
        while True:
            await asyncio.sleep(loading.rest_s)
            if self._has_loaded(loading):
                return
            limit_s = self._settings.calculator_start_timeout_s
            if limit_s is not None and loading.for_s >= limit_s:
                log.error("the calculator does not come to take input", calculator_start_timeout_s=limit_s)
                self._fail_run(f"had not come to take input after CALCULATOR_START_TIMEOUT, {limit_s:g} s")
                return

    def _has_loaded(self, loading: Loading) -> bool:
        """Take a look; when it takes input, let it have some."""
        why = loading.over(self._taken_bytes())
        if why is None:
            return False
        if loading.guessed:
            log.warning(
                "the calculator was not seen to wait for input; it gets some all the same",
                why=why,
                remedy="let it block in reading its STDIN rather than ask now and then whether there is something",
            )
        self._loading = self._loading_watch = None
        self._run_takes_input = self._joins = True
        self._set_loading(False, why)
        if self._inlet is not None:
            self._inlet.join_group()
        return True

    def _taken_bytes(self) -> int:
        """Of what was written to the run."""
        if self._inlet is None or not self._fed:
            return 0
        counters = self._inlet.snapshot()
        written = counters["bytes_written"] - self._counters_at_start.get("bytes_written", 0)
        return written - counters["stdin_unread_bytes"]

    def _stop_watching(self) -> None:
        if self._loading_watch is not None:
            self._loading_watch.cancel()
        self._loading = self._loading_watch = None

    # ---------------------------------------------------------------- the run's end

    def look_for_hang(self) -> None:
        """CALCULATOR_TIMEOUT: end a run that hangs; call it now and then."""
        timeout_s = self._settings.calculator_timeout_s
        if timeout_s is None or self._inlet is None or self._run is None or self._run_exited:
            return
        flowing = self.lifecycle.state is RelayState.FLOWING
        if self._hang.hangs(self._inlet.snapshot(), self._outlet.snapshot(), flowing=flowing, timeout_s=timeout_s):
            self._fail_run(f"it neither read nor printed for CALCULATOR_TIMEOUT, {timeout_s:g} s")

    def look_at_partitions(self) -> None:
        """Log what a rebalance did, and which partitions are read again; call it now and then."""
        if self._inlet is not None:
            lag = self._inlet.lag()
            self._unreadable.look(lag, time.monotonic())
            self._rebalances.look(lag.keys(), self._inlet.snapshot()["assigned_partitions"])

    def look_at_quotas(self) -> None:
        """Log which client brokers slow down; call it now and then."""
        now_s = time.monotonic()
        self._producer_throttling.look(self._outlet.snapshot(), now_s)
        self._consumer_throttling.look(self._inlet.snapshot() if self._inlet is not None else {}, now_s)

    def close_stdin(self) -> None:
        """Give the Calculator its EOF, after the last whole record."""
        self._eof_given = True
        if self._inlet is not None:
            self._inlet.close_stdin()
        self._close_held_stdin()

    async def _stdout_taken(self) -> bool:
        """Wait until STDOUT was read to its end, or only a process that outlived the Calculator holds it open.

        Return whether that was before `_end_at_s`: the lines there are wait for nothing then.
        """
        self._outlet.read_to_end()
        before = full_before = -1
        looks = 0
        while not self._stdout_ended.is_set():
            counters = self._outlet.snapshot()
            looks = looks + 1 if counters["output_full_ns"] == full_before else 0
            stuck = (counters["bytes_read"] == before and not counters["output_full"]) or looks >= _STDOUT_LOOKS
            before, full_before = counters["bytes_read"], counters["output_full_ns"]
            try:
                left_s = math.inf if self._end_at_s is None else max(0.0, self._end_at_s - time.monotonic())
                await asyncio.wait_for(self._stdout_ended.wait(), min(_STDOUT_HELD_S, left_s))
            except TimeoutError:
                if self._end_at_s is not None and time.monotonic() >= self._end_at_s:
                    log.warning("the Calculator's last lines could not be taken in time; their records are read again")
                    return False
                if stuck and self.lifecycle.state is not RelayState.IDLE:
                    log.warning("the Calculator's STDOUT is held open by a process that outlived it; closed")
                    return True
        return True

    # ---------------------------------------------------------------- routes

    async def adopt(self, route: Route | None) -> None:
        """Put a route in force, or none; raise KafkaError if its ends cannot be made."""
        async with self._changing:
            await self._adopt(route)

    async def _adopt(self, route: Route | None) -> None:
        # Without a route nothing is handled: the ends stay as they are until the next one.
        settings = self._settings if route is None else self._environment.with_kv(route.settings)
        renew = renewal(self._settings, settings)
        new_outlet = await off_loop(lambda: make_outlet(settings)) if renew is Renewal.RUN else None
        in_force = self.route
        if new_outlet is not None and route is not None and self.route is None and not self._untouched():
            # Lines that were read before there was a route go to it by the end that has them, and then it changes.
            self.route = replace(route, incoming_stream=None, paused=False)
            self._direct(self.route)
            self._settle_state(self.route)
        old = self.route
        fresh_run = new_outlet is not None and old is not None
        incoming_changed = incoming_of(old) != incoming_of(route) or (
            renew is not Renewal.NOTHING and self._inlet is not None
        )
        outgoing_changed = outgoing_of(old) != outgoing_of(route) or (old is None) != (route is None)
        new_inlet_needed = incoming_changed and incoming_of(route) is not None
        try:
            if old is not None and (incoming_changed or outgoing_changed or fresh_run):
                await self._drain(f"route changes to {describe(route)}", fresh_run=fresh_run)
            new_inlet = await self._make_inlet(route, settings, new_outlet) if new_inlet_needed else None
            if incoming_changed:
                await self._end_inlet()
            if new_outlet is not None:
                self._replace_outlet(new_outlet)
            self._settings = settings
            self._outlet.bury_in(settings.dead_letter_stream)
            self._judge_poison()
            if old is None or old.paused:
                self._direct(route)
            if new_inlet is not None:
                self._begin_inlet(new_inlet, route)
            self.route = route
        except KafkaError:
            self.route = in_force
            self._resume()
            raise
        finally:
            self._ends_in_place.set()
        self._resume()

    def _untouched(self) -> bool:
        """Whether the run has got no record and the outlet read nothing: then the run can go on with another one."""
        exits = self._run is not None and self._run_exited
        return not self._fed and not exits and self._outlet.snapshot()["bytes_read"] == 0

    def _replace_outlet(self, new: Outlet) -> None:
        """Lines go through ``new`` from now on; the old outlet has delivered all that it read, or read nothing."""
        self.outgoing.take_notices()  # a late one of the last run's end must not count for the next
        if self._run is not None:
            stdout_fd = os.dup(self._run.stdout_fd)
            self._outlet.finish(keep_lines=False, keep_tail=False)
            new.attach(stdout_fd)
            self._run.stdout_fd = stdout_fd
        self._close(self.outgoing, FLUSH_DEADLINE_S, DESTROY_DEADLINE_S)
        self._outlet = new
        self._log_in(new)
        self.outgoing = StreamEnd("outgoing", "", new, self._on_outlet_notice, renews_client=True)
        self._complaints = Complaints()  # it counts anew

    async def _make_inlet(self, route: Route | None, settings: Settings, new_outlet: Outlet | None) -> Inlet:
        outlet = new_outlet or self._outlet
        return await off_loop(lambda: make_inlet(incoming_of(route) or "", settings, outlet))

    def _begin_inlet(self, inlet: Inlet, route: Route | None) -> None:
        self._inlet = inlet
        self._log_in(inlet)
        self._rebalances = Rebalances(incoming_of(route) or "")
        self._unreadable = UnreadableBatches(incoming_of(route) or "")
        self._complaints_of_inlet = Complaints()  # it counts anew
        self._judge_poison()
        inlet.pause(route is not None and route.paused)
        if not self._joins:
            inlet.join_later()
        self.incoming = StreamEnd(
            "incoming", incoming_of(route) or "", inlet, self._on_inlet_notice, renews_client=False
        )
        self._wire_stdin()

    def _judge_poison(self) -> None:
        """Tell the inlet what decides over a record that ended earlier Supervisors."""
        if self._inlet is not None:
            settings = self._settings
            self._inlet.judge_by(settings.poison_max_attempts, dead_letters=settings.dead_letter_stream is not None)

    async def _make_consumer_anew(self) -> None:
        """The present one is of no use any more; raise KafkaError if it cannot be now."""
        async with self._changing:
            if self.incoming is None or self.incoming is not self._failed_end:
                return  # a new route brought another one, or none
            try:
                await self._finish_in_flight("the consumer is made anew", fresh_run=False)
                self._outlet.hold()
                if not await self._until(self._delivered, self._settings.adoption_graceperiod_s):
                    raise KafkaError("lines of the records in flight are not delivered yet")
                inlet = await self._make_inlet(self.route, self._settings, None)
                await self._end_inlet()
                self._begin_inlet(inlet, self.route)
            except KafkaError:
                self._resume()
                raise
            self._resume()

    def _resume(self) -> None:
        """Let the records of the route in force flow, if it lets them."""
        route = self.route
        if self.lifecycle.state is RelayState.DRAINING:
            self._direct(route)
        if self._inlet is not None:
            self._inlet.pause(route is not None and route.paused)
            self._inlet.drain(False)
        if route is not None and route.paused:
            self._outlet.hold()
        self._settle_state(route)
        self._settle_loading()

    def _direct(self, route: Route | None) -> None:
        if route is None:
            self._outlet.hold()
        elif route.outgoing_stream is None:
            log.warning("the route has no outgoing stream: the Calculator's lines are read and dropped")
            self._outlet.discard()
        elif not route.paused:
            self.outgoing.topic = route.outgoing_stream
            self._outlet.produce_to(route.outgoing_stream)

    def _settle_state(self, route: Route | None) -> None:
        state = RelayState.IDLE if route is None else RelayState.PAUSED if route.paused else RelayState.FLOWING
        if state is not self.lifecycle.state:
            self.lifecycle.change(state, f"route: {describe(route)}")

    async def restart_run(self, why: str) -> None:
        """Restart the Calculator between two records, if those in flight get done within ADOPTION_GRACEPERIOD."""
        async with self._changing:
            log.info("the calculator is restarted", why=why)
            if self.lifecycle.state is RelayState.IDLE:
                await self._restart_drained(why)
                return
            await self._finish_in_flight(why, fresh_run=True, new_ends=False)
            self._resume()

    async def _finish_in_flight(self, why: str, *, fresh_run: bool, new_ends: bool = True) -> bool:
        """Stop writing and wait for the records in flight; if they take long, restart the Calculator, return True.

        ``fresh_run``: restart it in any case; with ``new_ends`` the next run waits for them.
        """
        grace_s = self._settings.adoption_graceperiod_s
        self.lifecycle.change(RelayState.DRAINING, why)
        if self._inlet is not None:
            self._inlet.drain(True)
        if self._inlet is None and not fresh_run:
            self._outlet.hold()  # a producer's lines are whole or still in the pipe: only deliveries are in flight
        elif self.route is not None and self.route.paused:
            self._direct(replace(self.route, paused=False))  # what was in flight at the pause has to come out
        in_time = True
        # A producer that is restarted goes on until then: its end is what is waited for.
        if not (fresh_run and self._inlet is None) and not await self._until(self._drained, grace_s):
            log.warning("records in flight were not done in time", grace_s=grace_s, **self._in_flight())
            in_time = self._inlet is None
        if fresh_run:
            if new_ends:
                self._ends_in_place.clear()
            await self._restart_drained(why)
        elif not in_time:
            await self._restart_drained(f"{why}, and records in flight were not done within {grace_s:g} s")
        return not in_time

    async def _drain(self, why: str, *, fresh_run: bool) -> None:
        """Finish what is in flight; what the old outgoing stream does not take by then is given up."""
        replayed = await self._finish_in_flight(why, fresh_run=fresh_run)
        # Held first, looked at again then: a line that the Calculator prints unasked may come at any moment.
        self._outlet.hold()
        if self._inlet is not None or fresh_run:
            await self._until(self._delivered, self._settings.adoption_graceperiod_s)
        if not self._delivered():
            await self._give_up(lost=not replayed)

    async def _give_up(self, *, lost: bool) -> None:
        """Drop the lines that the old topic does not take: the new one must not get them."""
        undelivered = self._outlet.snapshot()["undelivered"]
        log.error("lines for the old outgoing stream could not be delivered", lines=undelivered,
                  topic=outgoing_of(self.route), lost=lost)  # fmt: skip
        if self._transactional:
            self._outlet.abort()
        if self._inlet is not None:
            self._inlet.forget()
        if not self._transactional:
            self._outlet.abandon()
        if not await self._until(self._delivered, FLUSH_DEADLINE_S):
            raise KafkaError(f"the producer does not let go of {undelivered} lines for {outgoing_of(self.route)}")

    async def _restart_drained(self, why: str) -> None:
        """Restart the Calculator; what its old run printed gets a deadline, because its topic may never take it."""
        self._end_at_s = time.monotonic() + self._settings.shutdown_graceperiod_s + FLUSH_DEADLINE_S
        try:
            await self._restart(why)
        finally:
            if self._stop_end_s == math.inf:  # a stop that began meanwhile has set its own
                self._end_at_s = None

    def _delivered(self) -> bool:
        """Whether nothing waits for the outgoing topic; a producer's whole lines may wait for the next as well."""
        counters = self._outlet.snapshot()
        return (
            counters["undelivered"] == 0
            and not counters["transaction_open"]
            and (self._inlet is None or counters["kept_bytes"] == 0)
        )

    def _drained(self) -> bool:
        in_flight = self._inlet.snapshot()["unacknowledged"] if self._inlet is not None else 0
        return in_flight == 0 and self._delivered()

    def _in_flight(self) -> dict[str, int]:
        unacknowledged = self._inlet.snapshot()["unacknowledged"] if self._inlet is not None else 0
        return {"records": unacknowledged, "undelivered": self._outlet.snapshot()["undelivered"]}

    async def _end_inlet(
        self, deadline_s: float = FLUSH_DEADLINE_S, destroy_deadline_s: float = DESTROY_DEADLINE_S
    ) -> bool:
        """Commit, leave the group; STDIN stays open in our hands for the next inlet. Return whether in time."""
        if self._inlet is None or self.incoming is None:
            return True
        if self._run is not None:
            self._stdin_fd = self._inlet.take_stdin()
        inlet_end, self._inlet, self.incoming = self.incoming, None, None
        self._undone = 0
        self.poison = PoisonWatch()
        # A stop in the meantime waits for its commit as well.
        in_time = await asyncio.shield(self._close(inlet_end, deadline_s, destroy_deadline_s))
        self._outlet.forget_letters()
        return in_time

    def _close(self, end: StreamEnd, deadline_s: float, destroy_deadline_s: float) -> asyncio.Task[bool]:
        closing = end.close(deadline_s, destroy_deadline_s)
        task = asyncio.create_task(closing, name=f"close an end of {end.topic or 'no topic'}")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    def _wire_stdin(self) -> None:
        """Give the STDIN in our hands to the inlet, if there are both."""
        if self._inlet is not None and self._run is not None and self._stdin_fd >= 0 and not self._run_exited:
            stdin_fd, self._stdin_fd = self._stdin_fd, -1
            counters = self._inlet.snapshot()
            self._counters_at_start |= {name: counters[name] for name in ("lines_written", "bytes_written")}
            self._inlet.attach(stdin_fd, self._run.pid)
            self._undone = 0
            self._fed = True

    def _close_held_stdin(self) -> None:
        if self._stdin_fd >= 0:
            os.close(self._stdin_fd)
            self._stdin_fd = -1

    # ---------------------------------------------------------------- the end

    def stop_taking(self, grace_s: float) -> None:
        """Write no further record; what is in flight goes on, and gets ``grace_s`` and the flush deadline to end."""
        self._end_within(grace_s + FLUSH_DEADLINE_S)
        self._consumer_renewal.cancel()
        if self._inlet is not None:
            self._inlet.drain(True)
        if self.lifecycle.state in (RelayState.FLOWING, RelayState.PAUSED):
            self.lifecycle.change(RelayState.DRAINING, "the Supervisor stops")

    def shorten_end(self) -> None:
        """The grace was cut short: lines of a dead Calculator that cannot be delivered get the flush deadline alone."""
        if self._stop_end_s < math.inf:
            self._end_within(FLUSH_DEADLINE_S)

    def _end_within(self, bound_s: float) -> None:
        self._stop_end_s = min(self._stop_end_s, time.monotonic() + bound_s)
        self._end_at_s = self._stop_end_s - _FLUSH_S - _GOODBYE_S

    async def stop(self) -> Mapping[str, int]:
        """After ``stop_taking``, when the Calculator is gone: deliver, commit, leave the group in the time set there.

        A client of librdkafka that does not let go by then is left behind after _LEFT_BEHIND_S more. Returns what is
        left: ``records`` that were written to the Calculator and not acknowledged, ``undelivered`` lines.
        """
        self._stop_watching()
        in_time = await self._until(self._settled, self._stop_end_s - _GOODBYE_S - time.monotonic())
        left = self._in_flight()
        left["records"] = max(left["records"], self._undone)
        if not in_time:
            log.warning("not everything could be delivered; its records will be read again", **left)
        incoming = self.incoming
        left_s = max(0.0, self._stop_end_s - time.monotonic())
        committed = await self._end_inlet(min(left_s, FLUSH_DEADLINE_S), _LEFT_BEHIND_S)
        if self._closing:
            left_s = max(0.0, self._stop_end_s - time.monotonic())
            await asyncio.wait(self._closing, timeout=left_s + _LEFT_BEHIND_S)
        await self.outgoing.close(0.0, _LEFT_BEHIND_S)
        self._close_held_stdin()
        error = incoming.error if incoming is not None else self.outgoing.error
        self.lifecycle.change(RelayState.STOPPED, self._how_it_ended(left, error, committed=committed))
        return left

    def _how_it_ended(self, left: Mapping[str, int], error: str | None, *, committed: bool) -> str:
        """Say what becomes of what was in flight."""
        if left["records"]:
            fate = "are lost" if self._settings.processing_guarantee == "at-most-once" else "come again"
            return f"{left['records']} records were written to the Calculator and not acknowledged, and {fate}"
        if left["undelivered"]:
            return f"{left['undelivered']} lines could not be delivered"
        if error is not None or not committed:
            return f"what could not be committed comes again: {error or 'the consumer did not end in time'}"
        return "flushed and committed"

    async def let_go(self) -> Mapping[str, int]:
        """Drop the native ends after ``stop``, when nobody looks any more; return what native memory there is still."""
        self._closing.clear()
        self._failed_end = None
        del self.outgoing, self._outlet, self._consumer_renewal
        gc.collect()  # the error of a task that was cancelled keeps the frames it went through, and they their ends
        # One that never ran, because the change that it was for was broken off, ends in the background.
        left_s = max(0.0, self._stop_end_s + _LEFT_BEHIND_S - time.monotonic())
        await self._until(lambda: not any(live().values()), min(left_s, _LEFT_BEHIND_S))
        return live()

    def _settled(self) -> bool:
        answered = 0
        if self._inlet is not None:
            counters = self._inlet.snapshot()
            answered = counters["unacknowledged"] - counters["unanswered"]
        letters = self._outlet.snapshot()["dead_letters_waiting"]
        return answered == 0 and letters == 0 and self._delivered()

    async def _until(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        end_s = time.monotonic() + deadline_s
        while not condition():
            if time.monotonic() >= end_s:
                return False
            await asyncio.sleep(_POLL_S)
        return True

    # ---------------------------------------------------------------- what it logs in with

    def log_in_with(self, password: str) -> None:
        """Let the clients, and those that are made later, log in with this password from the next connection on."""
        self._password = password
        self._log_in(self._outlet)
        if self._inlet is not None:
            self._log_in(self._inlet)

    def _log_in(self, end: Inlet | Outlet) -> None:
        """Also of one that was made while the password changed."""
        if self._password is not None:
            end.log_in_with(self._environment.kafka_sasl_username or "", self._password)

    # ---------------------------------------------------------------- what it looks like

    @property
    def settings_in_force(self) -> Mapping[str, tuple[str, str]]:
        """Of each setting that may stand in the KV directory, by key: its value as text, and where that comes from."""
        return self.settings.kv_in_force()

    @property
    def settings(self) -> Settings:
        """Those in force: the environment's, with the KV directory's over them while there is a route."""
        return self._settings if self.route is not None else self._environment

    @property
    def has_incoming(self) -> bool:
        """Whether the route in force has an incoming stream."""
        return incoming_of(self.route) is not None

    @property
    def dead_letter_stream(self) -> str | None:
        """Where dead letters go."""
        return self._settings.dead_letter_stream

    @property
    def consumer_unstable(self) -> str | None:
        """The fatal error for which the consumer was made anew, until the new one has proved stable."""
        return self._consumer_renewal.unstable

    def inlet_counters(self) -> Mapping[str, int]:
        """Counters of the incoming side; empty without one."""
        return self.incoming.counters() if self.incoming is not None else {}

    def outlet_counters(self) -> Mapping[str, int]:
        """Counters of the outgoing side."""
        return self.outgoing.counters()

    def look_at_counters(self) -> None:
        """Say what did not go as it should, and forget a trouble that is over; call it now and then."""
        counters = self.outlet_counters()
        self._complaints.look(counters)
        self._complaints_of_inlet.look(self.inlet_counters())
        if counters["dead_letter_error"] == 0:
            self.dead_letter_trouble = None

    def seen(self) -> Seen:
        """What the hints are worked out from, now."""
        return Seen(
            run=self._run.number if self._run is not None and not self._run_exited else None,
            start=self._counters_at_start,
            flowing=self.lifecycle.state is RelayState.FLOWING,
            prints=outgoing_of(self.route) is not None,
            acked_by_lines=self._settings.ack_mode != "demand",
            window_records=self._settings.max_in_flight_records,
            window_bytes=self._settings.max_in_flight_bytes,
            inlet=self.inlet_counters(),
            outlet=self.outlet_counters(),
            throttled=self._producer_throttling.at(time.monotonic()) is not None,
        )

    def throttled(self) -> tuple[Throttled, ...]:
        """The clients that brokers slow down because of a quota."""
        now_s = time.monotonic()
        found = (self._producer_throttling.at(now_s), self._consumer_throttling.at(now_s))
        return tuple(throttled for throttled in found if throttled is not None)

    def unreadable(self) -> tuple[Unreadable, ...]:
        """The partitions that stop at a batch that cannot be read."""
        return self._unreadable.at(time.monotonic()) if self._inlet is not None else ()

    def lag(self) -> Mapping[int, tuple[int, int]]:
        """Of each partition: (acknowledged offset, high watermark), negative where not known."""
        return self._inlet.lag() if self._inlet is not None else {}

    def _on_inlet_notice(self, kind: str, code: int, text: str) -> None:
        if kind in ("assigned", "revoked"):
            event = "partitions assigned" if kind == "assigned" else "partitions given up"
            log.debug(event, topic=text, partitions=code)
            self._rebalances.notice()
        elif kind == "unreadable":
            self._unreadable.notice(code, text, time.monotonic())
        elif kind == "protocol":
            log.error("the Calculator broke the rule of ACK_MODE=line, one line out for each line in", why=text)
            if self._run is not None and not self._run_exited:  # else it is over, and the next has done nothing yet
                self._fail_run(f"ACK_MODE=line was broken: {text}")
        elif kind == "echo-owed":
            log.warning(
                "the Calculator waits for input and has not echoed the marker lines of ACK_MODE=marker",
                unacknowledged_records=self._in_flight()["records"],
                remedy="let it print each line that begins with MARKER_PREFIX as it is",
            )
        elif kind in ("survived-suspect", "survived-poison"):
            self.poison.supervisor_ended(kind, incoming_of(self.route), text, code, self._settings)
        elif kind == "cleared":
            self.poison.trouble = None
            log.info("every record that was written alone was answered; the flow goes on")
        elif kind == "not-alone":
            log.warning(
                "records cannot be tried alone: the Calculator's threads cannot be looked at, so nothing shows when it "
                "is done with one; they are written as usual again",
                remedy="ACK_MODE=line, or let the Supervisor and the Calculator run as one user",
            )
        elif kind in ("fatal", "replaced") and self._inlet is not None:  # else it is being closed already
            self._failed_end = self.incoming
            self._inlet.drain(True)  # its offsets are nobody's: write no more than there is already
            if kind == "fatal":
                self._consumer_renewal.fatal(f"{text}: {remedy(code)}")
            else:
                self._consumer_renewal.replaced(
                    f"the topic '{text}' was deleted and made again: it is read from its beginning"
                )
        elif kind == "stdin-broken":
            log.debug("the Calculator closed its STDIN", errno=code)

    def _on_outlet_notice(self, kind: str, code: int, text: str) -> None:
        if kind == "stdout-ended":
            self._stdout_ended.set()
        elif kind == "aborted":
            log.warning("transaction aborted; its records will be written again", why=text, code=code)
            if self._run is None and self._inlet is not None:
                self._inlet.forget()
            elif (
                self._outlet.voided and not self._run_exited and not (self._inlet is not None and self._inlet.recall())
            ):
                self._fault_is_ours = True
                self._fail_run(f"the Kafka transaction was aborted: {text}")
        elif kind == "letter-refused":
            self.dead_letter_trouble = Trouble.now(text)
            log.error("the dead letter stream does not take a record; it waits, and all behind it",
                      topic=self._settings.dead_letter_stream, error=text, code=code)  # fmt: skip
        elif kind == "oversize-line":
            if self._settings.dead_letter_stream is None:
                log.error("line over MAX_LINE_BYTES dropped", max_line_bytes=code)
            else:
                log.error("line over MAX_LINE_BYTES: its beginning becomes a dead letter", max_line_bytes=code)
        elif kind == "unproducible":
            log.error("line dropped: the broker does not take it", topic=outgoing_of(self.route), error=text)
