"""Metrics: the text format is what Prometheus parses, and each number is the fact's."""

from __future__ import annotations

import os
import re
import time

import pytest

from supervisor import metrics
from supervisor.states import CalculatorState
from tests.unit.facts import HEALTHY, INLET, OUTLET, facts

SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'(?:\{(?P<labels>[a-z_]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z_]+="(?:[^"\\\n]|\\["\\n])*")*)\})?'
    r" (?P<value>-?[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)"
)


def parse(page: str) -> tuple[dict[str, str], dict[str, float]]:
    """Read a page strictly: (type of each metric, value of each sample by its text up to the value)."""
    types: dict[str, str] = {}
    samples: dict[str, float] = {}
    helped: set[str] = set()
    assert page.endswith("\n")
    for line in page.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            assert name not in helped, "a metric is described once"
            helped.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name in helped
            types[name] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            assert match["name"] == list(types)[-1], "samples stand under their own metric"
            key = line.rpartition(" ")[0]
            assert key not in samples, "no sample twice"
            samples[key] = float(match["value"])
    return types, samples


def test_the_page_is_valid_and_typed() -> None:
    """Every metric has HELP and TYPE, counters end in _total and nothing else does."""
    types, samples = parse(metrics.render(HEALTHY))
    assert samples
    for name, kind in types.items():
        assert kind == ("counter" if name.endswith("_total") else "gauge")
        assert name.startswith(("supervisor_", "process_"))


@pytest.mark.parametrize(
    ("sample", "value"),
    [
        ('supervisor_records_read_total{topic="events"}', INLET["records_read"]),
        ('supervisor_records_read_bytes_total{topic="events"}', INLET["bytes_read"]),
        ('supervisor_lines_delivered_total{topic="results"}', OUTLET["lines_delivered"]),
        ('supervisor_in_flight_records{topic="events"}', INLET["in_flight_records"]),
        ("supervisor_replayed_records_total", 17),
        ("supervisor_invalid_utf8_lines_total", 1),
        ("supervisor_not_json_lines_total", 4),
        ("supervisor_stdin_full_seconds_total", 1.5),
        ("supervisor_output_full_seconds_total", 0.25),
        ("supervisor_adopted_version", 7),
        ("supervisor_route_version", 7),
        ("supervisor_adoption_delay_seconds", 0.25),
        ("supervisor_consul_errors_total", 0),
        ("supervisor_calculator_restarts_total", 0),
        ('supervisor_partition_lag_records{partition="0"}', 50),
        ('supervisor_partition_lag_records{partition="1"}', 0),
        ('supervisor_kafka_brokers_up{side="incoming"}', 1),
        ('supervisor_kafka_error{side="outgoing"}', 0),
        ('supervisor_build_info{version="0.1.0",node_id="wsp-7"}', 1),
        ("supervisor_ready", 1),
        ('supervisor_state{state="flowing"}', 1),
        ("supervisor_waiting_dead_letters", 0),
        ("supervisor_protocol_violations_total", 0),
        ("supervisor_poison", 0),
        ("supervisor_max_in_flight_records", 10_000),
        ("supervisor_held_bytes", 88_000 + (1 << 20)),
        ("supervisor_oldest_in_flight_seconds", 0),
        ('supervisor_check_status{check="calculator",status="passing"}', 1),
    ],
)
def test_samples_are_the_facts(sample: str, value: float) -> None:
    """Each number is found under its name, in base units."""
    assert parse(metrics.render(HEALTHY))[1][sample] == value


def test_what_is_not_known_is_no_sample() -> None:
    """No sample: a partition without offsets, brokers before the first statistics, a delay before an adoption."""
    _, samples = parse(metrics.render(facts(inlet={**INLET, "brokers_up": -1}, adoption_delay_s=None)))
    assert 'supervisor_partition_lag_records{partition="2"}' not in samples
    assert 'supervisor_kafka_brokers_up{side="incoming"}' not in samples
    assert "supervisor_adoption_delay_seconds" not in samples


def test_states_are_one_hot() -> None:
    """Exactly one state of a lifecycle is 1, the one it is in; the others are there as 0."""
    _, samples = parse(metrics.render(facts(calculator=CalculatorState.CRASH_LOOP)))
    states = {key: value for key, value in samples.items() if key.startswith("supervisor_calculator_state{")}
    assert len(states) == len(CalculatorState)
    assert [key for key, value in states.items() if value] == ['supervisor_calculator_state{state="crash-loop"}']


def test_without_a_stream_its_counters_are_zero() -> None:
    """The set of metrics does not depend on the route: without an incoming stream its numbers are 0."""
    with_inlet, without = (parse(metrics.render(facts(inlet=inlet, lag={})))[1] for inlet in (INLET, {}))
    missing = with_inlet.keys() - without.keys()
    assert missing == {'supervisor_kafka_brokers_up{side="incoming"}'}
    assert without['supervisor_records_read_total{topic="events"}'] == 0


def test_a_stream_that_lacks_a_counter_is_an_error() -> None:
    """A counter that the native side no longer has is not shown as 0."""
    with pytest.raises(KeyError):
        metrics.render(facts(outlet={key: value for key, value in OUTLET.items() if key != "lines_delivered"}))


def test_label_values_are_escaped() -> None:
    """Quotes, backslashes and newlines in a label cannot break the page."""
    page = metrics.render(facts(node_id='a"b\\c\nd'))
    parse(page)
    assert 'node_id="a\\"b\\\\c\\nd"' in page


def test_process_metrics_are_of_this_process() -> None:
    """Memory, CPU and start time are plausible for the process that renders."""
    _, samples = parse(metrics.render(HEALTHY))
    assert 1 << 20 < samples["process_resident_memory_bytes"] < 1 << 40
    assert samples["process_cpu_seconds_total"] == pytest.approx(sum(os.times()[:2]), abs=1.0)
    assert time.time() - 3600 < samples["process_start_time_seconds"] <= time.time() + 1
    assert samples["process_open_fds"] > 0
