"""Health: what the parts say of themselves, folded to two checks and a readiness, each with a sentence for a person.

Pure: everything is in ``Facts``, the time included. A sentence says what is wrong, since when, and what to do where
that is known. Times are absolute: Consul's catalogue may show a check's output minutes after it was written.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from supervisor.calculator import STABLE_S
from supervisor.consumer_renewal import STABLE_S as STABLE_CONSUMER_S
from supervisor.hints import Hint, Kind, WatchNote
from supervisor.remedies import GENERAL
from supervisor.route import Route
from supervisor.states import CalculatorState, DaemonState, RegistrationState, RelayState, RouteState
from supervisor.throttling import Throttled
from supervisor.unreadable import Unreadable

PASSING: Final = "passing"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
_SEVERITY: Final = {PASSING: 0, WARNING: 1, CRITICAL: 2}

PATIENCE_S: Final = 15.0
"""What takes its time in good order (adopting, draining, joining the group) is a problem after this."""

SETTLED_S: Final = 5.0
"""A member that has been without a partition for so long gets none in the rebalance that goes on: it may still be given
one when another member has given it up, which takes one heartbeat of that, 3 s."""

_PARTITIONS_NAMED: Final = 3  # of those that cannot be read
_QUOTED_CHARACTERS: Final = 200  # of a STDERR line or an error, in a sentence


@dataclass(frozen=True)
class CheckReport:
    """A check as Consul takes it; ``status`` is passing, warning or critical."""

    status: str
    output: str


class Subject(enum.Enum):
    """What a trouble is about."""

    SUPERVISOR = "supervisor"
    ROUTE = "route"
    LOOP = "loop"
    CONSUL = "consul"
    KAFKA = "kafka"
    UNREADABLE = "unreadable"
    QUOTA = "quota"
    DEAD_LETTERS = "dead letters"
    DROPPED = "dropped"
    HTTP = "http"
    CALCULATOR = "calculator"


@dataclass(frozen=True)
class Trouble:
    """A sentence of a check that is a warning or critical."""

    about: Subject
    status: str
    words: str


@dataclass(frozen=True)
class Facts:
    """Everything that health, status and metrics are made of, at one moment.

    ``…_for_s``: how long that has been so. ``inlet`` and ``outlet`` are the native snapshots, ``inlet`` empty without
    an incoming stream. ``lag``: of each partition (acknowledged offset, high watermark), negative where not known.
    """

    node_id: str
    version: str
    daemon: DaemonState
    calculator: CalculatorState
    calculator_for_s: float
    calculator_pid: int | None
    restarts: int
    last_exit: str | None
    last_stderr_line: str | None
    route_state: RouteState
    route_for_s: float
    route: Route | None
    """The route in force."""
    adopted_version: int | None
    route_problems: tuple[str, ...]
    agent_error: str | None
    relay: RelayState
    relay_for_s: float
    consumer_error: str | None
    producer_error: str | None
    inlet: Mapping[str, int]
    outlet: Mapping[str, int]
    lag: Mapping[int, tuple[int, int]]
    registration: RegistrationState
    agent_errors_total: int
    adoption_delay_s: float | None
    kv_directory: str = ""
    calculator_failures: int = 0
    """Runs in a row that failed before they were stable."""
    agent_error_for_s: float | None = None
    registration_error: str | None = None
    """Why the service and its checks are not registered, or not known to be."""
    registration_error_for_s: float | None = None
    consumer_error_for_s: float | None = None
    producer_error_for_s: float | None = None
    stdin_stuck_for_s: float | None = None
    """STDIN is full and the Calculator has read nothing of it; None while it reads."""
    output_stuck_for_s: float | None = None
    """The way to Kafka is full and no line was delivered; None while lines are."""
    poison: str | None = None
    """The record that ends the Calculator and is tried again alone, because there is no dead letter stream for it."""
    poison_for_s: float | None = None
    dead_letter_stream: str | None = None
    dead_letter_error: str | None = None
    """Why the dead letter stream takes nothing now."""
    dead_letter_error_for_s: float | None = None
    settings: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Of each setting that may stand in the KV directory, by key: its value in force, and where that comes from."""
    unassigned_for_s: float | None = None
    """There is an incoming stream and the group has given no partition of it to this instance."""
    waits_to_join: bool = False
    """The consumer joins its group only when the Calculator has come to take input."""
    unplaced_for_s: float | None = None
    """The committed offsets of some partitions, where they are to be read from, are not known yet."""
    stdin_broken_for_s: float | None = None
    """Since the Calculator was seen to have closed its STDIN."""
    echo_owed_for_s: float | None = None
    """Since it was seen to wait for input with marker lines not echoed."""
    consumer_remedy: str = GENERAL
    producer_remedy: str = GENERAL
    consumer_unstable: str | None = None
    """The fatal error for which the consumer was made anew, until the new one has proved stable."""
    log_lines_dropped: int = 0
    """Lines that the log's reader did not take in time."""
    stderr_lines: tuple[str, ...] = ()
    """The last ones, the oldest first; empty too if they are not to be shown."""
    http_error: str | None = None
    """Why status and metrics are not served."""
    http_error_for_s: float | None = None
    last_failure: str | None = None
    """How the last run that was not asked to end did end, or why it did not start; goes on after "the Calculator"."""
    last_failure_ago_s: float | None = None
    last_failure_words: str | None = None
    """What that run said of it on STDERR, empty if nothing; None if that is not known, as of one that never began."""
    oversize_ago_s: float | None = None
    """Since the last line over MAX_LINE_BYTES was dropped."""
    unproducible_ago_s: float | None = None
    """Since the last line that the broker does not take was dropped."""
    unsignallable_for_s: float | None = None
    """The running Calculator refuses our signals."""
    hints: tuple[Hint, ...] = ()
    throttled: tuple[Throttled, ...] = ()
    """The Kafka clients that brokers slow down because of a quota."""
    unreadable: tuple[Unreadable, ...] = ()
    """The partitions that stop at a batch that cannot be read."""
    progress_ago_s: float | None = None
    """Since a record was last seen to be taken or acknowledged, or a line to be delivered; None if none ever was."""
    oldest_in_flight_s: float | None = None
    """How long the oldest record in flight has been so, to half a second; None if none is in flight."""
    max_in_flight_records: int = 0
    max_in_flight_bytes: int = 0
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def assigned_partitions(self) -> int:
        """Partitions of the incoming topic that the group gave to this instance."""
        return self.inlet.get("assigned_partitions", 0)

    @property
    def is_spare(self) -> bool:
        """Whether it is a settled member of its group and the other members hold all partitions."""
        return (
            self.inlet.get("assigned_partitions") == 0
            and self.inlet.get("group_steady", 0) > 0
            and self.consumer_error is None
            and self.unassigned_for_s is not None
            and self.unassigned_for_s >= SETTLED_S
        )

    @property
    def stdin_broken(self) -> bool:
        """Whether the running Calculator closed its STDIN."""
        return self.calculator is CalculatorState.RUNNING and self.inlet.get("stdin_broken", 0) > 0

    def partition_lag(self) -> dict[int, int]:
        """Records of each partition that are not acknowledged yet, where known."""
        return {
            partition: max(0, high - done) for partition, (done, high) in self.lag.items() if done >= 0 and high >= 0
        }


def supervisor_check(facts: Facts) -> CheckReport:
    """Fold the Supervisor's own side: configuration, Kafka, Consul."""
    problems = sorted(_supervisor_problems(facts), key=lambda problem: -_SEVERITY[problem.status])
    if not problems:
        return CheckReport(PASSING, _flow(facts))
    return CheckReport(problems[0].status, " ".join(_sentence(problem.output) for problem in problems))


def calculator_check(facts: Facts) -> CheckReport:
    """Fold the Calculator's side."""
    status, output = _calculator(facts)
    further = list(_further(facts))
    worst = max((status, *(report.status for report in further)), key=lambda status: _SEVERITY[status])
    return CheckReport(worst, " ".join(_sentence(words) for words in (output, *(report.output for report in further))))


def ready(facts: Facts) -> tuple[bool, str]:
    """Tell whether a route is in force, the Calculator runs and both Kafka sides are connected; else say why not."""
    missing = _not_ready(facts)
    return missing is None, _sentence(missing) if missing is not None else _flow(facts)


def shown(text: str, limit: int = _QUOTED_CHARACTERS) -> str:
    """Make foreign text fit for one line of a sentence: no control characters, bounded."""
    clean = "".join(char if char.isprintable() else " " for char in text[: limit + 1]).strip()
    return clean if len(text) <= limit else clean[: limit - 1] + "…"


def describe_route(route: Route) -> str:
    """Say a route in a few words."""
    if route.incoming_stream is None:
        return f"version {route.version}, to '{route.outgoing_stream}'"
    if route.outgoing_stream is None:
        return f"version {route.version}, from '{route.incoming_stream}'"
    return f"version {route.version}, '{route.incoming_stream}' to '{route.outgoing_stream}'"


def troubles(facts: Facts) -> list[Trouble]:
    """Return each sentence of both checks that is no good news, with what it is about."""
    supervisor = [Trouble(about, report.status, _sentence(report.output)) for about, report in _by_subject(facts)]
    status, output = _calculator(facts)
    reports = [CheckReport(status, output), *_further(facts)]
    calculator = [Trouble(Subject.CALCULATOR, report.status, _sentence(report.output)) for report in reports]
    return [trouble for trouble in (*supervisor, *calculator) if trouble.status != PASSING]


def _by_subject(facts: Facts) -> Iterator[tuple[Subject, CheckReport]]:
    for subject, reports in (
        (Subject.SUPERVISOR, _lifecycle_problems(facts)),
        (Subject.ROUTE, _route_problems(facts)),
        (Subject.LOOP, _loop_problems(facts)),
        (Subject.CONSUL, _agent_problems(facts)),
        (Subject.KAFKA, _kafka_problems(facts)),
        (Subject.UNREADABLE, _unreadable_problems(facts)),
        (Subject.QUOTA, _quota_problems(facts)),
        (Subject.DEAD_LETTERS, _dead_letter_problems(facts)),
        (Subject.DROPPED, _dropped(facts)),
        (Subject.HTTP, _http_problems(facts)),
    ):
        for report in reports:
            yield subject, report


def _supervisor_problems(facts: Facts) -> Iterator[CheckReport]:
    return (report for _, report in _by_subject(facts))


def _lifecycle_problems(facts: Facts) -> Iterator[CheckReport]:
    if facts.daemon is DaemonState.STARTING:
        yield CheckReport(WARNING, "the Supervisor is starting")
    elif facts.daemon is not DaemonState.RUNNING:
        yield CheckReport(WARNING, "the Supervisor is stopping and takes no more records")


def _http_problems(facts: Facts) -> Iterator[CheckReport]:
    if facts.http_error is not None:
        yield CheckReport(
            WARNING,
            f"status and metrics are not served{_since_if_known(facts, facts.http_error_for_s)}, and tried again: "
            f"{shown(facts.http_error, 400)}",
        )


def _route_problems(facts: Facts) -> Iterator[CheckReport]:
    since = _since(facts, facts.route_for_s)
    waiting = "no records flow"
    match facts.route_state:
        case RouteState.UNKNOWN:
            if facts.agent_error is None:
                yield CheckReport(WARNING, f"no route yet: Consul KV has not been read {since}; {waiting}")
        case RouteState.ABSENT:
            yield CheckReport(
                WARNING,
                f"no route yet: {_directory(facts)} does not exist in Consul KV or has no desired_version, {since}; "
                f"{waiting} until the platform routes this workspace",
            )
        case RouteState.REFUSED:
            problems = shown("; ".join(facts.route_problems) or "no reason known", 1000)
            refused = f"the configuration in {_directory(facts)} has been refused {since}: {problems}; "
            if facts.route is None:
                yield CheckReport(CRITICAL, f"{refused}no route is in force, {waiting} until it is corrected")
            else:
                yield CheckReport(
                    WARNING, f"{refused}{describe_route(facts.route)}, stays in force until it is corrected"
                )
        case RouteState.ADOPTING:
            if facts.route is None or facts.route_for_s > PATIENCE_S:
                yield CheckReport(WARNING, f"a new route has been on its way into force {since}")
        case RouteState.IN_FORCE:
            reported = facts.adopted_version or 0
            if facts.route is not None and reported < facts.route.version and facts.route_for_s > PATIENCE_S:
                yield CheckReport(
                    WARNING,
                    f"version {facts.route.version} has been in force {since}, but adopted_version in "
                    f"{_directory(facts)} could not be set to it (last written: {reported or 'nothing'}); look at the "
                    "token's right to write there",
                )


def _loop_problems(facts: Facts) -> Iterator[CheckReport]:
    """Deployed peers may route a workspace so, and a Calculator may drop what it wrote: a warning, no refusal."""
    topic = facts.route.incoming_stream if facts.route is not None else None
    if facts.route is not None and topic is not None and topic == facts.route.outgoing_stream:
        yield CheckReport(
            WARNING,
            f"incoming and outgoing stream are the same topic, '{topic}': each line that the Calculator prints comes "
            "back to it as a record, and the topic may grow without end; route one of them to another topic unless "
            "that is meant",
        )


def _agent_problems(facts: Facts) -> Iterator[CheckReport]:
    if facts.agent_error is None:
        if facts.registration_error is not None:
            yield CheckReport(
                WARNING,
                f"the service in Consul is not renewed{_since_if_known(facts, facts.registration_error_for_s)}, what "
                f"is shown of it there may be old: {shown(facts.registration_error, 400)}",
            )
        return
    since = _since_if_known(facts, facts.agent_error_for_s)
    trouble = f"trouble with the Consul agent{since}: {shown(facts.agent_error, 400)}"
    if facts.route is None:
        yield CheckReport(CRITICAL, f"{trouble}; no route is in force, so no records flow")
    else:
        yield CheckReport(WARNING, f"{trouble}; records go on by the last good route ({describe_route(facts.route)})")


def _kafka_problems(facts: Facts) -> Iterator[CheckReport]:
    route = facts.route
    if facts.producer_error is not None:
        where = f"outgoing stream '{route.outgoing_stream}'" if route and route.outgoing_stream else "Kafka producer"
        since = _since_if_known(facts, facts.producer_error_for_s)
        yield CheckReport(
            CRITICAL,
            f"{where}{since}: {shown(facts.producer_error, 400)}; lines wait; {facts.producer_remedy}",
        )
    elif output_stuck(facts):
        where = f"outgoing stream '{route.outgoing_stream}'" if route and route.outgoing_stream else "Kafka"
        yield CheckReport(
            WARNING,
            f"{where} has taken no line {_since(facts, facts.output_stuck_for_s or 0.0)} and everything before it is "
            "full: the Calculator's lines wait, and it waits in its writing; look at the brokers",
        )
    elif facts.dead_letter_error is None:
        yield from (_hinted(facts, hint) for hint in facts.hints if hint.kind is Kind.UNDELIVERED)
    if route is None or route.incoming_stream is None:
        return
    where = f"incoming stream '{route.incoming_stream}'"
    if facts.consumer_error is not None and not facts.stdin_broken:
        since = _since_if_known(facts, facts.consumer_error_for_s)
        yield CheckReport(
            CRITICAL,
            f"{where}{since}: {shown(facts.consumer_error, 400)}; no records come in; {facts.consumer_remedy}",
        )
    elif facts.consumer_unstable is not None:
        yield CheckReport(
            WARNING,
            f"{where}: the consumer was made anew after a fatal error, {shown(facts.consumer_unstable, 400)}; it is "
            f"good when it has lasted {STABLE_CONSUMER_S:g} s",
        )
    elif facts.relay is RelayState.DRAINING and facts.relay_for_s > PATIENCE_S:
        yield CheckReport(
            WARNING,
            f"{where} has been draining {_since(facts, facts.relay_for_s)}: the Calculator is not done with the "
            "records in flight",
        )
    elif facts.unassigned_for_s is not None and facts.unassigned_for_s > PATIENCE_S and not facts.is_spare:
        yield CheckReport(
            WARNING,
            f"{where} has given no partition to this instance {_since(facts, facts.unassigned_for_s)}: the consumer "
            "group does not come together; look at its other members and at the brokers",
        )
    elif facts.unplaced_for_s is not None and facts.unplaced_for_s > PATIENCE_S:
        waiting = facts.inlet.get("unplaced_partitions", 0)
        yield CheckReport(
            WARNING,
            f"{where}: of {_count(waiting, 'partition')} no records have come in "
            f"{_since(facts, facts.unplaced_for_s)}, because the group's committed offsets are not known: they are in "
            "a transaction that is not over, of an instance that was killed or of another program under the group's "
            "name, or the group's coordinator does not answer; look at the brokers",
        )


def _unreadable_problems(facts: Facts) -> Iterator[CheckReport]:
    topic = facts.route.incoming_stream if facts.route is not None else None
    for found in facts.unreadable[:_PARTITIONS_NAMED]:
        yield CheckReport(
            CRITICAL,
            f"partition {found.partition} of incoming stream '{topic}' cannot be read from offset {found.offset} on "
            f"{_since(facts, found.for_s)}: {shown(found.why)}; the other partitions are read; {found.remedy}",
        )
    if len(facts.unreadable) > _PARTITIONS_NAMED:
        further = _count(len(facts.unreadable) - _PARTITIONS_NAMED, "further partition")
        yield CheckReport(CRITICAL, f"{further} cannot be read either; the log names them")


def output_stuck(facts: Facts) -> bool:
    """Whether lines wait and no other sentence says why."""
    throttled = any(throttled.client == "producer" for throttled in facts.throttled)
    return facts.output_stuck_for_s is not None and facts.output_stuck_for_s > PATIENCE_S and not throttled


_QUOTA_WORDS: Final = {
    "producer": ("lines wait, and none is lost for it", "producer_byte_rate"),
    "consumer": ("records come in more slowly", "consumer_byte_rate"),
}


def _quota_problems(facts: Facts) -> Iterator[CheckReport]:
    for throttled in facts.throttled:
        effect, quota = _QUOTA_WORDS[throttled.client]
        yield CheckReport(
            WARNING,
            f"the Kafka {throttled.client} (client.id {shown(throttled.client_id)}) has been over its quota "
            f"{_since(facts, throttled.for_s)}: broker {throttled.broker} asked for {throttled.last_ms / 1000:.1f} s "
            f"of silence the last time, the brokers for {throttled.asked_ms / 1000:.1f} s in all; {effect}; "
            f"if that is too slow, raise the quota {quota} of this client.id or of the Kafka user",
        )


def _dead_letter_problems(facts: Facts) -> Iterator[CheckReport]:
    if facts.poison is not None:
        yield CheckReport(
            CRITICAL,
            f"the record at {facts.poison} ends the Calculator each time{_since_if_known(facts, facts.poison_for_s)}; "
            "it is tried again alone, nothing behind it is taken and nothing is lost; mend the Calculator, or set "
            "DEAD_LETTER_STREAM to put such records aside",
        )
    if facts.dead_letter_stream is None and facts.inlet.get("dead_in_flight", 0) > 0:
        yield CheckReport(
            CRITICAL,
            f"{_count(facts.inlet['dead_in_flight'], 'record')} wait for a dead letter stream, and there is none any "
            "more; what is behind them is not acknowledged; set DEAD_LETTER_STREAM again",
        )
    if facts.dead_letter_error is not None:
        yield CheckReport(
            CRITICAL,
            f"dead letter stream '{facts.dead_letter_stream}'{_since_if_known(facts, facts.dead_letter_error_for_s)}: "
            f"{shown(facts.dead_letter_error, 400)}; the records for it wait, and what is behind them is not "
            "acknowledged; look at the topic, its max.message.bytes and the right to write to it",
        )


def _dropped(facts: Facts) -> Iterator[CheckReport]:
    oversize = facts.outlet.get("lines_oversize", 0)
    unproducible = facts.outlet.get("lines_unproducible", 0)
    if oversize:
        yield CheckReport(
            WARNING,
            f"{_count(oversize, 'line')} of the Calculator over MAX_LINE_BYTES {_fate(facts)} since the Supervisor "
            f"started{_the_last(facts, facts.oversize_ago_s)}; raise it, and the broker's limit with it, or print "
            "shorter lines",
        )
    if unproducible:
        yield CheckReport(
            WARNING,
            f"{_count(unproducible, 'line')} of the Calculator that the broker does not take dropped since the "
            f"Supervisor started{_the_last(facts, facts.unproducible_ago_s)}; the log says why",
        )


def _fate(facts: Facts) -> str:
    return "dropped" if facts.dead_letter_stream is None else "cut to dead letters"


def _calculator(facts: Facts) -> tuple[str, str]:
    since = _since(facts, facts.calculator_for_s)
    match facts.calculator:
        case CalculatorState.RUNNING:
            return _running(facts, since)
        case CalculatorState.LOADING:
            return _loading(facts, since)
        case CalculatorState.CRASH_LOOP:
            return CRITICAL, (
                f"the Calculator has been in a crash loop {since}: {_count(facts.calculator_failures, 'failed run')} "
                f"in a row, the last time it {_failure(facts)}; it is started again and again, its records wait"
            )
        case CalculatorState.BACKOFF:
            return WARNING, f"the Calculator {_failure(facts)}; it is started again in a moment"
        case CalculatorState.STARTING:
            return WARNING, f"the Calculator has been starting {since}"
        case CalculatorState.STOPPING:
            return WARNING, f"the Calculator has been stopping {since}"
        case CalculatorState.STOPPED:
            if facts.daemon is DaemonState.STARTING:
                return WARNING, "the Calculator is not started yet"
            return CRITICAL, f"the Calculator has been stopped {since}"


def _running(facts: Facts, since: str) -> tuple[str, str]:
    running = f"the Calculator has been running {since}, pid {facts.calculator_pid}"
    if facts.stdin_broken:
        closed = f"closed its STDIN{_at_if_known(facts, facts.stdin_broken_for_s)} and takes no records"
        return CRITICAL, f"{running}, but {closed}; restart it, or have it read to the end"
    if facts.calculator_for_s < STABLE_S and facts.calculator_failures:
        return WARNING, f"{running}, after it {_failure(facts)}; that is over when it has run for {STABLE_S:g} s"
    if _reads_nothing_told(facts):
        return WARNING, _reads_nothing(facts, running)
    if facts.inlet.get("echo_owed", 0):
        return WARNING, (
            f"{running}, but waits for input{_since_if_known(facts, facts.echo_owed_for_s)} and has not echoed the "
            "marker lines of ACK_MODE=marker: "
            f"{_count(facts.inlet['unacknowledged'], 'record')} cannot be acknowledged; let it print each line that "
            "begins with MARKER_PREFIX as it is"
        )
    if facts.restarts:
        return PASSING, f"{running}, {_count(facts.restarts, 'restart')} since the Supervisor started"
    return PASSING, running


def _loading(facts: Facts, since: str) -> tuple[str, str]:
    loading = (
        f"the Calculator has been loading {since}, pid {facts.calculator_pid}: it has neither come to wait for its "
        "STDIN nor taken anything of it"
    )
    if facts.calculator_for_s < STABLE_S and facts.calculator_failures:
        return WARNING, f"{loading}, after it {_failure(facts)}"
    return PASSING, loading


def _further(facts: Facts) -> Iterator[CheckReport]:
    """What else there is to be said of a Calculator, the worst first."""
    if facts.unsignallable_for_s is not None:
        yield CheckReport(
            WARNING,
            f"it may not be signalled {_since(facts, facts.unsignallable_for_s)}, because it runs as another user and "
            "the Supervisor has no CAP_KILL: a stop goes on without it if it does not end at the end of its STDIN, and "
            "one that hangs cannot be killed; run it as the Supervisor's user, or give the container the capability "
            "KILL",
        )
    if facts.calculator is not CalculatorState.RUNNING:
        return
    hints = [hint for hint in facts.hints if hint.kind is not Kind.UNDELIVERED]
    for hint in sorted(hints, key=lambda hint: not hint.warns):
        if hint.kind is not Kind.STALLED or not (_kafka_waits(facts) or _reads_nothing_told(facts)):
            yield _hinted(facts, hint)


def _hinted(facts: Facts, hint: Hint) -> CheckReport:
    since = f"{_since(facts, hint.for_s)}: " if hint.warns else ""
    return CheckReport(WARNING if hint.warns else PASSING, f"{since}{hint.words}")


def _kafka_waits(facts: Facts) -> bool:
    """Whether the Supervisor's check says that lines cannot be delivered: nothing is the Calculator's fault then."""
    return facts.producer_error is not None or facts.output_stuck_for_s is not None


def _reads_nothing_told(facts: Facts) -> bool:
    return facts.stdin_stuck_for_s is not None and facts.stdin_stuck_for_s > PATIENCE_S


def _reads_nothing(facts: Facts, running: str) -> str:
    reads_nothing = (
        f"{running}, but has read nothing {_since(facts, facts.stdin_stuck_for_s or 0.0)} and its STDIN is full"
    )
    if _kafka_waits(facts):
        return f"{reads_nothing}: it waits until its lines can be delivered, the Supervisor's check says why"
    return f"{reads_nothing}: it still works on what it has, or it hangs"


def _not_ready(facts: Facts) -> str | None:
    """Say what is missing, None if nothing is."""
    if facts.daemon is not DaemonState.RUNNING:
        return f"the Supervisor is {facts.daemon.value}"
    if facts.route is None or facts.route_state not in (RouteState.IN_FORCE, RouteState.REFUSED):
        report = supervisor_check(facts)
        return (
            report.output
            if report.status != PASSING
            else f"a new route has been on its way into force {_since(facts, facts.route_for_s)}"
        )
    if facts.calculator is not CalculatorState.RUNNING or facts.stdin_broken:
        return calculator_check(facts).output
    if facts.producer_error is not None:
        return f"the Kafka producer is not connected: {shown(facts.producer_error, 400)}"
    if facts.route.incoming_stream is not None:
        if facts.consumer_error is not None:
            return f"the Kafka consumer is not connected: {shown(facts.consumer_error, 400)}"
        if facts.assigned_partitions == 0 and not facts.is_spare:
            return f"no partition of incoming stream '{facts.route.incoming_stream}' is assigned to this instance yet"
    elif facts.outlet.get("brokers_up", -1) < 0 and not facts.outlet.get("lines_delivered", 0):
        # Assigned partitions show that Kafka is there; a producer alone knows by its first statistics.
        return "the Kafka producer has not reported a connection yet"
    return None


def held_up(facts: Facts) -> str | None:
    """Say what keeps records from flowing though the route lets them; None if nothing does, or they are not to flow."""
    if facts.relay is not RelayState.FLOWING or facts.route is None:
        return None
    if facts.calculator is not CalculatorState.RUNNING:
        in_a = {CalculatorState.CRASH_LOOP: "in a crash loop", CalculatorState.BACKOFF: "waiting to be started again"}
        return f"the Calculator is {in_a.get(facts.calculator, facts.calculator.value)}"
    if facts.stdin_broken:
        return "the Calculator closed its STDIN"
    kinds = {hint.kind for hint in facts.hints}
    stuck = facts.output_stuck_for_s is not None and facts.output_stuck_for_s > PATIENCE_S
    if facts.producer_error is not None or stuck or Kind.UNDELIVERED in kinds:
        return "Kafka takes no lines"
    if facts.dead_letter_error is not None:
        return "the dead letter stream takes nothing"
    if facts.poison is not None:
        return "a record that ends the Calculator is tried again alone"
    overdue = any(hint.note is WatchNote.REST_OVERDUE for hint in facts.hints)
    if Kind.STALLED in kinds or overdue or _reads_nothing_told(facts):
        return "the Calculator is not done with what it has"
    return _nothing_comes_in(facts)


def _nothing_comes_in(facts: Facts) -> str | None:
    if facts.route is None or facts.route.incoming_stream is None:
        return None
    if facts.consumer_error is not None:
        return "Kafka gives no records"
    if facts.is_spare:
        return None  # there is nothing for it to take
    if facts.assigned_partitions == 0:
        return "no partition is assigned to this instance"
    if facts.inlet.get("unplaced_partitions", 0) >= facts.assigned_partitions:
        return "the committed offsets are not known yet"
    return None


def _flow(facts: Facts) -> str:
    """Say what is in force, of a Supervisor in good order, and what holds records up beside it."""
    if facts.route is None:
        return "The Supervisor runs."
    route = describe_route(facts.route)
    if facts.route_state is RouteState.ADOPTING:
        return f"A new route has been on its way into force {_since(facts, facts.route_for_s)}; until then {route}."
    if facts.route.paused:
        return (
            f"The stream has been paused by pause_stream {_since(facts, _flow_for_s(facts))}: no records flow, "
            f"the Calculator goes on (route {route})."
        )
    words = [f"Route {route}, has been in force {_since(facts, facts.route_for_s)}"]
    if facts.route.incoming_stream is not None:
        words.append(_membership(facts))
    if facts.route.outgoing_stream is None:
        words.append("the Calculator's lines are read and dropped because there is no outgoing stream")
    words.extend(_changes(facts))
    why = held_up(facts)
    if why is not None and facts.assigned_partitions + (facts.route.incoming_stream is None) > 0:
        words.append(f"records are held up: {why}")
    return "; ".join(words) + "."


def _changes(facts: Facts) -> Iterator[str]:
    """Say what did not go through as it came."""
    changed = facts.inlet.get("values_changed", 0)
    if changed:
        values = f"{_count(changed, 'value')} with newlines inside or like a marker"
        yield f"{values} {'was' if changed == 1 else 'were'} written with spaces instead (INPUT_NEWLINES)"
    with_nul = facts.outlet.get("lines_with_nul", 0)
    if with_nul:
        yield f"{_count(with_nul, 'line')} of the Calculator had a NUL character, sent as \\u0000"


def _membership(facts: Facts) -> str:
    if facts.assigned_partitions:
        return f"{_count(facts.assigned_partitions, 'partition')} assigned"
    if facts.is_spare:
        since = _since(facts, facts.unassigned_for_s or 0.0)
        return (
            f"no partition assigned {since}: the other members of the consumer group hold all of them, and this "
            "instance takes over when one of them goes"
        )
    if facts.waits_to_join:
        return "the consumer group is joined when the Calculator takes input"
    return "joining the consumer group"


def _flow_for_s(facts: Facts) -> float:
    """How long the streams have been as they are: neither a new route nor a new state of the relay."""
    return min(facts.route_for_s, facts.relay_for_s)


def _directory(facts: Facts) -> str:
    return f"the directory {facts.kv_directory}" if facts.kv_directory else "the directory of this workspace"


def _failure(facts: Facts) -> str:
    words = facts.last_failure_words
    last_line = "" if words is None else f", on STDERR: {_quoted(words)}" if words else ", nothing on STDERR"
    at = _at_if_known(facts, facts.last_failure_ago_s)
    return f"{shown(facts.last_failure or 'failed', 400)}{at}{last_line}"


def _quoted(text: str) -> str:
    quote = '"' if "'" in text else "'"
    return f"{quote}{shown(text)}{quote}"


def _the_last(facts: Facts, ago_s: float | None) -> str:
    return "" if ago_s is None else f", the last at {_at(facts, ago_s)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _at(facts: Facts, ago_s: float) -> str:
    return f"{facts.taken_at - timedelta(seconds=ago_s):%Y-%m-%d %H:%M:%S} UTC"


def _since(facts: Facts, for_s: float) -> str:
    return f"since {_at(facts, for_s)}"


def _at_if_known(facts: Facts, ago_s: float | None) -> str:
    return "" if ago_s is None else f" at {_at(facts, ago_s)}"


def _since_if_known(facts: Facts, for_s: float | None) -> str:
    return "" if for_s is None else f" {_since(facts, for_s)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "…")) else ".")
