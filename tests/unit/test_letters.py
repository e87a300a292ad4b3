"""Dead letters as ``supervisor redrive`` reads them, its filters, and what it refuses on its command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from supervisor.tools.letters import COUNT_HEADER, Filter, Headers, Letter, Span
from supervisor.tools.redrive import _begin, _filter, _span, _time_ms
from supervisor.words import Words

ERRORS = "__connect.errors."


def letter(headers: Headers = (), value: bytes | None = b"v", *, cause: bytes = b"supervisor.NewlineInValue") -> Letter:
    """A record's letter, at [1]@7 of the stream, from events[3]@42; ``headers`` are those the record had."""
    ours = [
        (f"{ERRORS}topic", b"events"),
        (f"{ERRORS}connector.name", b"w1"),
        (f"{ERRORS}stage", b"VALUE_CONVERTER"),
        (f"{ERRORS}exception.class.name", cause),
        (f"{ERRORS}exception.message", b"why"),
        (f"{ERRORS}partition", b"3"),
        (f"{ERRORS}offset", b"42"),
    ]
    return Letter(1, 7, 1_000_000, b"k", value, (*headers, *ours))


def test_a_record_goes_back_with_the_headers_it_had_and_a_count() -> None:
    """Those of an earlier dead letter queue, which it brought along, are its own; the count goes up."""
    foreign = [("a", b"1"), (f"{ERRORS}topic", b"elsewhere"), (f"{ERRORS}partition", b"9"), ("b", None)]
    met = letter([*foreign, (COUNT_HEADER, b"2")])
    assert (met.origin_topic, met.origin_partition, met.origin_offset) == ("events", 3, 42)
    assert (met.redrives, met.why_not()) == (2, None)
    assert met.sent_headers() == [*foreign, (COUNT_HEADER, b"3")]
    assert letter([(COUNT_HEADER, b"x" * 5)]).redrives == 0


@pytest.mark.parametrize(
    ("value", "cause", "why_not"),
    [
        (b'{"wsp":"w1","ts":1,"raw":"x"}', b"supervisor.UnproducibleLine", None),
        (b'{"wsp":"w1","ts":1,"parsed":null}', b"supervisor.UnproducibleLine", None),
        (b'{"a":1}', b"supervisor.UnproducibleLine", "no dataframe"),
        (b"[" * 100_000, b"supervisor.UnproducibleLine", "no dataframe"),
        (None, b"supervisor.UnproducibleLine", "no dataframe"),
        (b'{"wsp":"w1","ts":1,"raw":"x"}', b"supervisor.LineTooLong", "truncated"),
    ],
)
def test_a_line_goes_to_its_topic_if_it_is_a_dataframe(value: bytes | None, cause: bytes, why_not: str | None) -> None:
    """Nobody downstream could decode anything else; half a line is never sent."""
    of_line = letter(value=value, cause=cause)
    of_line = Letter(0, 1, 2, None, value, of_line.headers[:-2])
    assert (of_line.origin_partition, of_line.why_not()) == (None, why_not)


def test_what_is_no_dead_letter_stays() -> None:
    """Somebody's own record in the stream."""
    assert Letter(0, 1, 2, None, b"x", ()).why_not() == "no dead letter"


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (Filter(), True),
        (Filter(partitions=frozenset({1, 2}), offsets=Span(7, 7)), True),
        (Filter(partitions=frozenset({0})), False),
        (Filter(offsets=Span(8)), False),
        (Filter(offsets=Span(None, 6)), False),
        (Filter(cause="NewlineInValue"), True),
        (Filter(cause="supervisor.NewlineInValue"), True),
        (Filter(cause="Newline"), False),
        (Filter(since_ms=1_000_000, until_ms=1_000_001), True),
        (Filter(since_ms=1_000_001), False),
        (Filter(until_ms=1_000_000), False),
        (Filter(origin_topic="events", origin_partition=3, origin_offsets=Span(40, 50)), True),
        (Filter(origin_topic="other"), False),
        (Filter(origin_topic="events", origin_partition=4), False),
        (Filter(origin_offsets=Span(43)), False),
    ],
)
def test_all_filters_have_to_fit(wanted: Filter, *, fits: bool) -> None:
    """Place in the stream, class, time, and where it came from."""
    assert wanted.wants(letter()) is fits


def test_words_of_filters() -> None:
    """As people write them."""
    assert [_span(text) for text in ("10", "10-20", "10-", "-20")] == [
        Span(10, 10), Span(10, 20), Span(10), Span(None, 20)
    ]  # fmt: skip
    assert _begin("0:12, 3:4") == {0: 12, 3: 4}
    assert _time_ms("2h", 10_000.0) == 2_800_000
    assert _time_ms("1970-01-01T00:00:01Z", 0) == _time_ms("1970-01-01T00:00:01", 0) == 1000
    given = Words()
    given.given = {"--origin": "events:3:40-", "--partition": "1,2", "--class": "X"}
    expected = Filter(frozenset({1, 2}), cause="X", origin_topic="events", origin_partition=3, origin_offsets=Span(40))
    assert _filter(given, 0) == expected


@pytest.mark.parametrize(
    ("words", "environ", "said"),
    [
        (("--offsets", "b"), {}, "--offsets: met 'b'; expected offsets: 10, 10-20, 10- or -20"),
        (("--offsets", "9-3"), {}, "--offsets: met '9-3'; the last offset is before the first"),
        (("--partition", "x"), {}, "--partition: met 'x'; expected a whole number"),
        (("--since", "soon"), {}, "--since: met 'soon'; expected a time"),
        (("--origin", ":3"), {}, "--origin: met ':3'; expected TOPIC"),
        (("--from", "12"), {}, "--from: met '12'; expected partition:offset"),
        (("--dead", "x"), {}, "command line: met '--dead'"),
        ((), {}, "KAFKA_DSN: not set"),
        ((), {"KAFKA_DSN": "kafka:9092"}, "--stream: not given"),
        (("--stream", "no topic"), {"KAFKA_DSN": "kafka:9092"}, "DEAD_LETTER_STREAM: met 'no topic'"),
        (("--stream", "x"), {"KAFKA_DSN": "k", "KAFKA_OPTIONS": "no.such=1"}, "KAFKA_OPTIONS: no.such"),
    ],
)
def test_wrong_use_is_said_before_anybody_is_asked(words: tuple[str, ...], environ: dict[str, str], said: str) -> None:
    """Status 2, nothing on STDOUT; what a run would need beside Kafka is not asked for."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "redrive", *words],
        env={"PATH": os.environ["PATH"], "CONSUL_DSN": "no address!", "ACK_MODE": "none"} | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"supervisor redrive: {said}")
