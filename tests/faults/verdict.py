"""Whether a count keeps the promise of its mode, given the blows of the run.

`at-least-once` may handle again what was not committed:
- after a run of the Calculator what its Supervisor had in its memory. The Supervisor says how many records, and that is
  never more than the window;
- after any other blow, for each instance that it takes something from, the window and what was acknowledged since the
  last commit; that is as long ago as the coordinator was away, if the blow falls into such a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from .blows import BROKER_FREEZE, BROKER_KILL, CALCULATOR_FREEZE, CALCULATOR_KILL, KINDS, Blow, Script
from .count import Count
from .modes import Mode
from .worker import PROGRAMS

_COMMIT_INTERVAL_S = 1.2  # librdkafka's second, and the tenth after which acknowledged offsets are handed to it
_FAILOVER_S = 10.0  # until others lead what a broker led, and clients know
_BATCH_RECORDS = 5 * 10_000  # of the produce requests under way to one partition
_OF_BROKERS = (BROKER_KILL, BROKER_FREEZE)
_OF_CALCULATORS = (CALCULATOR_KILL, CALCULATOR_FREEZE)


def most_replayed_records(mode: Mode, script: Script, blows: Sequence[Blow], from_memory: Sequence[int]) -> int:
    """Return how many records may be handled again; ``from_memory``: how many Supervisors said, run by run."""
    began_s = list(accumulate(blow.after_s for blow in blows))
    outages_s = [
        (at_s, at_s + blow.lasts_s + _FAILOVER_S)
        for at_s, blow in zip(began_s, blows, strict=True)
        if blow.kind in _OF_BROKERS
    ]
    most = sum(from_memory)
    for at_s, blow in zip(began_s, blows, strict=True):
        if blow.kind not in _OF_CALCULATORS:
            away_s = sum(
                end_s - begin_s for begin_s, end_s in outages_s if begin_s <= at_s + blow.lasts_s and at_s <= end_s
            )
            uncommitted = mode.window_records + script.rate_per_s * (_COMMIT_INTERVAL_S + away_s)
            most += int(max(KINDS[blow.kind].loses, 1) * uncommitted)
    return most


def broken_promises(
    mode: Mode, script: Script, blows: Sequence[Blow], counted: Count, events: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return what of the promise was broken; ``events`` are the logs of all Supervisors."""
    losing = sum(KINDS[blow.kind].loses for blow in blows)
    most_lost = losing * mode.window_records if mode.loses else 0
    from_memory = [event["records"] for event in events if event.get("event") == "records will be written again"]
    answers = [PROGRAMS[mode.program](number) for number in range(10)]  # they come again every ten records
    again = most_replayed_records(mode, script, blows, from_memory) if mode.doubles_replayed else 0
    most_replayed = again * sum(answers) // len(answers) + max(answers) * (len(from_memory) + len(blows)) * bool(again)
    partitions = script.outgoing_topics * script.outgoing_partitions
    renewed = sum(event.get("event") == "kafka error" and _of_the_producer(event) for event in events)
    most_resent = renewed * partitions * _BATCH_RECORDS if mode.doubles_resent else 0
    noise = [event["event"] for event in events if event.get("level") == "text"]
    violations = [event["why"] for event in events if "broke the rule" in str(event.get("event"))]
    lost, replayed, resent = len(counted.lost), len(counted.replayed), len(counted.resent)
    found = (
        (lost > most_lost, f"{lost} records lost, at most {most_lost} may be"),
        (
            max(from_memory, default=0) > mode.window_records,
            f"{max(from_memory, default=0)} records written again to one run, at most {mode.window_records} may be",
        ),
        (replayed > most_replayed, f"{replayed} handled again, at most {most_replayed} may be"),
        (resent > most_resent, f"{resent} lines sent twice, at most {most_resent} may be"),
        (bool(counted.disordered), f"{len(counted.disordered)} out of order: {counted.disordered[:3]}"),
        (bool(counted.foreign), f"{len(counted.foreign)} lines that nobody wrote: {counted.foreign[:3]}"),
        (bool(noise), f"lines in the log that are no events: {noise[:5]}"),
        (bool(violations), f"an honest Calculator is said to have broken its rule: {violations[:3]}"),
    )
    return [what for broken, what in found if broken]


def _of_the_producer(event: Mapping[str, Any]) -> bool:
    """Whether it is its fatal error, after which a new one gets what is undelivered: the broker may have it."""
    return event.get("side") == "outgoing" and bool(event.get("fatal"))
