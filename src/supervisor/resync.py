"""Watch the KV directory, settle, adopt, report ``adopted_version``.

Level-triggered: what to do follows from the latest snapshot and the route in force, whatever happened in between. The
manager's keys arrive one by one in any order; every interleaving, a crash of ours and a lost answer included, ends in
the same place because each pass begins with a fresh look.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

import structlog

from supervisor import route as route_
from supervisor.agent import ConsulAgent, KvDirectory
from supervisor.backoff import Backoff
from supervisor.errors import AgentError, RouteError, SupervisorError
from supervisor.logs import state_changed
from supervisor.route import Route
from supervisor.settings import Settings, squeezed
from supervisor.states import ROUTE, Lifecycle, RouteState

log = structlog.get_logger("supervisor.resync")

# How long the directory must be still before it is acted on: nothing hints at keys that are still on their way,
SETTLE_S: Final = 0.1
# something does,
PATIENCE_S: Final = 0.5
# it may be half a route: to join one route's incoming to another's outgoing topic cannot be taken back.
HALF_A_ROUTE_S: Final = 2.0
SETTLE_LIMIT_S: Final = 2.5
LOOK_EVERY_S: Final = 0.05
AGENT_BACKOFF_MAX_S: Final = 5.0  # one heartbeat: so soon after the agent answers again all is right
ADOPT_BACKOFF_MAX_S: Final = 15.0
LOOKS_PER_S: Final = 5.0
LOOKS_AT_ONCE: Final = 50


class Action(enum.Enum):
    """What a snapshot asks for."""

    ADOPT = "adopt"
    REPORT = "report"
    REFUSE = "refuse"
    WAIT = "wait"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Decision:
    """``route`` is what to adopt (None: stop the streams), ``problems`` why it is refused.

    ``still_s``: how long the directory must have been still before that is done.
    """

    action: Action
    route: Route | None = None
    problems: tuple[str, ...] = ()
    still_s: float = PATIENCE_S


def decide(entries: Mapping[str, bytes] | None, in_force: Route | None, settings: Settings) -> Decision:
    """Say what a snapshot of the directory asks for, given the route in force and the environment's settings."""
    # What is left without the manager's keys is a deleted directory: it deleted while we reported, or somebody wrote
    # settings of a workspace that is not routed.
    if entries is None or not route_.MANAGERS_KEYS & entries.keys():
        return Decision(Action.WAIT) if in_force is None else Decision(Action.ADOPT)
    try:
        route = route_.parse(entries, settings)
    except RouteError as error:
        return Decision(Action.REFUSE, problems=error.problems)
    if route is None:
        if in_force is None:
            return Decision(Action.WAIT)
        return Decision(
            Action.REFUSE, problems=(f"{route_.DESIRED_VERSION} is missing, expected a whole number above 0",)
        )
    adopted = route_.adopted_version(entries)
    if route != in_force:
        return Decision(Action.ADOPT, route, still_s=_still_s(route, in_force, adopted))
    # A larger one is a replica's that is ahead of us, and not ours to take back.
    return Decision(Action.REPORT if adopted < route.version else Action.NOTHING, route)


def _still_s(route: Route, in_force: Route | None, adopted: int) -> float:
    """How long to wait for keys that may still be on their way.

    The manager raises the version with every change of the streams, and writes 0 to ``adopted_version`` with it, in
    any order. Settings often come in pairs (a guarantee and its acknowledgement), and by hand without a version: each
    change of them may be followed by another.
    """
    if in_force is None:
        # A 0 may have been left by a change that is not written to its end, and nothing tells its halves apart.
        restarted = adopted >= route.version and route.outgoing_stream is not None
        return SETTLE_S if restarted else PATIENCE_S
    if replace(route, paused=in_force.paused) == in_force:
        return SETTLE_S
    if _maybe_half(route, in_force):
        return HALF_A_ROUTE_S
    new_version_told = route.version != in_force.version and (adopted == 0 or adopted >= route.version)
    return SETTLE_S if new_version_told else PATIENCE_S


def _maybe_half(route: Route, in_force: Route) -> bool:
    """Whether one of the streams may be the new route's and the other still the old one's.

    One side alone changed; or streams changed under the old version, so that the change is not written to its end; or
    the outgoing stream is gone, and the lines that a consumer's Calculator prints are dropped for good.
    """
    incoming_changed = route.incoming_stream != in_force.incoming_stream
    outgoing_changed = route.outgoing_stream != in_force.outgoing_stream
    if route.version == in_force.version:
        return incoming_changed or outgoing_changed
    return incoming_changed != outgoing_changed or (outgoing_changed and route.outgoing_stream is None)


def pause_ahead(decision: Decision, in_force: Route | None) -> Route | None:
    """Return the route in force, paused, if the directory says to pause and something else that has to settle."""
    route = decision.route
    if decision.action is not Action.ADOPT or route is None or in_force is None:
        return None
    if not route.paused or in_force.paused or decision.still_s <= SETTLE_S:
        return None
    return replace(in_force, paused=True)


class Settling:
    """Tells when the directory has been still for long enough; a storm postpones that up to SETTLE_LIMIT_S."""

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._still_since_s = now_s
        self._seen: tuple[object, object] | None = None

    def rest_s(self, now_s: float, snapshot: KvDirectory, decision: Decision) -> float:
        """Return how many seconds are left if ``snapshot``, just read, is not followed by another one."""
        seen = (snapshot.entries, snapshot.modify_indexes)
        if seen != self._seen:
            self._seen = seen
            self._still_since_s = now_s
        return max(0.0, min(self._still_since_s + decision.still_s, self._began_s + SETTLE_LIMIT_S) - now_s)


def next_index(waited_for: int, returned: int) -> int:
    """Return the index to wait beyond: one that went backwards begins anew, below 1 a query would never block."""
    return 0 if returned < waited_for else max(1, returned)


class TokenBucket:
    """A bound on the rate of looks: neighbours' writes wake the query for a directory that does not exist."""

    def __init__(self, rate_per_s: float, burst: int, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one token and return how many seconds to wait before using it."""
        self._tokens = min(float(self._burst), self._tokens + (now_s - self._at_s) * self._rate_per_s) - 1
        self._at_s = now_s
        return max(0.0, -self._tokens / self._rate_per_s)


class RestartKey:
    """Tells when `restart_calculator` asks for a restart: with a value that was not there at the look before.

    The first look never does: the Calculator was started no earlier than this Supervisor. Nor does a key that is
    deleted; a directory that is not there, which may come back as it was, changes nothing of what is remembered.
    """

    def __init__(self) -> None:
        self._seen: bytes | None = None
        self._looked = False

    def asks(self, entries: Mapping[str, bytes] | None) -> bool:
        """Look at a snapshot of the directory."""
        value = self._seen if self._looked and entries is None else (entries or {}).get(route_.RESTART_CALCULATOR)
        changed = self._looked and value is not None and value != self._seen
        self._seen = value
        self._looked = True
        return changed


class Resync:
    """Keeps the route in force the one of the KV directory while ``run`` runs.

    ``adopt`` puts a route in force (None: stops the streams) and raises SupervisorError if it could not.
    ``restart(why)`` restarts the Calculator in order.

    ``route`` is the one in force, ``problems`` what is wrong with the one in the directory, ``agent_error`` why the
    directory cannot be read now and ``agent_error_since_s`` since when (monotonic). ``adopted_version`` is the last one
    reported, ``adoption_delay_s`` the time from the first sight of the last route to its being in force.
    """

    def __init__(
        self,
        agent: ConsulAgent,
        settings: Settings,
        adopt: Callable[[Route | None], Awaitable[None]],
        restart: Callable[[str], Awaitable[None]],
    ) -> None:
        self.lifecycle = Lifecycle("route", ROUTE, RouteState.UNKNOWN, state_changed)
        self.route: Route | None = None
        self.problems: tuple[str, ...] = ()
        self.agent_error: str | None = None
        self.agent_error_since_s: float | None = None
        self.adopted_version: int | None = None
        self.adoption_delay_s: float | None = None
        self._agent = agent
        self._settings = settings
        self._directory = settings.kv_directory
        self._interval_s = settings.consul_resync_interval_s
        self._adopt_route = adopt
        self._restart = restart
        self._restart_key = RestartKey()
        self._looks = TokenBucket(LOOKS_PER_S, LOOKS_AT_ONCE, time.monotonic())
        self._look_asked = asyncio.Event()
        self._query: asyncio.Task[KvDirectory] | None = None
        self._adopt_backoff = Backoff(ADOPT_BACKOFF_MAX_S)
        self._noticed_s: float | None = None
        self._unknown_keys: set[str] = set()
        self._agent_error_kind: type[AgentError] | None = None
        agent.on_restored.append(self.look_now)

    def look_now(self) -> None:
        """Read the directory at once, without waiting for a change."""
        self._look_asked.set()

    async def run(self) -> None:
        """Watch and adopt until cancelled."""
        backoff = Backoff(min(self._interval_s, AGENT_BACKOFF_MAX_S))
        index = 0
        try:
            while True:
                try:
                    await asyncio.sleep(self._looks.take(time.monotonic()))
                    snapshot = await self._converge(await self._look(index))
                except AgentError as error:
                    self._agent_failed(error)
                    index = 0  # the agent may have begun anew
                    with suppress(TimeoutError):
                        async with asyncio.timeout(backoff.failed()):
                            await self._look_asked.wait()
                    continue
                index = next_index(index, snapshot.index)
                backoff.reset()
                self._agent_answered()
                # Behind what else changed: a run that is new for that is restarted once more, and no order is missed.
                if self._restart_key.asks(snapshot.entries):
                    await self._restart(f"the key {route_.RESTART_CALCULATOR} changed")
        finally:
            if self._query is not None:
                self._query.cancel()

    async def _look(self, index: int) -> KvDirectory:
        """Wait for a change beyond ``index``, for the interval's end, or for being asked to look."""
        if self._query is None:
            self._query = asyncio.create_task(self._agent.kv_directory(index, self._interval_s))
        asked = asyncio.create_task(self._look_asked.wait())
        try:
            await asyncio.wait({self._query, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        self._look_asked.clear()
        if self._query.done():
            query, self._query = self._query, None
            return query.result()
        # The blocking query stays: giving it up would leave a thread waiting for its answer.
        return await self._agent.kv_directory(0, 0)

    async def _converge(self, snapshot: KvDirectory) -> KvDirectory:
        """Act until the directory asks for nothing more; return the last snapshot."""
        while True:
            decision = decide(snapshot.entries, self.route, self._settings)
            if decision.action is Action.ADOPT or (
                decision.action is Action.REFUSE and decision.problems != self.problems
            ):
                if self._noticed_s is None:
                    self._noticed_s = time.monotonic()
                snapshot, decision = await self._settle(snapshot)
            if decision.action is Action.ADOPT:
                self._log_unknown(snapshot.entries)
                if not await self._adopt(decision.route):
                    return snapshot
            elif decision.action is Action.REPORT and decision.route is not None:
                await self._report(decision.route.version, snapshot)
            else:
                self._rest(decision)
                return snapshot
            await asyncio.sleep(self._looks.take(time.monotonic()))
            snapshot = await self._agent.kv_directory(0, 0)

    async def _settle(self, snapshot: KvDirectory) -> tuple[KvDirectory, Decision]:
        """Read again until one full snapshot is stable."""
        settling = Settling(time.monotonic())
        while True:
            decision = decide(snapshot.entries, self.route, self._settings)
            paused = pause_ahead(decision, self.route)
            if paused is not None:  # the streams may have to wait, a pause never does
                return snapshot, Decision(Action.ADOPT, paused)
            rest_s = settling.rest_s(time.monotonic(), snapshot, decision)
            if rest_s == 0 or decision.action not in (Action.ADOPT, Action.REFUSE):
                return snapshot, decision
            # In a storm the directory never settles: these looks are bounded as all others are.
            look_s = max(LOOK_EVERY_S, decision.still_s / 10)
            await asyncio.sleep(max(min(rest_s, look_s), self._looks.take(time.monotonic())))
            snapshot = await self._agent.kv_directory(0, 0)

    async def _adopt(self, route: Route | None) -> bool:
        what = f"version {route.version}" if route is not None else "the directory was deleted"
        self.lifecycle.change(RouteState.ADOPTING, what)
        try:
            await self._adopt_route(route)
        except SupervisorError as error:
            again_s = self._adopt_backoff.failed()
            self._refuse((f"{what} could not be put in force: {error}",))
            asyncio.get_running_loop().call_later(again_s, self.look_now)
            return False
        self._adopt_backoff.reset()
        self.route = route
        self.problems = ()
        if self._noticed_s is not None:
            self.adoption_delay_s = time.monotonic() - self._noticed_s
            self._noticed_s = None
        if route is None:
            self.adopted_version = None
            self.lifecycle.change(RouteState.ABSENT, f"{what}: {self._directory}")
        else:
            self.lifecycle.change(RouteState.IN_FORCE, what)
        return True

    async def _report(self, version: int, snapshot: KvDirectory) -> None:
        """Write ``adopted_version``; if somebody was faster, the next look tells what to do."""
        modify_index = snapshot.modify_indexes.get(route_.ADOPTED_VERSION, 0)
        if await self._agent.kv_cas(route_.ADOPTED_VERSION, str(version), modify_index):
            self.adopted_version = version
            log.info("adopted version reported", version=version)

    def _rest(self, decision: Decision) -> None:
        """Nothing to do: say in which state that is."""
        self._noticed_s = None
        if decision.action is Action.REFUSE:
            self._refuse(decision.problems)
            return
        self.problems = ()
        if self.route is None:
            if self.lifecycle.state is not RouteState.ABSENT:
                self.lifecycle.change(RouteState.ABSENT, f"no route in the KV directory '{self._directory}' yet")
            return
        self.adopted_version = self.route.version
        if self.lifecycle.state is not RouteState.IN_FORCE:
            self.lifecycle.change(RouteState.IN_FORCE, f"the directory says version {self.route.version} again")

    def _refuse(self, problems: tuple[str, ...]) -> None:
        if problems != self.problems:
            self.problems = problems
            log.error(
                "configuration refused",
                directory=self._directory,
                problems=list(problems),
                in_force=self.route.version if self.route is not None else None,
            )
        if self.lifecycle.state is not RouteState.REFUSED:
            self.lifecycle.change(RouteState.REFUSED, "; ".join(problems))

    def _agent_failed(self, error: AgentError) -> None:
        if self.agent_error is None:
            self.agent_error_since_s = time.monotonic()
        if type(error) is not self._agent_error_kind:  # away and then refusing is two things to know
            kept = f"version {self.route.version} stays in force" if self.route is not None else "no route in force"
            log.warning("configuration cannot be read", error=str(error), meanwhile=kept)
        self.agent_error = str(error)
        self._agent_error_kind = type(error)

    def _agent_answered(self) -> None:
        if self.agent_error is not None:
            self.agent_error = self.agent_error_since_s = self._agent_error_kind = None
            log.info("configuration can be read again")

    def _log_unknown(self, entries: Mapping[str, bytes] | None) -> None:
        unknown = (entries or {}).keys() - route_.KNOWN_KEYS - self._unknown_keys
        if unknown:
            self._unknown_keys |= unknown
            log.debug("unknown keys ignored", directory=self._directory, keys=sorted(unknown))
        ours = {squeezed(key): key for key in route_.KNOWN_KEYS}
        for key in sorted(unknown):
            if squeezed(key) in ours:
                meant = ours[squeezed(key)]
                log.warning(
                    "a key is not read, and nearly one that is", directory=self._directory, key=key, meant=meant
                )
