"""What is done to a running system, drawn from a seed before the run begins."""

from __future__ import annotations

import random
from dataclasses import dataclass

CALCULATOR_KILL, CALCULATOR_FREEZE = "SIGKILL of the Calculator", "SIGSTOP of the Calculator"
SUPERVISOR_KILL, SUPERVISOR_FREEZE = "SIGKILL of the Supervisor", "SIGSTOP of the Supervisor"
BROKER_KILL, BROKER_FREEZE = "SIGKILL of a broker", "SIGSTOP of a broker"
REPLICA_ADD, REPLICA_REMOVE = "one replica more", "one replica less"
ROUTE_VERSION, ROUTE_PAUSE, ROUTE_TOPIC = "new version", "pause", "other outgoing topic"

MOST_REPLICAS = 3
KILLS = {CALCULATOR_KILL, SUPERVISOR_KILL, BROKER_KILL}


@dataclass(frozen=True)
class Kind:
    """``lasts_s``: shortest and longest time until it is undone.

    ``loses``: how many instances lose what they have in their hands, where a mode does not get it back. A broker that
    goes leaves each of them without an answer to what it was sending, and a frozen Supervisor finds it too late.
    """

    weight: int
    lasts_s: tuple[float, float] = (0.0, 0.0)
    loses: int = 0


KINDS = {
    CALCULATOR_KILL: Kind(8, loses=1),
    CALCULATOR_FREEZE: Kind(2, (0.1, 4.0)),
    SUPERVISOR_KILL: Kind(4, (0.0, 1.0), loses=1),
    SUPERVISOR_FREEZE: Kind(2, (0.1, 6.0), loses=1),  # the longer ones outlive the session: a zombie wakes up
    BROKER_KILL: Kind(2, (0.5, 4.0), loses=MOST_REPLICAS),
    BROKER_FREEZE: Kind(1, (0.1, 6.0), loses=MOST_REPLICAS),  # likewise
    REPLICA_ADD: Kind(2),
    REPLICA_REMOVE: Kind(2, loses=1),
    ROUTE_VERSION: Kind(1),
    ROUTE_PAUSE: Kind(1, (0.1, 1.5)),
    ROUTE_TOPIC: Kind(2, loses=1),
}


@dataclass(frozen=True)
class Blow:
    """``after_s`` the one before it; ``pick`` in [0, 1) says whom it meets, as far as there is a choice."""

    after_s: float
    kind: str
    lasts_s: float
    pick: float


@dataclass(frozen=True)
class Script:
    """All that a seed decides. With one outgoing topic of one partition the order can be told."""

    seed: int
    gap_s: float
    incoming_partitions: int
    outgoing_topics: int
    outgoing_partitions: int
    replicas: int
    rate_per_s: int
    blows: tuple[Blow, ...]

    @property
    def one_outgoing_partition(self) -> bool:
        """Whether all lines go to one partition."""
        return self.outgoing_topics * self.outgoing_partitions == 1


def draw(seed: int, *, records: int, kills: int, gap_s: float) -> Script:
    """Draw blows until ``kills`` of them are SIGKILLs, on average ``gap_s`` apart.

    The Calculator's rate is such that most blows find records under way.
    """
    chance = random.Random(seed)
    alone = chance.random() < 0.5
    kinds = [kind for kind in KINDS if not (alone and kind == ROUTE_TOPIC)]
    weights = [KINDS[kind].weight for kind in kinds]
    blows: list[Blow] = []
    while sum(blow.kind in KILLS for blow in blows) < kills:
        kind = chance.choices(kinds, weights)[0]
        lasts_s = chance.uniform(*KINDS[kind].lasts_s)
        blows.append(Blow(chance.uniform(0, 2 * gap_s), kind, lasts_s, chance.random()))
    incoming_partitions = chance.randint(1, 4)
    at_work = min(2, incoming_partitions)
    return Script(
        seed=seed,
        gap_s=gap_s,
        incoming_partitions=incoming_partitions,
        outgoing_topics=1 if alone else 2,
        outgoing_partitions=1 if alone else chance.randint(1, 3),
        replicas=chance.randint(1, 2),
        rate_per_s=int(chance.choice((0.4, 0.7, 1.0, 3.0)) * records / (len(blows) * gap_s) / at_work),
        blows=tuple(blows),
    )
