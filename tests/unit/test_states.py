"""The transition tables: every edge of each can be walked, every other one raises."""

from __future__ import annotations

import enum
from typing import Any

import pytest

from supervisor import states
from supervisor.errors import IllegalTransitionError
from supervisor.states import Lifecycle, Table

TABLES: dict[str, Table[Any]] = {
    "calculator": states.CALCULATOR,
    "registration": states.REGISTRATION,
    "route": states.ROUTE,
    "relay": states.RELAY,
    "daemon": states.DAEMON,
}
PAIRS = [
    pytest.param(table, old, new, id=f"{name}-{old.value}-{new.value}")
    for name, table in TABLES.items()
    for old in table
    for new in type(old)
]


def members(table: Table[Any]) -> list[enum.Enum]:
    kind: type[enum.Enum] = type(next(iter(table)))
    return list(kind)


def ignore(_name: str, _old: enum.Enum, _new: enum.Enum, _why: str) -> None:
    pass


@pytest.mark.parametrize(("table", "old", "new"), PAIRS)
def test_an_edge_of_the_table_walks_and_any_other_raises(table: Table[Any], old: enum.Enum, new: enum.Enum) -> None:
    """A refused change leaves state, reason and observer alone; an allowed one is told once, after it happened."""
    told: list[tuple[str, enum.Enum, enum.Enum, str, enum.Enum]] = []
    lifecycle: Lifecycle[Any] = Lifecycle(
        "thing", table, old, lambda name, before, after, why: told.append((name, before, after, why, lifecycle.state))
    )
    if new in table[old]:
        lifecycle.change(new, "because")
        assert (lifecycle.state, lifecycle.why) == (new, "because")
        assert told == [("thing", old, new, "because", new)]
    else:
        with pytest.raises(IllegalTransitionError, match=f"thing: no edge from {old.value} to {new.value}.*because"):
            lifecycle.change(new, "because")
        assert (lifecycle.state, lifecycle.why, told) == (old, "", [])


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_each_table_names_every_state_and_no_edge_to_itself(table: Table[Any]) -> None:
    """A state without a row would raise KeyError instead of IllegalTransitionError."""
    assert list(table) == members(table)
    assert all(state not in table[state] for state in table)


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_state_can_be_reached_from_the_first(table: Table[Any]) -> None:
    """The first member of each enum is where its lifecycle begins."""
    reached = {members(table)[0]}
    while more := {new for old in reached for new in table[old]} - reached:
        reached |= more
    assert reached == set(table)


def test_a_change_restarts_the_clock() -> None:
    """``since_s`` says since when the state holds."""
    lifecycle = Lifecycle("thing", states.DAEMON, states.DaemonState.STARTING, ignore)
    began_s = lifecycle.since_s
    lifecycle.change(states.DaemonState.RUNNING, "up")
    assert lifecycle.since_s > began_s
