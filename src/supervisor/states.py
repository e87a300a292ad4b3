"""Every lifecycle as an enum with its transition table, and the one changer of states.

The tables are the truth: an edge that is not in them raises. ``Lifecycle.change`` is the only way to change a state,
and it reports old state, new state and reason to an observer (the log). Standard library only.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from supervisor.errors import IllegalTransitionError


class CalculatorState(enum.Enum):
    """The child process."""

    STOPPED = "stopped"
    STARTING = "starting"
    LOADING = "loading"
    RUNNING = "running"
    BACKOFF = "backoff"
    CRASH_LOOP = "crash-loop"
    STOPPING = "stopping"


class RegistrationState(enum.Enum):
    """The service and its checks at the Consul agent."""

    UNREGISTERED = "unregistered"
    REGISTERED = "registered"
    LOST = "lost"
    DEREGISTERED = "deregistered"


class RouteState(enum.Enum):
    """What the KV directory says, and what is in force of it."""

    UNKNOWN = "unknown"
    ABSENT = "absent"
    ADOPTING = "adopting"
    IN_FORCE = "in-force"
    REFUSED = "refused"


class RelayState(enum.Enum):
    """The flow of records for the route in force."""

    IDLE = "idle"
    FLOWING = "flowing"
    PAUSED = "paused"
    DRAINING = "draining"
    STOPPED = "stopped"


class DaemonState(enum.Enum):
    """The process as a whole."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


S = TypeVar("S", bound=enum.Enum)
Table = Mapping[S, frozenset[S]]

CALCULATOR: Table[CalculatorState] = {
    CalculatorState.STOPPED: frozenset({CalculatorState.STARTING}),
    CalculatorState.STARTING: frozenset(
        {
            CalculatorState.LOADING,
            CalculatorState.RUNNING,
            CalculatorState.BACKOFF,
            CalculatorState.CRASH_LOOP,
            CalculatorState.STOPPED,
        }
    ),
    # It is to take input and has not come to that yet. A route with an incoming stream may find a run that loads.
    CalculatorState.LOADING: frozenset(
        {CalculatorState.RUNNING, CalculatorState.BACKOFF, CalculatorState.CRASH_LOOP, CalculatorState.STOPPING}
    ),
    CalculatorState.RUNNING: frozenset(
        {CalculatorState.LOADING, CalculatorState.BACKOFF, CalculatorState.CRASH_LOOP, CalculatorState.STOPPING}
    ),
    CalculatorState.BACKOFF: frozenset({CalculatorState.STARTING, CalculatorState.STOPPED}),
    # The attempts that follow belong to it; a run that proves stable ends it.
    CalculatorState.CRASH_LOOP: frozenset(
        {CalculatorState.LOADING, CalculatorState.RUNNING, CalculatorState.STOPPING, CalculatorState.STOPPED}
    ),
    CalculatorState.STOPPING: frozenset({CalculatorState.STARTING, CalculatorState.STOPPED}),
}
REGISTRATION: Table[RegistrationState] = {
    RegistrationState.UNREGISTERED: frozenset({RegistrationState.REGISTERED, RegistrationState.DEREGISTERED}),
    RegistrationState.REGISTERED: frozenset({RegistrationState.LOST, RegistrationState.DEREGISTERED}),
    RegistrationState.LOST: frozenset({RegistrationState.REGISTERED, RegistrationState.DEREGISTERED}),
    RegistrationState.DEREGISTERED: frozenset(),
}
ROUTE: Table[RouteState] = {
    RouteState.UNKNOWN: frozenset({RouteState.ABSENT, RouteState.ADOPTING, RouteState.REFUSED}),
    RouteState.ABSENT: frozenset({RouteState.ADOPTING, RouteState.REFUSED}),
    RouteState.ADOPTING: frozenset({RouteState.IN_FORCE, RouteState.REFUSED, RouteState.ABSENT}),
    # A deleted directory is adopted like a route: the streams have to stop first.
    RouteState.IN_FORCE: frozenset({RouteState.ADOPTING, RouteState.REFUSED}),
    RouteState.REFUSED: frozenset({RouteState.ADOPTING, RouteState.IN_FORCE, RouteState.ABSENT}),
}
RELAY: Table[RelayState] = {
    RelayState.IDLE: frozenset({RelayState.FLOWING, RelayState.PAUSED, RelayState.STOPPED}),
    RelayState.FLOWING: frozenset({RelayState.DRAINING, RelayState.PAUSED}),
    RelayState.PAUSED: frozenset({RelayState.FLOWING, RelayState.DRAINING}),
    RelayState.DRAINING: frozenset({RelayState.IDLE, RelayState.FLOWING, RelayState.PAUSED, RelayState.STOPPED}),
    RelayState.STOPPED: frozenset(),
}
DAEMON: Table[DaemonState] = {
    # What cannot start ends the process with an error; a stop that is asked for meanwhile waits for it.
    DaemonState.STARTING: frozenset({DaemonState.RUNNING}),
    DaemonState.RUNNING: frozenset({DaemonState.STOPPING}),
    DaemonState.STOPPING: frozenset({DaemonState.STOPPED}),
    DaemonState.STOPPED: frozenset(),
}


class Lifecycle(Generic[S]):
    """A state with its table. ``on_change(name, old, new, why)`` is told of every change, after it happened."""

    def __init__(self, name: str, table: Table[S], initial: S, on_change: Callable[[str, S, S, str], None]) -> None:
        self.name = name
        self.state = initial
        self.since_s = time.monotonic()
        self.why = ""
        self._table = table
        self._on_change = on_change

    def change(self, new: S, why: str) -> None:
        """Go to ``new`` because of ``why``; raise IllegalTransitionError if the table has no such edge."""
        old = self.state
        if new not in self._table[old]:
            raise IllegalTransitionError(f"{self.name}: no edge from {old.value} to {new.value} (asked for: {why})")
        self.state = new
        self.since_s = time.monotonic()
        self.why = why
        self._on_change(self.name, old, new, why)
