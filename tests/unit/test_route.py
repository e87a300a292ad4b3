from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import RouteError
from supervisor.route import KNOWN_KEYS, Route, adopted_version, parse, version_of

COMPLETE = {"desired_version": b"7", "adopted_version": b"0", "incoming_stream": b"in", "outgoing_stream": b"out"}


def problems_of(entries: dict[str, bytes]) -> tuple[str, ...]:
    with pytest.raises(RouteError) as caught:
        parse(entries)
    return caught.value.problems


def test_a_complete_directory_is_a_route() -> None:
    """The manager's five keys, as it writes them."""
    assert parse(COMPLETE | {"pause_stream": b"false"}) == Route(7, "in", "out", paused=False)


@pytest.mark.parametrize("text", [b"true", b"True", b"TRUE"])
def test_pause_is_read_in_any_case(text: bytes) -> None:
    """The manager writes str(True)."""
    assert parse(COMPLETE | {"pause_stream": text}) == Route(7, "in", "out", paused=True)


def test_a_producer_has_no_incoming_and_a_consumer_no_outgoing_stream() -> None:
    """One absent stream is a type of workspace."""
    assert parse({"desired_version": b"1", "outgoing_stream": b"o"}) == Route(1, None, "o", paused=False)
    assert parse({"desired_version": b"1", "incoming_stream": b"i"}) == Route(1, "i", None, paused=False)


def test_without_desired_version_there_is_no_route_yet() -> None:
    """Whatever else is there."""
    assert parse({"incoming_stream": b"\xff"}) is None


def test_neither_stream_is_a_problem() -> None:
    """Such a route would do nothing, and the manager means none."""
    assert problems_of({"desired_version": b"1"}) == (
        "neither incoming_stream nor outgoing_stream is there, expected one of them or both",
    )


def test_all_problems_are_reported_at_once_with_their_keys() -> None:
    """One look is enough to mend a directory."""
    found = problems_of(
        {"desired_version": b"seven", "incoming_stream": b"", "outgoing_stream": b"a/b", "pause_stream": b"maybe"}
    )
    assert [problem.split(":")[0] for problem in found] == [
        "desired_version",
        "incoming_stream",
        "outgoing_stream",
        "pause_stream",
    ]


@pytest.mark.parametrize("text", [b"", b"0", b"-1", b"+7", b"1.5", b"1_0", "\u0667".encode(), b"9" * 5000, b"\xff"])
def test_a_version_is_a_whole_number_above_zero(text: bytes) -> None:
    """In ASCII digits, of a sane length."""
    assert len(problems_of(COMPLETE | {"desired_version": text})) == 1


@pytest.mark.parametrize("topic", [b".", b"..", b"a b", b"a\n", "тема".encode(), b"x" * 250, b"", b"\xc3\x28"])
def test_an_illegal_topic_is_refused(topic: bytes) -> None:
    """Kafka's rule for names, on either side."""
    assert len(problems_of(COMPLETE | {"incoming_stream": topic})) == 1
    assert len(problems_of(COMPLETE | {"outgoing_stream": topic})) == 1


@given(st.dictionaries(st.sampled_from(sorted(KNOWN_KEYS)) | st.text(max_size=5), st.binary(max_size=12), max_size=8))
def test_any_content_is_a_route_or_a_route_error(entries: dict[str, bytes]) -> None:
    """Foreign bytes never raise anything else, and a route is always usable."""
    try:
        route = parse(entries)
    except RouteError:
        return
    assert route is None or (route.version > 0 and (route.incoming_stream or route.outgoing_stream))


def test_unknown_keys_change_nothing() -> None:
    """The platform grows."""
    assert parse(COMPLETE | {"colour": b"\xff", "sub/key": b"1"}) == parse(COMPLETE)


def test_an_unreadable_adopted_version_counts_as_zero() -> None:
    """It is ours to write over."""
    assert [adopted_version({"adopted_version": text}) for text in (b"5", b"0", b"x", b"\xff", b"")] == [5, 0, 0, 0, 0]
    assert adopted_version({}) == 0
    assert version_of("12") == 12
