"""What ``supervisor check`` found: one finding a line, with a hint where there is something to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"
SKIPPED: Final = "skipped"
"""Not checked."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``source``: where its value comes from; ``hint``: what to do about it."""

    name: str
    level: str = OK
    value: str | None = None
    source: str | None = None
    message: str | None = None
    hint: str | None = None


def not_checked(name: str, why: str, value: str | None = None, hint: str | None = None) -> Finding:
    """A finding of what could not be seen."""
    return Finding(name, SKIPPED, value, message=f"not checked: {why}", hint=hint)


def passed(findings: Iterable[Finding]) -> bool:
    """Whether there is no error among them."""
    return all(finding.level != ERROR for finding in findings)


def as_json(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return them as the one object of ``--json``."""
    told = list(findings)
    return {"ok": passed(told), "results": [asdict(finding) for finding in told]}


def as_text(findings: Iterable[Finding]) -> Iterator[str]:
    """Yield them as lines. Nothing foreign in them can do anything to a terminal."""
    for finding in findings:
        value = "" if finding.value is None else f" = {finding.value}" if finding.value else " ="
        source = f" ({finding.source})" if finding.source else ""
        message = f": {finding.message}" if finding.message else ""
        yield _plain(f"{finding.level:8} {finding.name}{value}{source}{message}")
        if finding.hint:
            yield _plain(f"{'':8} -> {finding.hint}")


def summary(findings: Iterable[Finding]) -> str:
    """Say in a line what all of it comes to."""
    told = list(findings)
    names = {level: [finding.name for finding in told if finding.level == level] for level in (ERROR, WARNING, SKIPPED)}
    counts = [
        f"{len(names[level])} {what}: {', '.join(dict.fromkeys(names[level]))}"
        for level, what in ((ERROR, "wrong"), (WARNING, "to look at"), (SKIPPED, "not checked"))
        if names[level]
    ]
    return _plain("; ".join(counts) or "all is well")


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
