"""The page a person reads: facts as one self-contained HTML document without scripts. Everything foreign is escaped."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Final

from supervisor.figures import duration, number, size
from supervisor.health import (
    CRITICAL,
    PASSING,
    WARNING,
    CheckReport,
    Facts,
    calculator_check,
    held_up,
    ready,
    shown,
    supervisor_check,
)

REFRESH_S: Final = 5

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c2128; --dim: #5d6672; --paper: #f5f6f8; --card: #fff; --line: #dfe3e8;
  --passing: #1a7f4b; --warning: #9a6200; --critical: #c62828; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --dim: #97a1ae; --paper: #14171c; --card: #1d2127;
  --line: #313740; --passing: #4cc38a; --warning: #e5a634; --critical: #ff7b72; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem; }
header { display: flex; flex-wrap: wrap; align-items: baseline; gap: .25rem 1rem; margin-bottom: 1rem; }
h1 { font-size: 1.4rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: .95rem; margin: 0 0 .4rem; }
header p { margin: 0 0 0 auto; color: var(--dim); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; }
.check { border-left: 5px solid var(--status); margin-bottom: .75rem; }
.check p { margin: 0; overflow-wrap: anywhere; }
.status { color: var(--status); font-weight: 600; }
.badge { color: var(--status); border: 1px solid; border-radius: 1rem; padding: 0 .7rem; font-size: .85rem; }
.passing { --status: var(--passing); } .warning { --status: var(--warning); } .critical { --status: var(--critical); }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .75rem; }
table { width: 100%; border-collapse: collapse; }
th, td { text-align: left; padding: .15rem 0; vertical-align: top; }
th { font-weight: 400; color: var(--dim); padding-right: 1rem; }
td { text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
thead th + th { text-align: right; padding-right: 0; }
.lag td:first-child { text-align: left; }
.wide { grid-column: 1 / -1; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
footer { margin-top: 1rem; color: var(--dim); } a { color: inherit; }
"""

Row = tuple[str, str]


def render(facts: Facts) -> str:
    """Return the whole document."""
    checks = (("Supervisor", supervisor_check(facts)), ("Calculator", calculator_check(facts)))
    is_ready, why = ready(facts)
    told = is_ready or any(report.output == why for _, report in checks)
    worst = max((report.status for _, report in checks), key=[PASSING, WARNING, CRITICAL].index)
    badge = CRITICAL if worst == CRITICAL else WARNING
    cards = [
        _table("Route", _route(facts)),
        _table("Handling of records", _settings(facts)),
        _table("Calculator", _calculator(facts)),
        _table("Records in", _incoming(facts)),
        _table("Lines out", _outgoing(facts)),
        _lag(facts),
        _stderr(facts),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(worst)}: {escape(facts.node_id)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        f"<header><h1>{escape(facts.node_id)}</h1>"
        f'<span class="badge {PASSING if is_ready else badge}">{"ready" if is_ready else "not ready"}</span>'
        f"<p>Supervisor {escape(facts.version)}, {escape(facts.daemon.value)}</p></header>\n"
        + "".join(_check(name, report) for name, report in checks)
        + ("" if told else _check("Readiness", CheckReport(WARNING, why)))
        + f'<div class="grid">\n{"".join(cards)}</div>\n'
        f"<footer>As of {facts.taken_at:%Y-%m-%d %H:%M:%S} UTC, renewed every {REFRESH_S} s. "
        'The same for machines: <a href="status">status</a>, <a href="metrics">metrics</a>, '
        '<a href="health/live">live</a>, <a href="health/ready">ready</a>.</footer>\n</main></body></html>\n'
    )


def _check(name: str, report: CheckReport) -> str:
    return (
        f'<section class="check {report.status}"><h2>{name} <span class="status">{report.status}</span></h2>'
        f"<p>{escape(report.output)}</p></section>\n"
    )


def _route(facts: Facts) -> Iterable[Row]:
    route = facts.route
    yield "State", f"{facts.route_state.value} for {duration(facts.route_for_s)}"
    yield "Version in force", str(route.version) if route else "none"
    yield "Version reported as adopted", str(facts.adopted_version) if facts.adopted_version else "none"
    if facts.adoption_delay_s is not None:
        yield "Last adoption took", duration(facts.adoption_delay_s)
    yield "Incoming stream", route.incoming_stream or "none" if route else "none"
    yield "Outgoing stream", route.outgoing_stream or "none" if route else "none"
    why = held_up(facts)
    yield "Flow", f"held up: {why}" if why is not None else f"{facts.relay.value} for {duration(facts.relay_for_s)}"
    yield "Service in Consul", facts.registration.value
    yield "Failed calls to the Consul agent", number(facts.agent_errors_total)


def _settings(facts: Facts) -> Iterable[Row]:
    for key, (value, source) in facts.settings.items():
        yield key.upper(), f"{shown(value)} ({source})"


def _calculator(facts: Facts) -> Iterable[Row]:
    yield "State", f"{facts.calculator.value} for {duration(facts.calculator_for_s)}"
    yield "Process id", str(facts.calculator_pid) if facts.calculator_pid is not None else "none"
    yield "Restarts", number(facts.restarts)
    yield "Last end", facts.last_exit or "none"
    yield "Failures in a row", number(facts.calculator_failures)
    yield "Log lines that nobody read", number(facts.log_lines_dropped)
    yield "STDIN was full for", duration(facts.inlet.get("stdin_full_ns", 0) / 1e9)
    yield "Way to Kafka was full for", duration(facts.outlet.get("output_full_ns", 0) / 1e9)


def _incoming(facts: Facts) -> Iterable[Row]:
    counters = facts.inlet
    if not counters:
        yield "Incoming side", "none"
        return
    unplaced = counters.get("unplaced_partitions", 0)
    yield "Partitions assigned", number(facts.assigned_partitions) + (f", {unplaced} not read yet" if unplaced else "")
    yield "Records read", f"{number(counters['records_read'])} ({size(counters['bytes_read'])})"
    yield "Lines written to STDIN", f"{number(counters['lines_written'])} ({size(counters['bytes_written'])})"
    yield "Acknowledged", number(counters["acknowledged"])
    yield "In flight", f"{number(counters['in_flight_records'])} ({size(counters['in_flight_bytes'])})"
    yield "Written again after a crash", number(counters["replayed"])
    yield "Without a value", number(counters["tombstones"])


def _outgoing(facts: Facts) -> Iterable[Row]:
    counters = facts.outlet
    if not counters:
        yield "Outgoing side", "none"
        return
    yield "Lines read from STDOUT", f"{number(counters['lines_read'])} ({size(counters['bytes_read'])})"
    yield "Delivered", number(counters["lines_delivered"])
    yield "Dataframes handed to Kafka", size(counters["bytes_produced"])
    yield "On their way", number(counters["undelivered"])
    yield "Dropped: too long", number(counters["lines_oversize"])
    yield "Dropped: refused by the broker", number(counters["lines_unproducible"])
    yield "Dropped: no outgoing stream", number(counters["lines_discarded"])
    yield "Given up with their route", number(counters["lines_abandoned"])
    yield "Sent as raw: no JSON value", number(counters["lines_not_json"])
    yield "Repaired: no UTF-8", number(counters["lines_repaired"])


def _lag(facts: Facts) -> str:
    if not facts.lag:
        return ""
    lags = facts.partition_lag()
    rows = "".join(
        f"<tr><td>{partition}</td><td>{_offset(done)}</td><td>{_offset(high)}</td>"
        f"<td>{number(lags[partition]) if partition in lags else 'not known yet'}</td></tr>"
        for partition, (done, high) in sorted(facts.lag.items())
    )
    return (
        '<section class="wide"><h2>Lag by partition</h2><table class="lag"><thead><tr><th>Partition</th>'
        "<th>Acknowledged offset</th><th>End of the topic</th><th>Records behind</th></tr></thead>"
        f"<tbody>{rows}</tbody></table></section>\n"
    )


def _stderr(facts: Facts) -> str:
    if not facts.stderr_lines:
        return ""
    lines = escape("\n".join(shown(line, 1024) for line in facts.stderr_lines))
    return f'<section class="wide"><h2>Last lines on STDERR</h2><pre>{lines}</pre></section>\n'


def _table(title: str, rows: Iterable[Row]) -> str:
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows)
    return f"<section><h2>{title}</h2><table>{body}</table></section>\n"


def _offset(offset: int) -> str:
    return number(offset) if offset >= 0 else "not known yet"
