"""How a line on the Calculator's STDERR stands in the log: CALCULATOR_LOG.

- `wrap`: as the text of an event of ours, whose level is that of the line if it is one JSON object;
- `merge`: the members of such an object become those of the event;
- `raw`: as it came, for those who read both logs apart.

No level is below info: LOG_LEVEL is about ours, and what a program prints is to be seen. Secrets are masked in each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from supervisor import logs

LOGGER: Final = "supervisor.calculator"
EVENT: Final = "calculator stderr"

Write = Callable[[bytes, int, bool], None]
"""Takes a line without its ending, the process id, and whether the line goes on."""

_LEVEL_MEMBERS: Final = (
    "level", "severity", "levelname", "lvl", "log.level", "log_level", "loglevel", "severity_text", "severityText",
    "@level", "@l",
)  # fmt: skip
_EVENT_MEMBERS: Final = ("message", "msg", "event", "@message", "@m", "@mt")
_WARNINGS: Final = frozenset({"warn", "warning", "w"})
_ERRORS: Final = frozenset(
    {"error", "err", "severe", "e", "fatal", "critical", "crit", "panic", "dpanic", "alert", "emerg", "emergency", "f"}
)
_OURS: Final = frozenset(
    {"timestamp", "level", "logger", "event", "pid", "node_id", "instance", "continues"}
    # what the renderer takes for a traceback of ours and writes as it is
    | {"exception", "exc_info", "stack", "stack_info", "logger_name"}
)


def wrap(line: bytes, pid: int, continues: bool) -> None:
    """Log it as a text."""
    found = None if continues else _object(line)
    _log("info" if found is None else level(found), line, pid, continues=continues)


def merge(line: bytes, pid: int, continues: bool) -> None:
    """Log the members of a JSON object, anything else as a text. Members that we have too are ``calculator_…``."""
    found = None if continues else _object(line)
    if found is None:
        _log("info", line, pid, continues=continues)
        return
    severity = level(found)
    named = next((name for name in _EVENT_MEMBERS if isinstance(found.get(name), str)), None)
    event = EVENT if named is None else found.pop(named)
    members = {f"calculator_{name}" if name in _OURS else name: value for name, value in found.items()}
    logs.emit(severity, LOGGER, event, {**members, "pid": pid})


def raw(line: bytes, _pid: int, _continues: bool) -> None:
    """Write it as it is; one over the limit of a piece is broken there."""
    logs.emit_raw(line)


FORMS: Final[Mapping[str, Write]] = {"wrap": wrap, "merge": merge, "raw": raw}


def level(members: Mapping[str, Any]) -> str:
    """Return info, warning or error for the level that a JSON object states, in any of the usual ways."""
    nested = members.get("log")
    stated = next((members[name] for name in _LEVEL_MEMBERS if name in members), None)
    if stated is None and isinstance(nested, dict):
        stated = nested.get("level")
    if isinstance(stated, str):
        word = stated.strip().lower()
        return "error" if word in _ERRORS else "warning" if word in _WARNINGS else "info"
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        return "info"
    if 0 <= stated <= 7:  # syslog's
        return "error" if stated <= 3 else "warning" if stated == 4 else "info"
    return "error" if stated >= 50 else "warning" if stated >= 40 else "info"  # of bunyan and pino


def _log(severity: str, line: bytes, pid: int, *, continues: bool) -> None:
    details: dict[str, Any] = {"line": line.decode("utf-8", "backslashreplace"), "pid": pid}
    if continues:
        details["continues"] = True
    logs.emit(severity, LOGGER, EVENT, details)


def _object(line: bytes) -> dict[str, Any] | None:
    if not (line[:1] == b"{" and line.rstrip()[-1:] == b"}"):
        return None
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):  # no JSON, no UTF-8, a number of thousands of digits, nested too deep
        return None
    return found if isinstance(found, dict) else None
