"""The log: key=value on a terminal, one JSON object a line otherwise; on STDERR, so that STDOUT stays free.

It is written at once, until ``write_behind`` puts a bounded queue in between: the Supervisor waits for no reader.

Every line has a timestamp (UTC, ms), a level, a logger, the event and its details. Any value can be logged: bytes that
are no UTF-8 are written as escapes, and registered secrets are masked wherever they turn up, tracebacks included.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import enum
import json
import logging
import math
import sys
import urllib.parse
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

import structlog

from supervisor.log_sink import LogSink
from supervisor.states import CalculatorState, RegistrationState

_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_MASK: Final = "***"
_KEYS_KEPT: Final = 256
_KEY_CHARACTERS: Final = 64
_sink: LogSink | None = None
_plain: _Plain | None = None
_threshold = 0


def hide(secret: str) -> None:
    """Mask one more secret from now on."""
    if _plain is not None:
        _plain.hide(secret)


def configure(level: str, colors: bool | None, log_format: str, secrets: Iterable[str] = (), **always: str) -> None:
    """Set the log up: ``level`` debug, info, warning or error; ``log_format`` auto, console or json.

    ``colors`` None means: on a terminal only. ``secrets`` are masked from now on. ``always`` stands in every line. The
    libraries' own log (``logging``, ``warnings``) comes out in the same form, from warning upwards.
    """
    global _plain, _threshold  # noqa: PLW0603 - there is one log in a process
    terminal = sys.stderr is not None and sys.stderr.isatty()
    console = log_format == "console" or (log_format == "auto" and terminal)
    renderer: Any = _json
    if console:
        renderer = structlog.dev.ConsoleRenderer(
            colors=terminal if colors is None else colors,
            exception_formatter=structlog.dev.plain_traceback,
            sort_keys=False,
        )
    _plain = _Plain(secrets, visible=console)
    _threshold = _LEVELS[level]
    structlog.configure(
        processors=[_head, structlog.processors.format_exc_info, _plain, _Always(always, _plain), renderer],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Logger,
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)
    logging.captureWarnings(True)


def set_level(level: str) -> None:
    """From now on, log from this level upwards."""
    global _threshold  # noqa: PLW0603 - there is one log in a process
    _threshold = _LEVELS[level]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]))


def write_behind(fd: int) -> LogSink:
    """From now on, queue the lines and have a thread write them to ``fd``; the sink has to be flushed at the end."""
    global _sink  # noqa: PLW0603 - there is one log in a process
    _sink = LogSink(fd, _missing_lines)
    return _sink


def takes_flood() -> bool:
    """Whether the log has room for a line of the Calculator; if not, it is counted as dropped and need not be made."""
    return _sink is None or _sink.takes_flood()


def dropped_lines() -> int:
    """Lines that the log's reader did not take in time, since the start."""
    return 0 if _sink is None else _sink.dropped


def masked(text: str) -> str:
    """The text without the secrets that ``configure`` was told of."""
    return text if _plain is None else _plain.masked(text)


_LOUD_STATES: Final[Mapping[enum.Enum, str]] = {
    CalculatorState.BACKOFF: "warning",
    CalculatorState.CRASH_LOOP: "error",
    RegistrationState.LOST: "warning",
}
"""States that are a trouble by themselves. A refused route has an error of its own that says more."""


def state_changed(name: str, old: enum.Enum, new: enum.Enum, why: str) -> None:
    """Log a change of state, as loud as the new one is; the observer of every ``Lifecycle``."""
    say = getattr(structlog.get_logger("supervisor.states"), _LOUD_STATES.get(new, "info"))
    say(f"{name} {new.value}", old=old.value, new=new.value, why=why)


def emit(level: str, name: str, event: str, details: Mapping[str, Any]) -> None:
    """Log an event whose details may have any name, those of parameters included, as logger ``name``."""
    if _LEVELS[level] < _threshold:
        return
    with contextlib.suppress(structlog.DropEvent):
        _Logger(name).info(_rendered(level, name, {**details, "event": event}))


def emit_raw(line: bytes) -> None:
    """Write a line that is no event of ours, as it is but for secrets."""
    if _plain is not None and _plain.has_secrets:
        line = _plain.masked(line.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
    if _sink is not None:
        _sink.write_bytes(line)
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):  # sys.stderr is None where it was closed
        sys.stderr.buffer.write(line + b"\n")
        sys.stderr.flush()


def _rendered(level: str, name: str, line: Any) -> str:
    logger = _Logger(name)
    for processor in structlog.get_config()["processors"]:
        line = processor(logger, level, line)
    return str(line)


def _missing_lines(count: int) -> str:
    """The line that stands for those dropped; made by hand because it must not be dropped or queued behind others."""
    event = "log lines dropped: the log's reader did not take them in time"
    return _rendered("warning", "supervisor.logs", {"event": event, "lines": count})


class _Logger:
    """Writes to the queue, else to STDERR as it is at the time of the call; if that is gone, nobody must end for it."""

    def __init__(self, name: str = "supervisor") -> None:
        self.name = name

    def _write(self, line: str) -> None:
        if _sink is not None:
            _sink.write(line)
            return
        with contextlib.suppress(OSError, ValueError, AttributeError):  # sys.stderr is None where it was closed
            sys.stderr.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
            sys.stderr.flush()

    debug = info = warning = error = critical = _write


class _Forward(logging.Handler):
    """Hands records of ``logging`` to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)
        structlog.get_logger(record.name).log(level, record.getMessage(), exc_info=record.exc_info)


def _head(logger: _Logger, level: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": now, "level": level, "logger": logger.name, "event": event.pop("event", ""), **event}


class _Always:
    """Puts last what stands in every line; made plain once, because a flood of lines has it too."""

    def __init__(self, always: Mapping[str, str], plain: _Plain) -> None:
        self._always = plain(None, "", always)

    def __call__(self, _logger: object, _level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.update(self._always)
        return event


class _Plain:
    """Turns every value into what JSON has, without secrets; ``visible`` escapes what a terminal would obey."""

    def __init__(self, secrets: Iterable[str], *, visible: bool) -> None:
        self._visible = visible
        self._keys: dict[str, str] = {}  # of events, made plain: few, and in every line
        self._secrets: list[str] = []
        self.hide(*secrets)

    def hide(self, *secrets: str) -> None:
        """Mask these too, from now on."""
        spellings = {
            spelling
            for secret in secrets
            if secret
            # as it is, and as it stands inside a quoted text, a JSON text or a URL
            for spelling in (secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], _quoted(secret))
        }
        # A secret may be a part of another one.
        self._secrets = sorted(spellings.union(self._secrets), key=len, reverse=True)

    def __call__(self, _logger: object, _level: str, event: Mapping[str, Any]) -> dict[str, Any]:
        return {
            self._key(key): self.masked(str(value)) if key == "exception" else self._plain(value)
            for key, value in event.items()
        }

    @property
    def has_secrets(self) -> bool:
        """Whether there is anything to mask."""
        return bool(self._secrets)

    def _key(self, key: str) -> str:
        plain = self._keys.get(key)
        if plain is None:
            plain = self._text(key)
            if len(self._keys) < _KEYS_KEPT and len(key) <= _KEY_CHARACTERS:
                self._keys[key] = plain
        return plain

    def _plain(self, value: object) -> Any:
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)
            case bytes() | bytearray():
                return self._text(value.decode("utf-8", "backslashreplace"))
            case enum.Enum():
                return self._plain(value.value)
            case Mapping():
                return {self._text(str(key)): self._plain(item) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._plain(item) for item in value]
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        text = self.masked(text)
        if self._visible and not text.isprintable():
            text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
        return text

    def masked(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        return text


def _quoted(secret: str) -> str:
    return urllib.parse.quote(secret, safe="", errors="surrogateescape")


def _json(_logger: object, _level: str, event: Mapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False)
