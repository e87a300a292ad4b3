"""Facts of an instance in each of the twelve states, by the state's word."""

from __future__ import annotations

from typing import Any

from supervisor.health import Facts
from supervisor.hints import Hint, Kind
from supervisor.route import Route
from supervisor.states import CalculatorState, DaemonState, RelayState, RouteState
from tests.unit.facts import INLET, OUTLET, facts

_REST = {"in_flight_records": 0, "in_flight_bytes": 0, "unacknowledged": 0, "unanswered": 0}
_STILL: dict[str, Any] = {"inlet": {**INLET, **_REST}, "outlet": {**OUTLET, "undelivered": 0}, "lag": {0: (150, 150)}}
_NO_ROUTE: dict[str, Any] = {"route": None, "relay": RelayState.IDLE, "inlet": {}, "lag": {}, "adopted_version": None}
_STALLED = Hint(
    Kind.STALLED,
    "nothing of 131 records in flight has been acknowledged: it neither reads nor prints, so it is at work on what it "
    "has read, or it hangs; CALCULATOR_TIMEOUT restarts one that hangs",
    warns=True,
    for_s=75.0,
)
_TRACEBACK = ("Traceback (most recent call last):", '  File "/opt/app/model.py", line 12', "ValueError: bad weights")

STATES: dict[str, Facts] = {
    "flowing": facts(progress_ago_s=0.4, oldest_in_flight_s=0.3),
    "idle": facts(progress_ago_s=95.0, **_STILL),
    "paused": facts(
        relay=RelayState.PAUSED,
        relay_for_s=120.0,
        route=Route(version=7, incoming_stream="events", outgoing_stream="results", paused=True),
        **_STILL,
    ),
    "draining": facts(relay=RelayState.DRAINING, relay_for_s=2.0, route_state=RouteState.ADOPTING, route_for_s=2.0),
    "loading": facts(calculator=CalculatorState.LOADING, calculator_for_s=40.0, waits_to_join=True, **_STILL),
    "waiting for a route": facts(route_state=RouteState.ABSENT, route_for_s=600.0, **_NO_ROUTE),
    "refused route": facts(
        route_state=RouteState.REFUSED,
        route_for_s=30.0,
        route_problems=("desired_version is 'seven', which is no whole number",),
        **_NO_ROUTE,
    ),
    "blocked on Kafka": facts(
        producer_error="3 of 3 brokers are down: connect to 10.0.0.5:9092 failed: Connection refused",
        producer_error_for_s=80.0,
        oldest_in_flight_s=80.0,
    ),
    "hanging": facts(hints=(_STALLED,), oldest_in_flight_s=75.0, progress_ago_s=75.0),
    "crash loop": facts(
        calculator=CalculatorState.CRASH_LOOP,
        calculator_for_s=300.0,
        calculator_pid=None,
        calculator_failures=9,
        restarts=9,
        last_exit="status 1",
        last_failure="ended with status 1 after 0.4 s",
        last_failure_ago_s=3.0,
        last_failure_words="ValueError: bad weights",
        last_stderr_line=_TRACEBACK[-1],
        stderr_lines=_TRACEBACK,
    ),
    "poison": facts(
        calculator=CalculatorState.CRASH_LOOP,
        calculator_failures=4,
        restarts=4,
        last_failure="was killed by SIGSEGV",
        last_failure_words="",
        poison="events [2] offset 8812",
        poison_for_s=200.0,
    ),
    "stopping": facts(daemon=DaemonState.STOPPING, calculator=CalculatorState.STOPPING, calculator_for_s=1.0),
}
