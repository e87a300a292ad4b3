"""Facts of a Supervisor in good order, to be varied by the tests of what is seen from outside."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from supervisor.health import Facts
from supervisor.route import Route
from supervisor.states import CalculatorState, DaemonState, RegistrationState, RelayState, RouteState

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
INLET = {
    "assigned_partitions": 3,
    "unplaced_partitions": 0,
    "records_read": 1_204_331,
    "bytes_read": 812_000_000,
    "tombstones": 2,
    "values_changed": 0,
    "lines_written": 1_204_310,
    "bytes_written": 813_000_000,
    "acknowledged": 1_204_200,
    "replayed": 17,
    "in_flight_records": 131,
    "in_flight_bytes": 88_000,
    "unacknowledged": 110,
    "unanswered": 64,
    "protocol_violations": 0,
    "dead_in_flight": 0,
    "markers_written": 0,
    "echo_owed": 0,
    "rule_broken": 0,
    "stdin_unread_bytes": 0,
    "stdin_full": 0,
    "stdin_full_ns": 1_500_000_000,
    "stdin_broken": 0,
    "rounds": 9000,
    "probes": 12,
    "brokers_up": 1,
    "group_steady": 1,
    "notices_dropped": 0,
}
OUTLET = {
    "lines_read": 1_204_280,
    "bytes_read": 790_000_000,
    "markers_echoed": 0,
    "lines_delivered": 1_204_250,
    "bytes_produced": 901_000_000,
    "lines_discarded": 0,
    "lines_oversize": 0,
    "lines_unproducible": 0,
    "lines_abandoned": 0,
    "lines_lost": 0,
    "lines_not_json": 4,
    "lines_repaired": 1,
    "lines_with_nul": 0,
    "dead_letters_delivered": 0,
    "dead_letter_error": 0,
    "dead_letters_in_flight": 0,
    "retries": 0,
    "undelivered": 30,
    "last_error": 0,
    "call_ms": 0,
    "transaction_open": 0,
    "transactions_committed": 0,
    "transactions_aborted": 0,
    "lines_since_marker": 0,
    "output_full": 0,
    "output_full_ns": 250_000_000,
    "kept_bytes": 0,
    "slabs_live": 1,
    "slab_bytes": 1 << 20,
    "returned_bytes": 0,
    "key_bytes": 0,
    "reads": 8000,
    "brokers_up": 1,
    "notices_dropped": 0,
}
HEALTHY = Facts(
    node_id="wsp-7",
    version="0.1.0",
    daemon=DaemonState.RUNNING,
    calculator=CalculatorState.RUNNING,
    calculator_for_s=3600.0,
    calculator_pid=4711,
    restarts=0,
    last_exit=None,
    last_stderr_line=None,
    route_state=RouteState.IN_FORCE,
    route_for_s=3600.0,
    route=Route(version=7, incoming_stream="events", outgoing_stream="results", paused=False),
    adopted_version=7,
    route_problems=(),
    agent_error=None,
    relay=RelayState.FLOWING,
    relay_for_s=3600.0,
    consumer_error=None,
    producer_error=None,
    inlet=INLET,
    outlet=OUTLET,
    lag={0: (100, 150), 1: (40, 40), 2: (-1001, 12)},
    registration=RegistrationState.REGISTERED,
    agent_errors_total=0,
    adoption_delay_s=0.25,
    kv_directory="buldozer/subordinate/wsp-7",
    settings={"ack_mode": ("line", "KV")},
    max_in_flight_records=10_000,
    max_in_flight_bytes=64 << 20,
    taken_at=NOON,
)


def facts(**changes: Any) -> Facts:
    """Return healthy facts with some of them changed."""
    return replace(HEALTHY, **changes)
