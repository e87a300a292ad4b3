"""Whether a count keeps the promise of its mode, given the blows of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .blows import BROKER_FREEZE, BROKER_KILL, KINDS, MOST_REPLICAS, Blow, Script
from .count import Count
from .modes import Mode

_COMMIT_INTERVAL_S = 1.2  # librdkafka's second, and the tenth after which acknowledged offsets are handed to it
_FAILOVER_S = 10.0  # until others lead what a broker led, and clients know
_BATCH_RECORDS = 10_000  # of one produce request


def broken_promises(
    mode: Mode, script: Script, blows: Sequence[Blow], counted: Count, events: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return what of the promise was broken; ``events`` are the logs of all Supervisors."""
    losing = sum(KINDS[blow.kind].loses for blow in blows)
    most_lost = losing * mode.window_records if mode.loses else 0
    # Without the group's coordinator an instance may go on delivering and cannot commit.
    outages_s = [blow.lasts_s + _FAILOVER_S for blow in blows if blow.kind in (BROKER_KILL, BROKER_FREEZE)]
    uncommitted = mode.window_records + script.rate_per_s * (_COMMIT_INTERVAL_S + max(outages_s, default=0))
    most_replayed = int(len(blows) * uncommitted) if mode.doubles_replayed else 0
    partitions = script.outgoing_topics * script.outgoing_partitions
    most_resent = len(outages_s) * MOST_REPLICAS * partitions * _BATCH_RECORDS if mode.doubles_resent else 0
    noise = [event["event"] for event in events if event.get("level") == "text"]
    violations = [event["why"] for event in events if "broke the rule" in str(event.get("event"))]
    lost, replayed, resent = len(counted.lost), len(counted.replayed), len(counted.resent)
    found = (
        (lost > most_lost, f"{lost} records lost, at most {most_lost} may be"),
        (replayed > most_replayed, f"{replayed} handled again, at most {most_replayed} may be"),
        (resent > most_resent, f"{resent} lines sent twice, at most {most_resent} may be"),
        (bool(counted.disordered), f"{len(counted.disordered)} out of order: {counted.disordered[:3]}"),
        (bool(counted.foreign), f"{len(counted.foreign)} lines that nobody wrote: {counted.foreign[:3]}"),
        (bool(noise), f"lines in the log that are no events: {noise[:5]}"),
        (bool(violations), f"an honest Calculator is said to have broken its rule: {violations[:3]}"),
    )
    return [what for broken, what in found if broken]
