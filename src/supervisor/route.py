"""The route: what the KV directory says, checked. Pure functions.

Source of the keys: the platform's workspace manager, which writes each as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from supervisor.errors import RouteError, SettingsError
from supervisor.settings import KV_KEYS, TOPIC_PATTERN, Settings

DESIRED_VERSION: Final = "desired_version"
ADOPTED_VERSION: Final = "adopted_version"
INCOMING_STREAM: Final = "incoming_stream"
OUTGOING_STREAM: Final = "outgoing_stream"
PAUSE_STREAM: Final = "pause_stream"
MANAGERS_KEYS: Final = frozenset({DESIRED_VERSION, INCOMING_STREAM, OUTGOING_STREAM, PAUSE_STREAM})
RESTART_CALCULATOR: Final = "restart_calculator"
"""Not of the route: a value other than the one before asks for a restart of the Calculator."""

KNOWN_KEYS: Final = MANAGERS_KEYS | {ADOPTED_VERSION, RESTART_CALCULATOR} | KV_KEYS.keys()

_TOPIC = re.compile(TOPIC_PATTERN, re.ASCII)


@dataclass(frozen=True)
class Route:
    """Which topics a workspace reads and writes; one of the two streams may be None, not both.

    ``settings``: what the directory says over the environment's settings, by key, as text for `Settings.with_kv`.
    """

    version: int
    incoming_stream: str | None
    outgoing_stream: str | None
    paused: bool
    settings: Mapping[str, str] = field(default_factory=dict)


def incoming_of(route: Route | None) -> str | None:
    """Return the topic that is read, None without a route too."""
    return route.incoming_stream if route is not None else None


def outgoing_of(route: Route | None) -> str | None:
    """Return the topic that is written, None without a route too."""
    return route.outgoing_stream if route is not None else None


def describe(route: Route | None) -> str:
    """Say all of it in a line of the log."""
    if route is None:
        return "none"
    paused = ", paused" if route.paused else ""
    settings = "".join(f", {key} {value}" for key, value in sorted(route.settings.items()))
    streams = f"{route.incoming_stream or '-'} to {route.outgoing_stream or '-'}"
    return f"version {route.version}, {streams}{settings}{paused}"


def parse(entries: Mapping[str, bytes], settings: Settings) -> Route | None:
    """Read the directory's entries, by key. None while ``desired_version`` is not there: not routed yet.

    ``settings`` are the environment's, which hold for what the directory does not say. Raises RouteError with every
    problem, the combination with them included.
    """
    if DESIRED_VERSION not in entries:
        return None
    problems: list[str] = []
    texts = dict(_texts(entries, problems))
    version = version_of(texts.get(DESIRED_VERSION, ""))
    if version is None and DESIRED_VERSION in texts:
        problems.append(f"{DESIRED_VERSION}: met '{texts[DESIRED_VERSION]}', expected a whole number above 0")
    for key in (INCOMING_STREAM, OUTGOING_STREAM):
        problems.extend(_topic_problems(key, texts.get(key)))
    if INCOMING_STREAM not in entries and OUTGOING_STREAM not in entries:
        problems.append(f"neither {INCOMING_STREAM} nor {OUTGOING_STREAM} is there, expected one of them or both")
    pause = texts.get(PAUSE_STREAM, "false").strip().lower()
    if pause not in ("true", "false"):
        problems.append(f"{PAUSE_STREAM}: met '{texts[PAUSE_STREAM]}', expected true or false")
    said = {key: texts[key].strip() for key in KV_KEYS if key in texts}
    try:
        problems.extend(_combination_problems(entries.keys(), texts, settings.with_kv(said)))
    except SettingsError as error:
        problems.extend(error.problems)
    if problems:
        raise RouteError(problems)
    return Route(
        version=version or 0,
        incoming_stream=texts.get(INCOMING_STREAM),
        outgoing_stream=texts.get(OUTGOING_STREAM),
        paused=pause == "true",
        settings=said,
    )


def _combination_problems(keys: AbstractSet[str], texts: Mapping[str, str], settings: Settings) -> Iterator[str]:
    """What of the streams does not go together with the settings."""
    for key in (INCOMING_STREAM, OUTGOING_STREAM):
        if key in texts and texts[key] == settings.dead_letter_stream:
            yield f"{key}: met '{texts[key]}', which is the dead letter stream; expected another topic"
    if settings.processing_guarantee == "exactly-once" and INCOMING_STREAM not in keys and OUTGOING_STREAM in keys:
        yield (
            f"{INCOMING_STREAM} is missing: exactly-once needs an incoming stream, whose offsets are committed with"
            " the lines; use PROCESSING_GUARANTEE at-least-once for a workspace that only produces"
        )


def version_of(text: str) -> int | None:
    """Return the version a text says, None if it says none."""
    text = text.strip()
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) and int(text) > 0 else None


def adopted_version(entries: Mapping[str, bytes]) -> int:
    """Return what ``adopted_version`` says, 0 if it is missing or no number."""
    return version_of(entries.get(ADOPTED_VERSION, b"").decode("utf-8", "replace")) or 0


def _texts(entries: Mapping[str, bytes], problems: list[str]) -> Iterator[tuple[str, str]]:
    for key in sorted((KNOWN_KEYS - {RESTART_CALCULATOR}) & entries.keys()):
        try:
            yield key, entries[key].decode("utf-8")
        except UnicodeDecodeError:
            problems.append(f"{key}: met bytes that are no UTF-8 text")


def _topic_problems(key: str, topic: str | None) -> Iterator[str]:
    if topic is None:
        return
    if not topic:
        yield f"{key}: empty, expected a topic's name, or no such key"
    elif not _TOPIC.fullmatch(topic):
        yield f"{key}: met '{topic[:80]}', expected a name Kafka allows (up to 249 letters, digits and . _ -)"
