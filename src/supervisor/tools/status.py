"""``supervisor status``: what the page says, on a terminal: what is wrong first and once, then the figures."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from supervisor.figures import duration
from supervisor.tools import asking, commands

HELP: Final = """\
usage: supervisor status [--json]

Shows what the Supervisor that runs in this container is doing, as its page
http://HOST:8080/ does: what is wrong first, then route, figures and the
Calculator's last line on STDERR. It is found as it was started: by HTTP_PORT
and HTTP_HOST (or BDZ_HTTP_PORT and BDZ_HTTP_HOST).

  --json  what GET /status answers, as it is

exit status: 0 it answered, 1 it did not, 2 wrong use. Whether it is well is
the status of "supervisor health ready".
"""

_SEVERITY: Final = ("passing", "warning", "critical")
_LABEL_WIDTH: Final = 12

Status = Mapping[str, Any]


def main(words: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    given = commands.parse(words, {"--json": ""})
    code, body = asking.get("/status", os.environ)
    try:
        status = json.loads(body) if code == 200 else None
    except ValueError:
        status = None
    if not isinstance(status, dict):
        raise asking.NotAskedError(f"/status answered {code} and no status; the Supervisor's log may say why")
    if "--json" in given.given:
        sys.stdout.write(body.decode("utf-8", "replace"))
    else:
        print(screen(status))
    return 0


def screen(status: Status) -> str:
    """Return the screen, without what is zero or usual. What is foreign in it cannot do anything to the terminal."""
    lines = [*_head(status), "", *(f"{label + ':':{_LABEL_WIDTH}} {text}" for label, text in _rows(status) if text)]
    return "\n".join("".join(char if char.isprintable() else " " for char in line).rstrip() for line in lines)


def _head(status: Status) -> Iterator[str]:
    """One line that says how it is, then what the checks say, the worst first."""
    checks = sorted(status["checks"].items(), key=lambda named: -_SEVERITY.index(named[1]["status"]))
    worst = checks[0][1]["status"]
    word, is_ready = status["state"]["word"], "ready" if status["ready"] else "not ready"
    yield f"{status['node_id']}: {word}, {worst}, {is_ready}"
    yield ""
    for name, report in checks:
        yield f"{report['status'].upper():9} {name}: {report['output']}"
    if worst == "passing" and not status["ready"]:  # else the checks say it, with more words
        yield f"{'':9} not ready: {status['readiness']}"


def _rows(status: Status) -> Iterator[tuple[str, str]]:
    inlet, outlet = status["inlet"], status["outlet"]
    yield "Route", _route(status)
    yield "Flow", "" if status["held_up"] else f"{status['relay']} for {duration(status['relay_for_s'])}"
    yield "In", _counted(inlet, _IN) if inlet else ""
    yield "Lag", _lag(status)
    yield "Out", _counted(outlet, _OUT)
    yield "Calculator", _calculator(status)
    yield "Settings", _settings(status)
    yield "Last STDERR", status["last_stderr_line"] or ""
    yield "As of", f"{status['taken_at'][:19]} UTC, Supervisor {status['version']}, {status['daemon']}"


_IN: Final = {
    "records_read": "{} records read",
    "acknowledged": "{} acknowledged",
    "in_flight_records": "{} in flight",
    "replayed": "{} written again after a crash",
    "tombstones": "{} without a value",
    "values_changed": "{} changed: newlines inside",
    "unplaced_partitions": "{} partitions not read yet",
}
_OUT: Final = {
    "lines_read": "{} lines read",
    "lines_delivered": "{} delivered",
    "undelivered": "{} on their way",
    "lines_oversize": "{} dropped: too long",
    "lines_unproducible": "{} dropped: refused by the broker",
    "lines_discarded": "{} dropped: no outgoing stream",
    "lines_abandoned": "{} given up with their route",
    "lines_not_json": "{} sent as raw: no JSON value",
    "lines_repaired": "{} repaired: no UTF-8",
    "lines_with_nul": "{} with a NUL character",
    "dead_letters_delivered": "{} dead letters",
}


def _counted(counters: Mapping[str, int], words: Mapping[str, str]) -> str:
    told = [text.format(f"{counters[name]:,}") for name, text in words.items() if counters.get(name)]
    return ", ".join(told) or "nothing yet"


def _route(status: Status) -> str:
    route = status["route"]
    state = f"{status['route_state']} for {duration(status['route_for_s'])}"
    if route is None:
        return f"{state}; none in force ({status['kv_directory']})"
    streams = f"{route['incoming_stream'] or '-'} to {route['outgoing_stream'] or '-'}"
    reported = status["adopted_version"]
    adopted = "" if reported == route["version"] else f", reported as adopted: {reported or 'none'}"
    return f"{streams}, version {route['version']}{', paused' if route['paused'] else ''}, {state}{adopted}"


def _lag(status: Status) -> str:
    known = {int(partition): place["lag"] for partition, place in status["lag"].items() if place["lag"] is not None}
    if not status["lag"]:
        return ""
    behind = {partition: lag for partition, lag in sorted(known.items(), key=lambda item: -item[1]) if lag}
    most = ", ".join(f"{partition}: {lag:,}" for partition, lag in [*behind.items()][:5])
    unknown = len(status["lag"]) - len(known)
    return (
        f"{sum(known.values()):,} records behind on {len(status['lag'])} partitions"
        + (f" (partition {most}{', …' if len(behind) > 5 else ''})" if behind else "")
        + (f", of {unknown} not known yet" if unknown else "")
    )


def _calculator(status: Status) -> str:
    told = [f"{status['calculator']} for {duration(status['calculator_for_s'])}"]
    if status["calculator_pid"] is not None:
        told.append(f"pid {status['calculator_pid']}")
    if status["restarts"]:
        told.append(f"{status['restarts']:,} restarts")
    if status["last_exit"]:
        told.append(f"last end: {status['last_exit']}")
    for side, counter, what in (
        (status["inlet"], "stdin_full_ns", "STDIN was full"),
        (status["outlet"], "output_full_ns", "the way to Kafka was full"),
    ):
        if side.get(counter, 0) >= 1e9:
            told.append(f"{what} for {duration(side[counter] / 1e9)}")
    return ", ".join(told)


def _settings(status: Status) -> str:
    """Those that are not as they come."""
    return ", ".join(
        f"{key.upper()}={told['value']} ({told['source']})"
        for key, told in status["settings"].items()
        if told["source"] != "default"
    )
