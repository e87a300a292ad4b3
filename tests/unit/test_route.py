from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import RouteError
from supervisor.route import KNOWN_KEYS, Route, adopted_version, version_of
from supervisor.route import parse as parse_with
from supervisor.settings import Options, Settings

COMPLETE = {"desired_version": b"7", "adopted_version": b"0", "incoming_stream": b"in", "outgoing_stream": b"out"}


def environment(**variables: str) -> Settings:
    return Settings.load({"NODE_ID": "w1", "KAFKA_DSN": "k:9092", **variables}, Options(program="cat"))


DEFAULTS = environment()
EXACTLY_ONCE = environment(PROCESSING_GUARANTEE="exactly-once", BDZ_ACK_MODE="line")


def parse(entries: dict[str, bytes], settings: Settings = DEFAULTS) -> Route | None:
    return parse_with(entries, settings)


def problems_of(entries: dict[str, bytes], settings: Settings = DEFAULTS) -> tuple[str, ...]:
    with pytest.raises(RouteError) as caught:
        parse(entries, settings)
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


def test_settings_in_the_directory_belong_to_the_route() -> None:
    """As text, without the white space around it, which a file put there may end with."""
    entries = COMPLETE | {"ack_mode": b" Line\n", "calculator_timeout": b"1m30s"}
    assert parse(entries) == Route(
        7, "in", "out", paused=False, settings={"ack_mode": "Line", "calculator_timeout": "1m30s"}
    )


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"ack_mode": b"lines"}, "ack_mode: met 'lines'; expected demand or line or marker"),
        ({"ack_mode": b""}, "ack_mode: met ''; expected demand or line or marker"),
        (
            {"calculator_timeout": b"30"},
            "calculator_timeout: met '30'; a bare number, expected a duration with its unit",
        ),
        ({"calculator_timeout": b"1ms"}, "calculator_timeout: met '1ms'; too small, expected at least 100ms"),
        ({"input_newlines": b"reject"}, "input_newlines: reject without a stream for what is rejected"),
        (
            {"propagate_key": b"true"},
            "propagate_key: only one line for each record can have its key; expected",
        ),
        ({"poison_max_attempts": b"none"}, "poison_max_attempts: met 'none'; expected a whole number"),
        ({"dead_letter_stream": b"out"}, "outgoing_stream: met 'out', which is the dead letter stream"),
        ({"dead_letter_stream": b"in"}, "incoming_stream: met 'in', which is the dead letter stream"),
        ({"input_newlines": b"\xff"}, "input_newlines: met bytes that are no UTF-8 text"),
        ({"processing_guarantee": b"exactly-once"}, "processing_guarantee: exactly-once with ACK_MODE demand, which"),
        (
            {"processing_guarantee": b"exactly-once", "ack_mode": b"line", "input_newlines": b"split"},
            "processing_guarantee: exactly-once with ack_mode line and input_newlines split",
        ),
    ],
)
def test_wrong_settings_are_refused_under_their_key(said: dict[str, bytes], problem: str) -> None:
    """By the same parsers as the environment's, with the same words."""
    (met,) = problems_of(COMPLETE | said)
    assert met.startswith(problem)


def test_what_the_directory_says_is_checked_together_with_the_environment() -> None:
    """Each may contradict the other."""
    (met,) = problems_of(COMPLETE | {"ack_mode": b"demand"}, EXACTLY_ONCE)
    assert met.startswith("PROCESSING_GUARANTEE: exactly-once with ack_mode demand")
    (met,) = problems_of(COMPLETE | {"input_newlines": b"split"}, EXACTLY_ONCE)
    assert met.endswith("expected input_newlines space, or BDZ_ACK_MODE marker")
    assert parse(COMPLETE | {"ack_mode": b"demand", "processing_guarantee": b"at-least-once"}, EXACTLY_ONCE)


def test_exactly_once_needs_an_incoming_stream() -> None:
    """Wherever it is said."""
    producer = {"desired_version": b"1", "outgoing_stream": b"out"}
    for entries, settings in (
        (producer, EXACTLY_ONCE),
        (producer | {"processing_guarantee": b"exactly-once", "ack_mode": b"marker"}, DEFAULTS),
    ):
        (met,) = problems_of(entries, settings)
        assert met.startswith("incoming_stream is missing: exactly-once needs an incoming stream")
    assert parse(producer | {"processing_guarantee": b"at-most-once"}, EXACTLY_ONCE)
