"""One word for how it is, the worst that is true, with its cause and the place in the flow. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from supervisor.health import (
    CRITICAL,
    PASSING,
    PATIENCE_S,
    WARNING,
    Facts,
    Subject,
    Trouble,
    calculator_check,
    held_up,
    output_stuck,
    ready,
    supervisor_check,
    troubles,
)
from supervisor.hints import Kind, WatchNote
from supervisor.states import CalculatorState, DaemonState, RelayState, RouteState

QUIET_S: Final = 10.0
"""It is idle when nothing is in flight and nothing has moved for so long."""


class Word(enum.Enum):
    """The states, the worst first."""

    STOPPING = "stopping"
    POISON = "poison"
    CRASH_LOOP = "crash loop"
    BLOCKED = "blocked on Kafka"
    HANGING = "hanging"
    REFUSED = "refused route"
    WAITING = "waiting for a route"
    DRAINING = "draining"
    LOADING = "loading"
    PAUSED = "paused"
    IDLE = "idle"
    FLOWING = "flowing"


class Place(enum.Enum):
    """Where in the flow it is stuck."""

    ROUTE = "route"
    INCOMING = "incoming"
    CALCULATOR = "calculator"
    OUTGOING = "outgoing"


@dataclass(frozen=True)
class Condition:
    """``cause``: sentences; ``further``: troubles that the cause does not tell, the worst first."""

    word: Word
    status: str
    cause: str
    place: Place | None
    further: tuple[Trouble, ...]


def condition(facts: Facts) -> Condition:
    """Tell how it is."""
    word, about, place = next(_found(facts))
    told = troubles(facts)
    causes = [trouble for trouble in told if trouble.about in about]
    cause = " ".join(trouble.words for trouble in causes) or _in_good_order(facts, word)
    further = sorted((trouble for trouble in told if trouble not in causes), key=lambda t: t.status != CRITICAL)
    statuses = [trouble.status for trouble in causes]
    return Condition(word, _worst(statuses, word), cause, place, tuple(further))


def _found(facts: Facts) -> Iterator[tuple[Word, frozenset[Subject], Place | None]]:
    """Every word that is true, the worst first; with what its cause is about."""
    calculator = frozenset({Subject.CALCULATOR})
    kafka = frozenset({Subject.KAFKA, Subject.UNREADABLE, Subject.DEAD_LETTERS})
    route = frozenset({Subject.ROUTE, Subject.CONSUL})
    if facts.daemon in (DaemonState.STOPPING, DaemonState.STOPPED):
        yield Word.STOPPING, frozenset({Subject.SUPERVISOR}), None
    if facts.poison is not None or (facts.dead_letter_stream is None and facts.inlet.get("dead_in_flight", 0) > 0):
        yield Word.POISON, frozenset({Subject.DEAD_LETTERS}), Place.CALCULATOR
    if facts.calculator is CalculatorState.CRASH_LOOP:
        yield Word.CRASH_LOOP, calculator, Place.CALCULATOR
    place = _blocked_at(facts)
    if place is not None:
        yield Word.BLOCKED, kafka, place
    if _hangs(facts):
        yield Word.HANGING, calculator, Place.CALCULATOR
    if facts.route_state is RouteState.REFUSED:
        yield Word.REFUSED, route, Place.ROUTE if facts.route is None else None
    yield from _found_in_order(facts)


def _found_in_order(facts: Facts) -> Iterator[tuple[Word, frozenset[Subject], Place | None]]:
    """Those that need nobody's help, or the platform's."""
    none: frozenset[Subject] = frozenset()
    if facts.relay is RelayState.DRAINING:
        yield Word.DRAINING, none, None
    if facts.route is None:
        yield Word.WAITING, frozenset({Subject.ROUTE, Subject.CONSUL}), Place.ROUTE
    if facts.calculator is not CalculatorState.RUNNING:
        yield Word.LOADING, frozenset({Subject.CALCULATOR}), Place.CALCULATOR
    if facts.relay is RelayState.PAUSED:
        yield Word.PAUSED, none, None
    if facts.daemon is DaemonState.STARTING or _joins(facts):
        yield Word.LOADING, frozenset({Subject.SUPERVISOR}), Place.INCOMING
    if _is_quiet(facts):
        yield Word.IDLE, none, None
    yield Word.FLOWING, none, None


def _blocked_at(facts: Facts) -> Place | None:
    undelivered = any(hint.kind is Kind.UNDELIVERED for hint in facts.hints)
    if facts.producer_error is not None or facts.dead_letter_error is not None or output_stuck(facts) or undelivered:
        return Place.OUTGOING
    if facts.route is None or facts.route.incoming_stream is None or facts.stdin_broken:
        return None
    alone = _longer(facts.unassigned_for_s) and not facts.is_spare
    stands = facts.consumer_error is not None or alone or _longer(facts.unplaced_for_s) or facts.unreadable
    return Place.INCOMING if stands else None


def _hangs(facts: Facts) -> bool:
    if facts.calculator is not CalculatorState.RUNNING:
        return False
    stalled = any(hint.kind is Kind.STALLED or hint.note is WatchNote.REST_OVERDUE for hint in facts.hints)
    return facts.stdin_broken or stalled or _longer(facts.stdin_stuck_for_s) or facts.inlet.get("echo_owed", 0) > 0


def _joins(facts: Facts) -> bool:
    """Whether its partitions are not there yet."""
    if facts.route is None or facts.route.incoming_stream is None or not facts.inlet or facts.is_spare:
        return False
    return facts.assigned_partitions == 0 or facts.inlet.get("unplaced_partitions", 0) >= facts.assigned_partitions


def _is_quiet(facts: Facts) -> bool:
    busy = facts.inlet.get("in_flight_records", 0) > 0 or facts.outlet.get("undelivered", 0) > 0
    return not busy and (facts.progress_ago_s is None or facts.progress_ago_s >= QUIET_S)


def _longer(for_s: float | None) -> bool:
    return for_s is not None and for_s > PATIENCE_S


def _worst(statuses: list[str], word: Word) -> str:
    if CRITICAL in statuses or word in (Word.POISON, Word.CRASH_LOOP):
        return CRITICAL
    good = word in (Word.FLOWING, Word.IDLE, Word.PAUSED, Word.DRAINING, Word.LOADING)
    return PASSING if good and WARNING not in statuses else WARNING


def _in_good_order(facts: Facts, word: Word) -> str:
    """What there is to say where no check complains."""
    match word:
        case Word.IDLE:
            waits = "No record is in flight and none comes in: everything there was is handled."
            if facts.is_spare:
                waits = "The other members of the consumer group hold all partitions; it takes over when one goes."
            elif facts.route is not None and facts.route.incoming_stream is None:
                waits = "The route has no incoming stream, and the Calculator prints nothing now."
            elif sum(facts.partition_lag().values()):
                waits = "No record is in flight and none has come in lately, though there are some to be read."
            return waits
        case Word.DRAINING:
            return "No further record is written to the Calculator until it is done with those in flight."
        case Word.LOADING:
            if facts.calculator is not CalculatorState.RUNNING:
                return calculator_check(facts).output
            return "The consumer group is being joined; no record has come in yet."
        case Word.FLOWING:
            return "Records are taken, handled and acknowledged."
    return held_up(facts) or (supervisor_check(facts).output if ready(facts)[0] else ready(facts)[1])
