"""Health: which facts make which status, and that the sentence says what is wrong and since when."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.health import calculator_check, held_up, ready, shown, supervisor_check
from supervisor.hints import WATCH_NOTES, Hint, Kind, WatchNote
from supervisor.remedies import remedy
from supervisor.route import Route
from supervisor.standstill import LastRise, Standstill
from supervisor.states import CalculatorState, DaemonState, RelayState, RouteState
from tests.unit.facts import HEALTHY, INLET, OUTLET, facts

SILENT = Hint(Kind.SILENT, "it has read 40 records and printed nothing", warns=True, for_s=60.0)
STALLED = Hint(Kind.STALLED, "nothing of 40 records in flight has been acknowledged", warns=True, for_s=60.0)
UNDELIVERED = Hint(Kind.UNDELIVERED, "nothing has been acknowledged: look at the brokers", warns=True, for_s=60.0)
EVENT_LOOP = Hint(Kind.WATCH, WATCH_NOTES[WatchNote.EVENT_LOOP], warns=False, for_s=60.0, note=WatchNote.EVENT_LOOP)
OVERDUE = Hint(Kind.WATCH, WATCH_NOTES[WatchNote.REST_OVERDUE], warns=True, for_s=60.0, note=WatchNote.REST_OVERDUE)
PAUSED = Route(version=7, incoming_stream="events", outgoing_stream="results", paused=True)
PRODUCER_ONLY = Route(version=7, incoming_stream=None, outgoing_stream="results", paused=False)
CONSUMER_ONLY = Route(version=7, incoming_stream="events", outgoing_stream=None, paused=False)


def test_healthy_facts_pass_and_name_the_route() -> None:
    """Both checks pass and the output says which route is in force since when."""
    report = supervisor_check(HEALTHY)
    assert report.status == "passing"
    assert "version 7, 'events' to 'results'" in report.output
    assert "since 2026-03-01 11:00:00 UTC" in report.output
    assert "3 partitions assigned" in report.output
    assert calculator_check(HEALTHY).status == "passing"
    assert ready(HEALTHY) == (True, report.output)


SUPERVISOR_CASES: list[tuple[dict[str, Any], str, list[str]]] = [
    (
        {"route_state": RouteState.ABSENT, "route": None, "route_for_s": 60.0},
        "warning",
        ["No route yet", "buldozer/subordinate/wsp-7", "does not exist in Consul KV", "since 2026-03-01 11:59:00 UTC"],
    ),
    ({"route_state": RouteState.UNKNOWN, "route": None}, "warning", ["No route yet", "not been read"]),
    (
        {"route_state": RouteState.UNKNOWN, "route": None, "agent_error": "no answer from consul:8500"},
        "critical",
        ["no answer from consul:8500", "no records flow"],
    ),
    (
        {"route_state": RouteState.REFUSED, "route_problems": ("desired_version: met 'x'", "incoming_stream: empty")},
        "warning",
        ["refused", "desired_version: met 'x'; incoming_stream: empty", "version 7, 'events' to 'results'", "in force"],
    ),
    (
        {"route_state": RouteState.REFUSED, "route": None, "route_problems": ("incoming_stream: empty",)},
        "critical",
        ["refused", "incoming_stream: empty", "no route is in force"],
    ),
    (
        {"route": Route(7, "events", "events", paused=False)},
        "warning",
        ["the same topic, 'events'", "comes back", "route one of them to another topic"],
    ),
    ({"route_state": RouteState.ADOPTING, "route_for_s": 1.0}, "passing", ["on its way into force", "version 7"]),
    ({"route_state": RouteState.ADOPTING, "route_for_s": 60.0}, "warning", ["since 2026-03-01 11:59:00 UTC"]),
    ({"route_state": RouteState.ADOPTING, "route": None, "route_for_s": 1.0}, "warning", ["on its way into force"]),
    ({"adopted_version": 6}, "warning", ["version 7 has been in force", "adopted_version", "last written: 6"]),
    ({"adopted_version": 6, "route_for_s": 1.0}, "passing", []),
    ({"adopted_version": 8}, "passing", []),
    ({"route": PAUSED, "relay": RelayState.PAUSED}, "passing", ["paused by pause_stream since 2026-03-01 11:00:00"]),
    (
        {"agent_error": "no answer", "agent_error_for_s": 120.0},
        "warning",
        ["no answer", "since 2026-03-01 11:58:00 UTC", "last good route", "version 7"],
    ),
    (
        {"registration_error": "answered 403", "registration_error_for_s": 90.0},
        "warning",
        ["The service in Consul is not renewed since 2026-03-01 11:58:30 UTC", "may be old", "answered 403"],
    ),
    (  # one trouble, one sentence
        {"agent_error": "no answer", "registration_error": "refused", "registration_error_for_s": 90.0},
        "warning",
        ["Trouble with the Consul agent: no answer; records go on by the last good route"],
    ),
    (
        {"consumer_error": "all brokers down", "consumer_error_for_s": 30.0},
        "critical",
        ["incoming stream 'events'", "all brokers down", "since 2026-03-01 11:59:30 UTC"],
    ),
    (
        {"producer_error": "unknown topic", "producer_error_for_s": 30.0},
        "critical",
        ["outgoing stream 'results' since 2026-03-01 11:59:30 UTC: unknown topic"],
    ),
    (
        {"consumer_error": "authorization failed", "consumer_remedy": remedy(30)},
        "critical",
        ["authorization failed", "no records come in", "KAFKA_CONSUMER_GROUP"],
    ),
    (
        {"producer_error": "unknown topic", "producer_remedy": remedy(3)},
        "critical",
        ["unknown topic", "lines wait", "have the platform create it"],
    ),
    ({"consumer_unstable": "fenced"}, "warning", ["incoming stream 'events'", "made anew", "fenced", "60 s"]),
    (
        {"inlet": {**INLET, "assigned_partitions": 0, "group_steady": 0}, "unassigned_for_s": 60.0},
        "warning",
        ["no partition", "'events'", "since 2026-03-01 11:59:00", "does not come together"],
    ),
    (
        {"inlet": {**INLET, "assigned_partitions": 0}, "unassigned_for_s": 60.0},
        "passing",
        ["no partition assigned since 2026-03-01 11:59:00 UTC: the other members of the consumer group hold all of"],
    ),
    (
        {"inlet": {**INLET, "assigned_partitions": 0}, "waits_to_join": True, "calculator": CalculatorState.LOADING},
        "passing",
        ["the consumer group is joined when the Calculator takes input"],
    ),
    (
        {"inlet": {**INLET, "assigned_partitions": 0}, "unassigned_for_s": 2.0},
        "passing",
        ["joining the consumer group"],
    ),
    (
        {"inlet": {**INLET, "unplaced_partitions": 2}, "unplaced_for_s": 60.0},
        "warning",
        ["'events'", "of 2 partitions no records", "since 2026-03-01 11:59:00", "transaction", "look at the brokers"],
    ),
    ({"inlet": {**INLET, "unplaced_partitions": 2}, "unplaced_for_s": 10.0}, "passing", ["3 partitions assigned"]),
    ({"relay": RelayState.DRAINING, "relay_for_s": 60.0}, "warning", ["draining since 2026-03-01 11:59:00 UTC"]),
    (
        {"outlet": {**OUTLET, "lines_oversize": 1}, "oversize_ago_s": 60.0},
        "warning",
        ["1 line ", "over MAX_LINE_BYTES dropped", "the last at 2026-03-01 11:59:00 UTC"],
    ),
    (
        {"outlet": {**OUTLET, "lines_unproducible": 3}, "unproducible_ago_s": 60.0},
        "warning",
        ["3 lines ", "the broker does not take", "the last at 2026-03-01 11:59:00 UTC"],
    ),
    ({"inlet": {**INLET, "dead_in_flight": 2}}, "critical", ["2 records wait", "DEAD_LETTER_STREAM"]),
    ({"poison": "events, partition 2, offset 7"}, "critical", ["events, partition 2, offset 7", "DEAD_LETTER_STREAM"]),
    (
        {"dead_letter_stream": "dead", "dead_letter_error": "Broker: Unknown topic or partition"},
        "critical",
        ["'dead'", "Unknown topic", "wait"],
    ),
    (
        {"outlet": {**OUTLET, "lines_oversize": 2}, "dead_letter_stream": "dead"},
        "warning",
        ["2 lines ", "cut to dead letters"],
    ),
    (
        {"output_stuck_for_s": 60.0},
        "warning",
        ["outgoing stream 'results'", "taken no line since 2026-03-01 11:59:00 UTC", "lines wait"],
    ),
    ({"output_stuck_for_s": 5.0}, "passing", []),
    ({"hints": (UNDELIVERED,)}, "warning", ["Since 2026-03-01 11:59:00 UTC: nothing has been acknowledged: look at"]),
    ({"hints": (SILENT, STALLED, EVENT_LOOP)}, "passing", []),  # the Calculator's check says it
    ({"calculator": CalculatorState.CRASH_LOOP}, "passing", ["records are held up: the Calculator is in a crash loop"]),
    ({"hints": (STALLED,)}, "passing", ["records are held up: the Calculator is not done with what it has"]),
    ({"daemon": DaemonState.STARTING}, "warning", ["starting"]),
    ({"daemon": DaemonState.STOPPING}, "warning", ["stopping"]),
    ({"route": CONSUMER_ONLY}, "passing", ["from 'events'", "dropped because there is no outgoing stream"]),
    ({"route": PRODUCER_ONLY, "inlet": {}}, "passing", ["to 'results'"]),
]


@pytest.mark.parametrize(("changes", "status", "words"), SUPERVISOR_CASES)
def test_supervisor_check_says_what_is_wrong(changes: dict[str, Any], status: str, words: list[str]) -> None:
    """Each situation has its status, and its sentence holds what a person needs."""
    report = supervisor_check(facts(**changes))
    assert report.status == status, report.output
    for word in words:
        assert word.lower() in report.output.lower()


def test_the_worst_problem_comes_first_and_none_is_hidden() -> None:
    """Several problems: the status is the worst one's, its sentence stands first, the others follow."""
    report = supervisor_check(facts(outlet={**OUTLET, "lines_oversize": 2}, consumer_error="all brokers down"))
    assert report.status == "critical"
    assert report.output.index("all brokers down") < report.output.index("MAX_LINE_BYTES")


FAILED_BEFORE = {
    "last_exit": "exit status 3",
    "last_failure": "ended by itself with exit status 3",
    "last_failure_ago_s": 3.0,
    "last_failure_words": "boom",
}
CALCULATOR_CASES: list[tuple[dict[str, Any], str, list[str]]] = [
    ({"restarts": 2}, "passing", ["running since 2026-03-01 11:00:00 UTC", "pid 4711", "2 restarts"]),
    (
        {"calculator": CalculatorState.CRASH_LOOP, "calculator_for_s": 50.0, "calculator_failures": 6},
        "critical",
        [
            "The Calculator has been in a crash loop since 2026-03-01 11:59:10 UTC: 6 failed runs in a row, the last ",
            "time it ended by itself with exit status 3 at 2026-03-01 11:59:57 UTC, on STDERR: 'boom'; it is",
            "started again and again, its records wait.",
        ],
    ),
    (
        {"calculator": CalculatorState.BACKOFF, "calculator_for_s": 0.0},
        "warning",
        ["ended by itself with exit status 3 at 2026-03-01 11:59:57 UTC", "'boom'", "started again"],
    ),
    (
        {"calculator": CalculatorState.BACKOFF, "last_failure_words": ""},
        "warning",
        ["exit status 3 at 2026-03-01 11:59:57 UTC, nothing on STDERR;"],
    ),
    (
        {"calculator": CalculatorState.BACKOFF, "last_failure_words": "no such file: '/var/model'"},
        "warning",
        ["on STDERR: \"no such file: '/var/model'\";"],
    ),
    (
        {
            "calculator": CalculatorState.CRASH_LOOP,
            "calculator_failures": 3,
            "last_failure": "could not be started: --bin: prog was not found",
            "last_failure_words": None,
        },
        "critical",
        ["the last time it could not be started: --bin: prog was not found at 2026-03-01 11:59:57 UTC; it is started"],
    ),
    (
        {"calculator_for_s": 2.0, "calculator_failures": 1},
        "warning",
        ["running since 2026-03-01 11:59:58 UTC, pid 4711, after it ended by itself with exit status 3", "10 s"],
    ),
    (
        {
            "calculator_for_s": 2.0,
            "calculator_failures": 1,
            "last_failure": "was killed by the Supervisor: it neither read nor printed for CALCULATOR_TIMEOUT, 30 s",
        },
        "warning",
        ["after it was killed by the Supervisor: it neither read nor printed for CALCULATOR_TIMEOUT, 30 s at 2026-"],
    ),
    ({"calculator_for_s": 2.0, "last_failure": None}, "passing", ["running since"]),
    ({"calculator_for_s": 20.0, "calculator_failures": 5, "restarts": 5}, "passing", ["5 restarts"]),
    (
        {"inlet": {**INLET, "stdin_broken": 1}, "stdin_broken_for_s": 60.0},
        "critical",
        ["but closed its STDIN at 2026-03-01 11:59:00 UTC and takes no records"],
    ),
    (
        {"inlet": {**INLET, "echo_owed": 1}, "echo_owed_for_s": 60.0},
        "warning",
        [
            "waits for input since 2026-03-01 11:59:00 UTC and has not echoed the marker lines",
            "110 records cannot be acknowledged",
            "MARKER_PREFIX",
        ],
    ),
    (
        {"stdin_stuck_for_s": 60.0},
        "warning",
        ["read nothing since 2026-03-01 11:59:00 UTC", "STDIN is full", "hangs"],
    ),
    ({"stdin_stuck_for_s": 60.0, "output_stuck_for_s": 60.0}, "warning", ["waits until its lines can be delivered"]),
    ({"stdin_stuck_for_s": 60.0, "producer_error": "down"}, "warning", ["waits until its lines can be delivered"]),
    ({"stdin_stuck_for_s": 5.0}, "passing", []),
    (
        {"hints": (SILENT,)},
        "warning",
        [
            "running since 2026-03-01 11:00:00 UTC, pid 4711. ",
            "Since 2026-03-01 11:59:00 UTC: it has read 40 records and printed nothing.",
        ],
    ),
    ({"hints": (STALLED,)}, "warning", ["pid 4711. Since 2026-03-01 11:59:00 UTC: nothing of 40 records in flight"]),
    ({"hints": (EVENT_LOOP,)}, "passing", ["pid 4711. It reads STDIN from an event loop", "ACK_IDLE"]),
    ({"hints": (UNDELIVERED,)}, "passing", []),  # the Supervisor's check says it
    (
        {"unsignallable_for_s": 60.0},
        "warning",
        ["It may not be signalled since 2026-03-01 11:59:00 UTC", "another user", "CAP_KILL", "capability KILL"],
    ),
    (
        {"unsignallable_for_s": 60.0, "calculator": CalculatorState.STOPPING},
        "warning",
        ["stopping since", "It may not be signalled"],
    ),
    ({"calculator": CalculatorState.STARTING}, "warning", ["starting since"]),
    (
        {"calculator": CalculatorState.LOADING, "calculator_for_s": 90.0},
        "passing",
        ["loading since 2026-03-01 11:58:30 UTC, pid 4711: it has neither come to wait for its STDIN nor taken"],
    ),
    (
        {
            "calculator": CalculatorState.LOADING,
            "calculator_for_s": 1.0,
            "calculator_failures": 1,
            "last_failure": "ended by itself",
        },
        "warning",
        ["loading since", "after it ended by itself"],
    ),
    ({"calculator": CalculatorState.STOPPING}, "warning", ["stopping since"]),
    ({"calculator": CalculatorState.STOPPED}, "critical", ["stopped since"]),
    ({"calculator": CalculatorState.STOPPED, "daemon": DaemonState.STARTING}, "warning", ["not started yet"]),
]


@pytest.mark.parametrize(("changes", "status", "words"), CALCULATOR_CASES)
def test_calculator_check_says_what_is_wrong(changes: dict[str, Any], status: str, words: list[str]) -> None:
    """Each state has its status; a failure is told with its exit status and what it said on STDERR."""
    report = calculator_check(facts(**FAILED_BEFORE | changes))
    assert report.status == status, report.output
    for word in words:
        assert word in report.output


def test_warnings_come_before_what_is_only_to_be_known() -> None:
    """Each is a sentence, and the worst makes the status."""
    report = calculator_check(facts(hints=(EVENT_LOOP, SILENT), unsignallable_for_s=5.0))
    assert report.status == "warning"
    order = [report.output.index(words) for words in ("may not be signalled", "printed nothing", "event loop")]
    assert order == sorted(order)


@pytest.mark.parametrize(
    "changes",
    [
        {"producer_error": "down"},
        {"output_stuck_for_s": 20.0},
        {"stdin_stuck_for_s": 20.0},
        {"stdin_stuck_for_s": 20.0, "producer_error": "down"},
    ],
)
def test_one_trouble_has_one_sentence(changes: dict[str, Any]) -> None:
    """What is told already, here or in the other check, is not told again as a hint."""
    told = facts(hints=(STALLED, UNDELIVERED), **changes)
    assert STALLED.words not in calculator_check(told).output
    if "stdin_stuck_for_s" not in changes or "producer_error" in changes:
        assert UNDELIVERED.words not in supervisor_check(told).output


HELD_UP: list[tuple[dict[str, Any], str]] = [
    ({"calculator": CalculatorState.CRASH_LOOP}, "the Calculator is in a crash loop"),
    ({"calculator": CalculatorState.BACKOFF}, "the Calculator is waiting to be started again"),
    ({"calculator": CalculatorState.STARTING}, "the Calculator is starting"),
    ({"inlet": {**INLET, "stdin_broken": 1}}, "the Calculator closed its STDIN"),
    ({"hints": (STALLED,)}, "the Calculator is not done with what it has"),
    ({"hints": (OVERDUE,)}, "the Calculator is not done with what it has"),
    ({"stdin_stuck_for_s": 20.0}, "the Calculator is not done with what it has"),
    ({"hints": (UNDELIVERED,)}, "Kafka takes no lines"),
    ({"producer_error": "all brokers down"}, "Kafka takes no lines"),
    ({"output_stuck_for_s": 20.0}, "Kafka takes no lines"),
    ({"consumer_error": "all brokers down"}, "Kafka gives no records"),
    ({"inlet": {**INLET, "assigned_partitions": 0}}, "no partition is assigned to this instance"),
    ({"inlet": {**INLET, "unplaced_partitions": 3}}, "the committed offsets are not known yet"),
    ({"poison": "events, partition 2, offset 7"}, "a record that ends the Calculator is tried again alone"),
    ({"dead_letter_error": "no such topic"}, "the dead letter stream takes nothing"),
]


@pytest.mark.parametrize(("changes", "why"), HELD_UP)
def test_what_holds_records_up_is_said(changes: dict[str, Any], why: str) -> None:
    """Whatever the route lets flow."""
    assert held_up(facts(**changes)) == why


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hints": (SILENT, EVENT_LOOP)},
        {"inlet": {**INLET, "unplaced_partitions": 1}},
        {"output_stuck_for_s": 1.0},
        {"route": PRODUCER_ONLY, "inlet": {}},
        {"calculator": CalculatorState.CRASH_LOOP, "relay": RelayState.PAUSED, "route": PAUSED},
        {"calculator": CalculatorState.CRASH_LOOP, "relay": RelayState.IDLE, "route": None},
    ],
)
def test_nothing_holds_records_up_that_flow_or_are_not_to(changes: dict[str, Any]) -> None:
    """A pause, no route, and what is only to be known."""
    assert held_up(facts(**changes)) is None


def test_a_first_run_that_is_young_passes() -> None:
    """A Calculator that never failed needs no probation."""
    assert calculator_check(facts(calculator_for_s=0.1)).status == "passing"


def test_a_closed_stdin_is_the_calculators_fault_alone() -> None:
    """The Supervisor's check does not blame Kafka for a Calculator that closed its STDIN."""
    told = facts(inlet={**INLET, "stdin_broken": 1}, consumer_error="the Calculator closed its STDIN")
    assert supervisor_check(told).status == "passing"
    assert calculator_check(told).status == "critical"


@pytest.mark.parametrize("state", list(CalculatorState))
@pytest.mark.parametrize("route_state", list(RouteState))
@pytest.mark.parametrize("daemon", list(DaemonState))
def test_every_combination_has_a_sentence(state: CalculatorState, route_state: RouteState, daemon: DaemonState) -> None:
    """No combination of states is without a sentence that begins and ends as one; ready needs all three."""
    for route in (HEALTHY.route, None):
        told = facts(calculator=state, route_state=route_state, daemon=daemon, route=route)
        is_ready, why = ready(told)
        for output in (supervisor_check(told).output, calculator_check(told).output, why):
            assert output[0].isupper()
            assert output.endswith(".")
            assert ".." not in output
        assert is_ready == (
            state is CalculatorState.RUNNING
            and route_state in (RouteState.IN_FORCE, RouteState.REFUSED)
            and daemon is DaemonState.RUNNING
            and route is not None
        )


NOT_READY: list[tuple[dict[str, Any], str]] = [
    ({"route_state": RouteState.ABSENT, "route": None}, "No route yet"),
    ({"route_state": RouteState.ADOPTING}, "on its way into force"),
    ({"calculator": CalculatorState.CRASH_LOOP}, "crash loop"),
    ({"inlet": {**INLET, "assigned_partitions": 0}, "relay_for_s": 0.1}, "No partition of incoming stream 'events'"),
    (
        {"inlet": {**INLET, "assigned_partitions": 0, "group_steady": 0}, "unassigned_for_s": 60.0},
        "No partition of incoming stream 'events'",
    ),
    (
        {
            "inlet": {**INLET, "assigned_partitions": 0},
            "unassigned_for_s": 60.0,
            "consumer_error": "unknown topic",
        },
        "unknown topic",
    ),
    ({"calculator": CalculatorState.LOADING}, "loading since"),
    ({"inlet": {**INLET, "stdin_broken": 1}}, "closed its STDIN"),
    ({"consumer_error": "all brokers down"}, "all brokers down"),
    ({"producer_error": "all brokers down"}, "all brokers down"),
    ({"daemon": DaemonState.STOPPING}, "stopping"),
    (
        {"route": PRODUCER_ONLY, "inlet": {}, "outlet": {**OUTLET, "brokers_up": -1, "lines_delivered": 0}},
        "not reported a connection",
    ),
]


@pytest.mark.parametrize(("changes", "words"), NOT_READY)
def test_not_ready_says_what_is_missing(changes: dict[str, Any], words: str) -> None:
    """Whatever is missing for the flow of records makes it not ready, by name."""
    is_ready, why = ready(facts(**changes))
    assert not is_ready
    assert words in why


@pytest.mark.parametrize(
    "changes",
    [
        {"route": PAUSED, "relay": RelayState.PAUSED},
        {"route": PRODUCER_ONLY, "inlet": {}},
        {"route": CONSUMER_ONLY},
        {"inlet": {**INLET, "assigned_partitions": 0}, "unassigned_for_s": 6.0},
        {"route_state": RouteState.REFUSED, "route_problems": ("x",)},
        {"agent_error": "no answer"},
    ],
)
def test_ready_while_the_last_good_route_is_in_force(changes: dict[str, Any]) -> None:
    """A pause, one side alone, no partition left, a refused change and an agent that is away leave it ready."""
    assert ready(facts(**changes))[0]


def test_foreign_text_is_one_bounded_line() -> None:
    """Control characters cannot break a sentence, and a long line is cut with a mark."""
    assert shown("a\x1b[31m\nb\x00") == "a [31m b"
    assert shown("x" * 300) == "x" * 199 + "…"
    report = calculator_check(
        facts(calculator=CalculatorState.CRASH_LOOP, last_failure="x" * 5000, last_failure_words="a\nb" + "y" * 5000)
    )
    assert "\n" not in report.output
    assert len(report.output) < 900


def test_a_standstill_is_full_and_does_not_move() -> None:
    """Each movement, and each moment at which it is not full, begins the time anew."""
    standstill = Standstill()
    steps = [(0.0, 5, True), (3.0, 5, True), (4.0, 6, True), (9.0, 6, True), (10.0, 6, False), (11.0, 6, True)]
    seen = [standstill.for_s(moved, now_s, full=full) for now_s, moved, full in steps]
    assert seen == [None, 3.0, None, 5.0, None, None]


def test_a_rise_is_remembered() -> None:
    """A counter that stays is no news; one that never rose has no time."""
    rise = LastRise()
    assert [rise.ago_s(count, now_s) for now_s, count in ((1.0, 0), (2.0, 3), (5.0, 3), (6.0, 4))] == [None, 0, 3, 0]
