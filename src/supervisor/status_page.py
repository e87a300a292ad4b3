"""The page a person reads: facts as one self-contained HTML document without scripts. Everything foreign is escaped."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Final

from supervisor.condition import Condition, Place, Word, condition
from supervisor.figures import duration, number, size
from supervisor.health import PASSING, Facts, ready, shown
from supervisor.plots import plot
from supervisor.sampler import Point

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
.state { border-left: 8px solid var(--status); margin-bottom: .6rem; }
.state h2 { color: var(--status); font-size: 1.7rem; line-height: 1.2; margin: 0 0 .2rem; text-transform: uppercase; }
.state p, .further p { margin: 0; overflow-wrap: anywhere; }
.further { margin-bottom: .6rem; padding: .4rem 1rem; } .further.warning { border-left: 5px solid var(--status); }
.badge { color: var(--dim); border: 1px solid; border-radius: 1rem; padding: 0 .7rem; font-size: .85rem; }
.passing { --status: var(--passing); } .warning { --status: var(--warning); } .critical { --status: var(--critical); }
.flow { display: flex; align-items: stretch; gap: .5rem; margin-bottom: .6rem; }
.flow i { align-self: center; font-style: normal; font-size: 1.5rem; color: var(--dim); }
.box { flex: 1 1 0; min-width: 0; background: var(--card); border: 1px solid var(--line); border-radius: 6px;
  padding: .5rem .8rem; display: flex; flex-direction: column; overflow-wrap: anywhere; }
.box small, .box span, .plots small { color: var(--dim); font-size: .85rem; }
.here { border: 3px solid var(--status); } .box em { color: var(--status); font-weight: 600; font-style: normal; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .6rem; margin-bottom: .6rem; }
.plots h2 { font-weight: 400; color: var(--dim); margin: 0; } .plots b { font-size: 1.15rem; }
svg { display: block; width: 100%; height: 44px; } svg * { fill: none; vector-effect: non-scaling-stroke; }
polyline { stroke: var(--ink); stroke-width: 1.5; } .base { stroke: var(--line); }
summary { cursor: pointer; color: var(--dim); margin: .6rem 0; }
@media (max-width: 36rem) {
  .flow { flex-direction: column; gap: 0; } .flow i { transform: rotate(90deg); line-height: 1; }
  .plots { grid-template-columns: 1fr 1fr; } main { padding: .8rem .6rem; } }
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

_USUAL: Final = frozenset({number(0), size(0), duration(0), "none"})

Row = tuple[str, str]


def render(facts: Facts, points: Sequence[Point] = ()) -> str:
    """Return the whole document."""
    now = condition(facts)
    is_ready, why = ready(facts)
    told = is_ready or why in now.cause or bool(now.further) or now.status != PASSING
    further = [*(trouble.words for trouble in now.further), *([] if told else [f"Not ready: {why}"])]
    cards = [
        _table("Route", _route(facts)),
        _table("Settings that are not the default", _settings(facts)),
        _table("Calculator", _calculator(facts)),
        _table("Records in", _incoming(facts)),
        _table("Lines out", _outgoing(facts)),
        _lag(facts),
    ]
    notes = [hint.words for hint in facts.hints if not hint.warns]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="refresh" content="{REFRESH_S}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(now.word.value)}: {escape(facts.node_id)}</title><style>{_STYLE}</style></head>\n"
        "<body><main>\n"
        f"<header><h1>{escape(facts.node_id)}</h1>"
        f'<span class="badge">{"ready" if is_ready else "not ready"}</span>'
        f"<p>{facts.taken_at:%Y-%m-%d %H:%M:%S} UTC</p></header>\n"
        f'<section class="state {now.status}"><h2>{now.word.value}</h2><p>{escape(now.cause)}</p></section>\n'
        + _flow(facts, now)
        + "".join(f'<section class="further warning"><p>{escape(words)}</p></section>\n' for words in further)
        + _plots(facts, points)
        + _stderr(facts)
        + "".join(f'<section class="further"><p>The Calculator: {escape(words)}.</p></section>\n' for words in notes)
        + f'<details><summary>All figures</summary><div class="grid">\n{"".join(cards)}</div></details>\n'
        f"<footer>Supervisor {escape(facts.version)}. Renewed every {REFRESH_S} s. "
        'The same for machines: <a href="status">status</a>, <a href="metrics">metrics</a>, '
        '<a href="health/live">live</a>, <a href="health/ready">ready</a>.</footer>\n</main></body></html>\n'
    )


def _flow(facts: Facts, now: Condition) -> str:
    """The picture: from the one topic through the Calculator to the other, and where it is stuck."""
    route = facts.route
    incoming = (route.incoming_stream or "no incoming stream") if route else "no route"
    outgoing = (route.outgoing_stream or "no outgoing stream") if route else "no route"
    in_flight = facts.inlet.get("in_flight_records", 0)
    boxes = (
        (Place.INCOMING, "from Kafka", incoming, f"{number(facts.assigned_partitions)} partitions assigned"),
        (Place.CALCULATOR, "Calculator", facts.calculator.value, f"{number(in_flight)} records in flight"),
        (Place.OUTGOING, "to Kafka", outgoing, f"{number(facts.outlet.get('undelivered', 0))} lines on their way"),
    )
    drawn = [
        f'<div class="box{_mark(place, now)}"><small>{what}</small><b>{escape(name)}</b><span>{told}</span>'
        f"{_stuck(place, now)}</div>"
        for place, what, name, told in boxes
    ]
    return f'<div class="flow {now.status}">{"<i>&#8594;</i>".join(drawn)}</div>\n'


def _is_at(place: Place, now: Condition) -> bool:
    return now.place is place or (now.place is Place.ROUTE and place is Place.INCOMING)


def _mark(place: Place, now: Condition) -> str:
    return " here" if _is_at(place, now) else ""


def _stuck(place: Place, now: Condition) -> str:
    if not _is_at(place, now):
        return ""
    return f"<em>{'waits' if now.word in (Word.LOADING, Word.WAITING) else 'stuck'} here</em>"


def _plots(facts: Facts, points: Sequence[Point]) -> str:
    last = points[-1] if points else None
    lags = facts.partition_lag()
    oldest_s = facts.oldest_in_flight_s
    cards = (
        ("In", _rate(last.in_per_s if last else None, "records"), [point.in_per_s for point in points], _per_s),
        ("Out", _rate(last.out_per_s if last else None, "lines"), [point.out_per_s for point in points], _per_s),
        (
            "Lag",
            f"{number(sum(lags.values()))} records" if lags else "not known",
            [point.lag for point in points],
            lambda lag: number(round(lag)),
        ),
        (
            "Acknowledgement delay",
            duration(oldest_s) if oldest_s is not None else "none in flight",
            [point.oldest_in_flight_s for point in points],
            duration,
        ),
    )
    return f'<div class="plots">{"".join(_plot(*card) for card in cards)}</div>\n'


def _plot(name: str, now: str, values: Sequence[float | None], told: Callable[[float], str]) -> str:
    highest = max((value for value in values if value is not None), default=None)
    most = "" if highest is None else f"<small>at most {told(highest)} in the last 10 min</small>"
    drawn = plot(values, f"{name}, the last ten minutes")
    return f"<section><h2>{name}</h2><b>{now}</b>{drawn}{most}</section>"


def _rate(per_s: float | None, what: str) -> str:
    return "not known" if per_s is None else f"{_per_s(per_s)} {what}/s"


def _per_s(per_s: float) -> str:
    return number(round(per_s)) if per_s >= 10 or per_s == 0 else f"{per_s:.1f}"


def _route(facts: Facts) -> Iterable[Row]:
    route = facts.route
    yield "State", f"{facts.route_state.value} for {duration(facts.route_for_s)}"
    yield "Version in force", str(route.version) if route else "none"
    yield "Version reported as adopted", str(facts.adopted_version) if facts.adopted_version else "none"
    if facts.adoption_delay_s is not None:
        yield "Last adoption took", duration(facts.adoption_delay_s)
    yield "Incoming stream", route.incoming_stream or "none" if route else "none"
    yield "Outgoing stream", route.outgoing_stream or "none" if route else "none"
    yield "Streams", f"{facts.relay.value} for {duration(facts.relay_for_s)}"
    yield "Service in Consul", facts.registration.value
    yield "Failed calls to the Consul agent", number(facts.agent_errors_total)


def _settings(facts: Facts) -> Iterable[Row]:
    for key, (value, source) in facts.settings.items():
        if source != "default":
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
    yield "Changed: newlines inside", number(counters["values_changed"])


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
    yield "With a NUL character", number(counters["lines_with_nul"])


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
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in rows
        if value not in _USUAL
    )
    return f"<section><h2>{title}</h2><table>{body}</table></section>\n" if body else ""


def _offset(offset: int) -> str:
    return number(offset) if offset >= 0 else "not known yet"
