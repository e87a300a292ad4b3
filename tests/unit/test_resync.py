"""The route resolver without I/O: every order of the manager's writes, read at every point."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.agent import KvDirectory
from supervisor.resync import (
    HALF_A_ROUTE_S,
    LOOKS_AT_ONCE,
    PATIENCE_S,
    SETTLE_LIMIT_S,
    SETTLE_S,
    Action,
    Decision,
    RestartKey,
    Settling,
    TokenBucket,
    next_index,
    pause_ahead,
)
from supervisor.resync import decide as decide_with
from supervisor.route import Route
from supervisor.settings import Options, Settings

ENVIRONMENT = Settings.load({"NODE_ID": "w1", "KAFKA_DSN": "k:9092"}, Options(program="cat"))

OLD = {
    "desired_version": b"7",
    "adopted_version": b"7",
    "incoming_stream": b"in.old",
    "outgoing_stream": b"out.old",
    "pause_stream": b"false",
}
NEW = {
    "desired_version": b"8",
    "adopted_version": b"0",
    "incoming_stream": b"in.new",
    "outgoing_stream": b"out.new",
    "pause_stream": b"true",
}


def without(entries: Mapping[str, bytes], key: str) -> dict[str, bytes]:
    return {name: value for name, value in entries.items() if name != key}


OLD_ROUTE = Route(7, "in.old", "out.old", paused=False)
NEW_ROUTE = Route(8, "in.new", "out.new", paused=True)


def decide(entries: Mapping[str, bytes] | None, in_force: Route | None) -> Decision:
    return decide_with(entries, in_force, ENVIRONMENT)


class World:
    """The KV directory, and a Supervisor that does one step at a time: look, act, look, act."""

    def __init__(self, entries: Mapping[str, bytes], in_force: Route | None) -> None:
        self.entries = dict(entries)
        self.indexes = dict.fromkeys(entries, 1)
        self.clock = 1
        self.in_force = in_force
        self.seen: tuple[dict[str, bytes] | None, dict[str, int]] | None = None

    def write(self, key: str, value: bytes) -> None:
        """What the manager and we do to a key."""
        self.clock += 1
        self.entries[key] = value
        self.indexes[key] = self.clock

    def step(self) -> Decision | None:
        """Look if there is nothing to act on, else act; the decision acted on."""
        if self.seen is None:
            self.seen = (dict(self.entries) or None, dict(self.indexes))
            return None
        (entries, indexes), self.seen = self.seen, None
        decision = decide(entries, self.in_force)
        if decision.action is Action.ADOPT:
            self.in_force = decision.route
        elif decision.action is Action.REPORT:
            assert decision.route is not None
            assert decision.route == self.in_force, "only what is in force is reported"
            if self.indexes.get("adopted_version", 0) == indexes.get("adopted_version", 0):
                assert int(self.entries.get("adopted_version", b"0")) < decision.route.version
                self.write("adopted_version", str(decision.route.version).encode())
        return decision

    def crash(self) -> None:
        """Forget everything but what the directory holds."""
        self.in_force = None
        self.seen = None

    def finish(self) -> None:
        """Go on until a fresh look asks for nothing more."""
        if self.seen is not None:
            self.step()
        for _ in range(20):
            decision = self.step()
            if decision is not None and decision.action in (Action.NOTHING, Action.WAIT, Action.REFUSE):
                return
        pytest.fail("never at rest")


def assert_provisioned(world: World) -> None:
    world.finish()
    assert world.in_force == NEW_ROUTE
    assert world.entries["adopted_version"] == world.entries["desired_version"] == b"8"


@pytest.mark.parametrize("start", ["routed", "not routed"])
def test_every_order_of_writes_looked_at_anywhere_ends_in_the_final_route(start: str) -> None:
    """120 orders, nothing to two steps of ours after each write."""
    for order in itertools.permutations(NEW):
        for steps in itertools.product(range(3), repeat=4):
            world = World(OLD, OLD_ROUTE) if start == "routed" else World({}, None)
            for key, count in itertools.zip_longest(order, steps, fillvalue=0):
                world.write(str(key), NEW[str(key)])
                for _ in range(int(count)):
                    world.step()
            assert_provisioned(world)


@settings(deadline=None)
@given(
    order=st.permutations(sorted(NEW)),
    acts=st.lists(st.sampled_from(["write", "write", "step", "step", "step", "crash"]), max_size=40),
    late_zeros=st.integers(0, 3),
)
def test_crashes_and_late_zeros_change_nothing_about_the_end(
    order: list[str], acts: list[str], late_zeros: int
) -> None:
    """A crash of ours at any point, and zeros that arrive after everything."""
    world = World(OLD, OLD_ROUTE)
    writes = [(key, NEW[key]) for key in order] + [("adopted_version", b"0")] * late_zeros
    for act in acts:
        if act == "write" and writes:
            world.write(*writes.pop(0))
        elif act == "crash":
            world.crash()
        else:
            world.step()
    for write in writes:
        world.write(*write)
        world.step()
    assert_provisioned(world)


@settings(deadline=None)
@given(st.data())
def test_routes_that_overtake_each_other_end_in_the_last(data: st.DataObject) -> None:
    """Several changes, each in an order of its own, each raising the version, with steps of ours anywhere."""
    world = World({}, None)
    for version in range(1, 4):
        route = {
            "desired_version": str(version).encode(),
            "adopted_version": b"0",
            "incoming_stream": f"in.{version}".encode(),
            "outgoing_stream": f"out.{version}".encode(),
        }
        for key in data.draw(st.permutations(sorted(route))):
            world.write(key, route[key])
            for _ in range(data.draw(st.integers(0, 3))):
                world.step()
    world.finish()
    assert world.in_force == Route(3, "in.3", "out.3", paused=False)
    assert world.entries["adopted_version"] == b"3"


def test_content_that_comes_after_its_version_is_adopted_too() -> None:
    """Not only the version decides."""
    in_force = Route(8, "in.old", "out.new", paused=True)
    assert decide(NEW, in_force).route == NEW_ROUTE


def test_a_larger_adopted_version_is_left() -> None:
    """A replica is ahead of us."""
    assert decide(OLD | {"adopted_version": b"9"}, OLD_ROUTE).action is Action.NOTHING
    assert decide(OLD | {"adopted_version": b"6"}, OLD_ROUTE).action is Action.REPORT


def test_a_directory_that_is_gone_stops_the_streams_once() -> None:
    """Then there is nothing to do but wait."""
    assert decide(None, OLD_ROUTE) == Decision(Action.ADOPT, None)
    assert decide(None, None) == Decision(Action.WAIT)


def test_our_own_key_alone_is_no_directory() -> None:
    """The manager deleted everything while we reported."""
    assert decide({"adopted_version": b"7"}, OLD_ROUTE) == Decision(Action.ADOPT, None)
    assert decide({"adopted_version": b"7", "other": b""}, None) == Decision(Action.WAIT)


def test_a_version_that_vanished_leaves_the_route_in_force() -> None:
    """Bad data from outside is refused; without a route it means: not routed yet."""
    entries = {key: value for key, value in OLD.items() if key != "desired_version"}
    assert decide(entries, OLD_ROUTE).action is Action.REFUSE
    assert decide(entries, None).action is Action.WAIT


def test_a_wrong_directory_is_refused_with_its_problems() -> None:
    """And never put in force."""
    decision = decide(OLD | {"incoming_stream": b""}, OLD_ROUTE)
    assert decision.action is Action.REFUSE
    assert len(decision.problems) == 1


@pytest.mark.parametrize(
    ("entries", "in_force", "still_s"),
    [
        (NEW, OLD_ROUTE, SETTLE_S),
        (NEW | {"adopted_version": b"8"}, OLD_ROUTE, SETTLE_S),
        (NEW | {"adopted_version": b"7"}, OLD_ROUTE, PATIENCE_S),
        (NEW | {"ack_mode": b"line"}, OLD_ROUTE, SETTLE_S),
        (OLD | {"ack_mode": b"line"}, OLD_ROUTE, PATIENCE_S),
        (OLD | {"pause_stream": b"true"}, OLD_ROUTE, SETTLE_S),
        (OLD | {"desired_version": b"8", "adopted_version": b"0"}, OLD_ROUTE, SETTLE_S),
        # One side alone, written to its end or not: nothing tells.
        (NEW | {"incoming_stream": b"in.old"}, OLD_ROUTE, HALF_A_ROUTE_S),
        (NEW | {"outgoing_stream": b"out.old"}, OLD_ROUTE, HALF_A_ROUTE_S),
        (NEW | {"outgoing_stream": b"out.old", "adopted_version": b"8"}, OLD_ROUTE, HALF_A_ROUTE_S),
        (without(NEW | {"outgoing_stream": b"out.old"}, "incoming_stream"), OLD_ROUTE, HALF_A_ROUTE_S),
        (without(NEW, "outgoing_stream"), OLD_ROUTE, HALF_A_ROUTE_S),
        (NEW, Route(7, None, "out.old", paused=False), SETTLE_S),
        (without(NEW, "outgoing_stream"), Route(7, "in.old", None, paused=False), HALF_A_ROUTE_S),
        # Streams under the old version.
        (OLD | {"incoming_stream": b"in.new"}, OLD_ROUTE, HALF_A_ROUTE_S),
        (OLD | {"incoming_stream": b"in.new", "outgoing_stream": b"out.new"}, OLD_ROUTE, HALF_A_ROUTE_S),
        # Nothing in force: only a restart of ours is sure of what it reads.
        (OLD, None, SETTLE_S),
        (NEW, None, PATIENCE_S),
        (NEW | {"adopted_version": b"7"}, None, PATIENCE_S),
        (without(OLD, "incoming_stream"), None, SETTLE_S),
        (without(OLD, "outgoing_stream"), None, PATIENCE_S),
    ],
)
def test_what_may_be_half_a_change_is_given_more_time(
    entries: dict[str, bytes], in_force: Route | None, still_s: float
) -> None:
    """One side alone, new streams or settings without a new version, no zero with a new one, no place for the lines."""
    decision = decide(entries, in_force)
    assert decision.action is Action.ADOPT
    assert decision.still_s == still_s


def test_a_pause_does_not_wait_for_the_streams_it_came_with() -> None:
    """The route in force is paused at once; to go on again waits for the whole."""
    half = decide(NEW | {"outgoing_stream": b"out.old"}, OLD_ROUTE)
    assert pause_ahead(half, OLD_ROUTE) == Route(7, "in.old", "out.old", paused=True)
    assert pause_ahead(half, Route(7, "in.old", "out.old", paused=True)) is None
    assert pause_ahead(decide(NEW, OLD_ROUTE), OLD_ROUTE) is None, "it settles as fast with its streams"
    assert pause_ahead(decide(NEW | {"pause_stream": b"false"}, OLD_ROUTE), OLD_ROUTE) is None
    assert pause_ahead(half, None) is None


def snapshots(values: Iterator[int]) -> Iterator[KvDirectory]:
    for value in values:
        yield KvDirectory(value, {"k": b"v"}, {"k": value})


def test_a_still_directory_settles_after_the_time_the_decision_asks_for() -> None:
    """Short if nothing is missing, longer if something seems to be; in force within 3 s all the same."""
    (snapshot,) = snapshots(iter([1]))
    for still_s in (SETTLE_S, PATIENCE_S, HALF_A_ROUTE_S):
        assert still_s < SETTLE_LIMIT_S < 3
        decision = Decision(Action.ADOPT, NEW_ROUTE, still_s=still_s)
        settling = Settling(100.0)
        assert settling.rest_s(100.0, snapshot, decision) == pytest.approx(still_s)
        assert settling.rest_s(100.0 + still_s, snapshot, decision) == pytest.approx(0.0, abs=1e-9)


def test_a_write_begins_the_settling_anew_even_with_the_same_value() -> None:
    """The modify index tells."""
    decision = Decision(Action.ADOPT, NEW_ROUTE, still_s=SETTLE_S)
    first, second = snapshots(iter([1, 2]))
    settling = Settling(0.0)
    settling.rest_s(0.0, first, decision)
    assert settling.rest_s(SETTLE_S, second, decision) == pytest.approx(SETTLE_S)


def test_a_storm_of_writes_cannot_postpone_the_settling_for_ever() -> None:
    """It has a limit."""
    decision = Decision(Action.ADOPT, NEW_ROUTE, still_s=SETTLE_S)
    settling = Settling(0.0)
    now_s = 0.0
    for snapshot in snapshots(itertools.count()):
        if settling.rest_s(now_s, snapshot, decision) == 0:
            break
        now_s += 0.05
    assert now_s == pytest.approx(SETTLE_LIMIT_S, abs=0.051)


@pytest.mark.parametrize(
    ("waited_for", "returned", "expected"),
    [(0, 5, 5), (5, 9, 9), (9, 5, 0), (0, 0, 1), (0, 1, 1), (5, 5, 5), (1, 0, 0)],
)
def test_an_index_that_goes_backwards_begins_anew_and_none_is_below_one(
    waited_for: int, returned: int, expected: int
) -> None:
    """The rules of Consul's guide to blocking queries."""
    assert next_index(waited_for, returned) == expected


def test_the_bucket_lets_a_burst_through_and_then_its_rate() -> None:
    """Churn costs a bounded number of looks."""
    bucket = TokenBucket(2.0, 3, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert bucket.take(1000.0) == 0.0
    assert LOOKS_AT_ONCE > 1


def test_settings_that_change_or_go_are_adopted_under_the_same_version() -> None:
    """Who writes them by hand writes no version."""
    with_mode = Route(7, "in.old", "out.old", paused=False, settings={"ack_mode": "line"})
    assert decide(OLD | {"ack_mode": b"line"}, OLD_ROUTE) == Decision(Action.ADOPT, with_mode)
    assert decide(OLD | {"ack_mode": b"line"}, with_mode).action is Action.NOTHING
    assert decide(OLD, with_mode) == Decision(Action.ADOPT, OLD_ROUTE)


def test_a_restart_is_asked_for_by_another_value_of_its_key() -> None:
    """Not by the first look, a key that goes, or a directory that is away for a while."""
    key = RestartKey()
    looks: list[tuple[dict[str, bytes] | None, bool]] = [
        ({"restart_calculator": b"1"}, False),
        ({"restart_calculator": b"1", "pause_stream": b"true"}, False),
        ({"restart_calculator": b"\xff"}, True),
        (None, False),
        ({"restart_calculator": b"\xff"}, False),
        ({"restart_calculator": b""}, True),
        (OLD, False),
        ({"restart_calculator": b""}, True),
    ]
    assert [key.asks(entries) for entries, _ in looks] == [asked for _, asked in looks]
    fresh = RestartKey()
    assert [fresh.asks(entries) for entries in (None, {"restart_calculator": b"1"})] == [False, True]


def test_the_key_for_a_restart_is_not_part_of_a_route() -> None:
    """Whatever its bytes are: it neither changes the route in force nor has it refused."""
    assert decide(OLD | {"restart_calculator": b"\xff"}, OLD_ROUTE) == Decision(Action.NOTHING, OLD_ROUTE)


def test_settings_alone_are_no_route() -> None:
    """Written before the first one, or left behind by the last."""
    assert decide({"ack_mode": b"line"}, None) == Decision(Action.WAIT)
    assert decide({"ack_mode": b"line"}, OLD_ROUTE) == Decision(Action.ADOPT, None)


SAID = {
    "desired_version": b"9",
    "adopted_version": b"0",
    "incoming_stream": b"in.new",
    "outgoing_stream": b"out.new",
    "processing_guarantee": b"exactly-once",
    "ack_mode": b"line",
}
SAID_ROUTE = Route(
    9, "in.new", "out.new", paused=False, settings={"processing_guarantee": "exactly-once", "ack_mode": "line"}
)


@settings(deadline=None)
@given(order=st.permutations(sorted(SAID)), steps=st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_settings_in_any_order_with_the_route_end_in_force_and_reported(order: list[str], steps: list[int]) -> None:
    """A guarantee without its acknowledgement is refused until that is there, and never in force."""
    world = World(OLD, OLD_ROUTE)
    for key, count in zip(order, steps, strict=True):
        world.write(key, SAID[key])
        for _ in range(count):
            world.step()
            said = world.in_force.settings if world.in_force is not None else {}
            assert said.get("processing_guarantee") is None or said.get("ack_mode") == "line"
    world.finish()
    assert world.in_force == SAID_ROUTE
    assert world.entries["adopted_version"] == b"9"
