"""The metrics page: facts in the Prometheus text format, version 0.0.4.

Names and units follow the Prometheus conventions: base units, ``_total`` on counters. A counter of a stream starts
again at 0 with a new stream, as it does with a new process; ``rate()`` knows that.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from supervisor.condition import Word, condition
from supervisor.health import CRITICAL, PASSING, WARNING, Facts, calculator_check, ready, supervisor_check

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]
Sample = tuple[Labels, float]


class _Counted(NamedTuple):
    """A native counter: its key in the snapshot, its metric, what it means. ``per``: divided by this.

    ``by_topic``: it is about the topic of its side, and has that as a label.
    """

    key: str
    name: str
    meaning: str
    per: int = 1
    by_topic: bool = False


_NS: Final = 1_000_000_000

_INLET: Final = (
    _Counted("records_read", "supervisor_records_read_total", "Records taken from the incoming topic.", by_topic=True),
    _Counted(
        "bytes_read",
        "supervisor_records_read_bytes_total",
        "Bytes of values taken from the incoming topic.",
        by_topic=True,
    ),
    _Counted(
        "tombstones", "supervisor_tombstones_total", "Records without a value, which make no line.", by_topic=True
    ),
    _Counted(
        "values_changed",
        "supervisor_changed_values_total",
        "Values with newlines inside, or like a marker, that were written with other bytes in their place.",
        by_topic=True,
    ),
    _Counted("lines_written", "supervisor_lines_written_total", "Lines written to the Calculator, repeats included."),
    _Counted("bytes_written", "supervisor_lines_written_bytes_total", "Bytes written to the Calculator's STDIN."),
    _Counted(
        "acknowledged",
        "supervisor_records_acknowledged_total",
        "Records whose work is done and delivered.",
        by_topic=True,
    ),
    _Counted("replayed", "supervisor_replayed_records_total", "Records written again after a Calculator ended."),
    _Counted("stdin_full_ns", "supervisor_stdin_full_seconds_total", "Time the Calculator's STDIN was full.", _NS),
    _Counted("in_flight_records", "supervisor_in_flight_records", "Records taken and not acknowledged.", by_topic=True),
    _Counted(
        "in_flight_bytes",
        "supervisor_in_flight_bytes",
        "Bytes of the records taken and not acknowledged.",
        by_topic=True,
    ),
    _Counted(
        "unanswered", "supervisor_unanswered_records", "Records written that the Calculator has not come back after."
    ),
    _Counted("unacknowledged", "supervisor_unacknowledged_records", "Records written and not acknowledged."),
    _Counted(
        "protocol_violations",
        "supervisor_protocol_violations_total",
        "Answers of the Calculator that break the rule of ACK_MODE.",
    ),
    _Counted(
        "dead_in_flight", "supervisor_waiting_dead_letters", "Records set aside whose dead letter is not delivered."
    ),
    _Counted(
        "assigned_partitions",
        "supervisor_assigned_partitions",
        "Partitions of the incoming topic owned now.",
        by_topic=True,
    ),
)
_OUTLET: Final = (
    _Counted("lines_read", "supervisor_lines_read_total", "Lines read from the Calculator's STDOUT."),
    _Counted("bytes_read", "supervisor_lines_read_bytes_total", "Bytes read from the Calculator's STDOUT."),
    _Counted(
        "lines_delivered", "supervisor_lines_delivered_total", "Lines delivered to the outgoing topic.", by_topic=True
    ),
    _Counted(
        "bytes_produced",
        "supervisor_produced_bytes_total",
        "Bytes of dataframes handed to the Kafka client.",
        by_topic=True,
    ),
    _Counted("lines_discarded", "supervisor_discarded_lines_total", "Lines dropped: the route has no outgoing stream."),
    _Counted("lines_oversize", "supervisor_oversize_lines_total", "Lines dropped: longer than MAX_LINE_BYTES."),
    _Counted(
        "lines_unproducible",
        "supervisor_unproducible_lines_total",
        "Lines dropped: refused by the broker.",
        by_topic=True,
    ),
    _Counted("lines_abandoned", "supervisor_abandoned_lines_total", "Lines given up with their route or at a stop."),
    _Counted(
        "lines_not_json", "supervisor_not_json_lines_total", "Lines sent as raw: no JSON value, with OUTPUT_JSON."
    ),
    _Counted(
        "lines_repaired", "supervisor_invalid_utf8_lines_total", "Lines in which bytes that are no UTF-8 were replaced."
    ),
    _Counted("lines_with_nul", "supervisor_lines_with_nul_total", "Lines with a NUL character, sent as \\\\u0000."),
    _Counted("dead_letters_delivered", "supervisor_dead_letters_total", "Dead letters delivered."),
    _Counted(
        "retries",
        "supervisor_produce_retries_total",
        "Lines handed to the Kafka client again after a failure.",
        by_topic=True,
    ),
    _Counted("output_full_ns", "supervisor_output_full_seconds_total", "Time the way to Kafka was full.", _NS),
    _Counted("undelivered", "supervisor_undelivered_lines", "Lines on their way to the outgoing topic.", by_topic=True),
)


def render(facts: Facts) -> str:
    """Return the whole page."""
    return "".join([*_supervisor(facts), *_flow(facts), *_streams(facts), *_process()])


def _supervisor(facts: Facts) -> Iterator[str]:
    info = {"version": facts.version, "node_id": facts.node_id}
    yield _family("supervisor_build_info", "The version that runs, and whose it is.", [(info, 1)])
    lifecycles: tuple[tuple[str, enum.Enum], ...] = (
        ("daemon", facts.daemon),
        ("calculator", facts.calculator),
        ("route", facts.route_state),
        ("relay", facts.relay),
        ("registration", facts.registration),
    )
    for name, state in lifecycles:
        values = [member.value for member in type(state)]
        yield _family(
            f"supervisor_{name}_state", "1 for the state it is in.", _one_hot({}, "state", values, state.value)
        )
    checks = (("supervisor", supervisor_check(facts)), ("calculator", calculator_check(facts)))
    statuses = [
        sample
        for name, report in checks
        for sample in _one_hot({"check": name}, "status", (PASSING, WARNING, CRITICAL), report.status)
    ]
    yield _family("supervisor_check_status", "1 for the status of the check.", statuses)
    words = [word.value for word in Word]
    yield _family(
        "supervisor_state",
        "1 for the word of the page, the worst that is true.",
        _one_hot({}, "state", words, condition(facts).word.value),
    )
    yield _family("supervisor_ready", "1 while /health/ready says yes.", [({}, ready(facts)[0])])
    yield _family(
        "supervisor_calculator_restarts_total", "Starts of the Calculator after its first.", [({}, facts.restarts)]
    )
    yield _family(
        "supervisor_log_lines_dropped_total",
        "Log lines dropped because the log's reader did not take them in time.",
        [({}, facts.log_lines_dropped)],
    )
    version = facts.route.version if facts.route is not None else 0
    yield _family("supervisor_route_version", "Version of the route in force, 0 if none is.", [({}, version)])
    yield _family(
        "supervisor_adopted_version",
        "adopted_version as the Supervisor last wrote it, 0 if never.",
        [({}, facts.adopted_version or 0)],
    )
    if facts.adoption_delay_s is not None:
        yield _family(
            "supervisor_adoption_delay_seconds",
            "From the sight of the last change of the route to its being in force.",
            [({}, facts.adoption_delay_s)],
        )
    yield _family(
        "supervisor_consul_errors_total", "Calls to the Consul agent that failed.", [({}, facts.agent_errors_total)]
    )


def _flow(facts: Facts) -> Iterator[str]:
    """What is worked out of the counters, and the bounds that they are to be seen beside."""
    yield _family(
        "supervisor_poison",
        "1 while a record that ends the Calculator is tried again alone.",
        [({}, facts.poison is not None)],
    )
    if facts.progress_ago_s is not None:
        yield _family(
            "supervisor_last_progress_timestamp_seconds",
            "When a record was last seen to be taken or acknowledged, or a line to be delivered, Unix time.",
            [({}, facts.taken_at.timestamp() - facts.progress_ago_s)],
        )
    yield _family(
        "supervisor_oldest_in_flight_seconds",
        "Age of the oldest record that is taken and not acknowledged, to half a second; 0 if there is none.",
        [({}, facts.oldest_in_flight_s or 0)],
    )
    yield _family(
        "supervisor_max_in_flight_records", "MAX_IN_FLIGHT_RECORDS, the window.", [({}, facts.max_in_flight_records)]
    )
    yield _family(
        "supervisor_max_in_flight_bytes", "MAX_IN_FLIGHT_BYTES, the window.", [({}, facts.max_in_flight_bytes)]
    )
    held = facts.inlet.get("in_flight_bytes", 0) + sum(facts.outlet.get(key, 0) for key in _HELD)
    yield _family(
        "supervisor_held_bytes", "Bytes of the records in flight and of what holds lines on their way.", [({}, held)]
    )


_HELD: Final = ("kept_bytes", "slab_bytes", "returned_bytes", "key_bytes")


def _streams(facts: Facts) -> Iterator[str]:
    topics = (facts.route.incoming_stream, facts.route.outgoing_stream) if facts.route is not None else (None, None)
    for snapshot, table, topic in ((facts.inlet, _INLET, topics[0]), (facts.outlet, _OUTLET, topics[1])):
        for counted in table:
            labels = {"topic": topic} if counted.by_topic and topic is not None else {}
            # No stream counts nothing; a stream that lacks one of its counters is a bug, and raises.
            value = snapshot[counted.key] / counted.per if snapshot else 0
            yield _family(counted.name, counted.meaning, [(labels, value)])
    sides: tuple[tuple[str, Mapping[str, int], str | None], ...] = (
        ("incoming", facts.inlet, facts.consumer_error),
        ("outgoing", facts.outlet, facts.producer_error),
    )
    errors = [({"side": side}, error is not None) for side, _, error in sides]
    yield _family("supervisor_kafka_error", "1 while an error of the Kafka client stands.", errors)
    throttled = [
        ({"client": client}, counters.get("throttled_ms", 0) / 1000)
        for client, counters in (("consumer", facts.inlet), ("producer", facts.outlet))
    ]
    yield _family(
        "supervisor_kafka_throttled_seconds_total", "Silence that brokers asked for because of a quota.", throttled
    )
    # Below 0: not known yet, a sample would be a lie.
    brokers = [
        ({"side": side}, counters["brokers_up"]) for side, counters, _ in sides if counters.get("brokers_up", -1) >= 0
    ]
    yield _family("supervisor_kafka_brokers_up", "Brokers that the Kafka client is connected to.", brokers)
    lags = [({"partition": str(partition)}, lag) for partition, lag in sorted(facts.partition_lag().items())]
    yield _family("supervisor_partition_lag_records", "Records of the partition that are not acknowledged yet.", lags)


def _process() -> Iterator[str]:
    """The standard process metrics; none where /proc is hidden."""
    try:
        # The name, in parentheses, may hold anything: count from its end. Fields by proc(5), the third is index 0.
        stat = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot_line = next(
            line for line in Path("/proc/stat").read_text(encoding="ascii").splitlines() if "btime" in line
        )
        open_fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counted, not walked
    except (OSError, StopIteration):
        return
    ticks = os.sysconf("SC_CLK_TCK")
    cpu_s = (int(stat[11]) + int(stat[12])) / ticks
    start_s = int(boot_line.split()[1]) + int(stat[19]) / ticks
    resident_bytes = int(stat[21]) * os.sysconf("SC_PAGE_SIZE")
    yield _family("process_cpu_seconds_total", "User and system CPU time of this process.", [({}, cpu_s)])
    yield _family("process_start_time_seconds", "Start of the process, Unix time.", [({}, start_s)])
    yield _family("process_resident_memory_bytes", "Resident memory of this process.", [({}, resident_bytes)])
    yield _family("process_open_fds", "Open file descriptors of this process.", [({}, open_fds)])


def _one_hot(labels: Labels, label: str, values: Iterable[str], chosen: str) -> list[Sample]:
    return [({**labels, label: value}, value == chosen) for value in values]


def _family(name: str, meaning: str, samples: Iterable[Sample]) -> str:
    """Write a metric with its help and type; nothing if it has no samples."""
    kind = "counter" if name.endswith("_total") else "gauge"
    lines = [f"{name}{_labels(labels)} {_number(value)}\n" for labels, value in samples]
    if not lines:
        return ""
    return f"# HELP {name} {_escape(meaning)}\n# TYPE {name} {kind}\n" + "".join(lines)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escape(value).replace(chr(34), chr(92) + chr(34))}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
