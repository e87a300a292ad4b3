"""The last lines on the Calculator's STDERR, for status and checks, and which of them says most of an end.

They are shown where no log would mask a secret, so they are masked here.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import Final

from supervisor import logs

KEPT_LINES: Final = 20
LINE_BYTES: Final = 1024
"""So much of each line is shown."""

_LONGEST_SECRET_BYTES: Final = 8192  # kept beyond LINE_BYTES, so that the cut does not leave the half of one


class StderrTail:
    """Of all runs of one Calculator: what a crash left is there while the next run has said little.

    ``kept`` is how many lines are kept; with 0 nothing is, and nothing is known of any.
    """

    def __init__(self, kept: int = KEPT_LINES) -> None:
        self._lines: deque[bytes] = deque(maxlen=kept)
        self._of_run = 0

    def begin_run(self) -> None:
        """What comes from now on is of another run."""
        self._of_run = 0

    def add(self, line: bytes) -> None:
        """Keep the beginning of a line, without its ending."""
        self._lines.append(line[: LINE_BYTES + _LONGEST_SECRET_BYTES])
        self._of_run += 1

    @property
    def lines(self) -> tuple[str, ...]:
        """The oldest first."""
        return tuple(map(_shown, self._lines))

    @property
    def last_line(self) -> str | None:
        """The last one, of whatever run."""
        return _shown(self._lines[-1]) if self._lines else None

    @property
    def telling(self) -> str | None:
        """The line of this run that says most; empty if it wrote none, None if none is kept."""
        if self._lines.maxlen == 0:
            return None
        of_run = min(self._of_run, len(self._lines))
        return telling(self.lines[len(self._lines) - of_run :])


def _shown(line: bytes) -> str:
    return logs.masked(line.decode("utf-8", "backslashreplace")).encode()[:LINE_BYTES].decode("utf-8", "ignore")


_NO_NEWS: Final = re.compile(
    r"""
      \s*$ | \s+\S                                  # blank; indented: frames, carets, details of what is above
    | [\s^~}\])>,;|=_*+-]*$                         # closing brackets, rulers
    | Node\.js\ v\d                                 # Node ends with its version
    | \#\d+\ | Stack\ trace:$                       # PHP, Ruby and debuggers number their frames
    | stack\ backtrace:$ | note:\ | For\ more\ information # Rust
    | goroutine\ \d+\ \[ | exit\ status\ \d+$ | created\ by\ | \[signal\ SIG   # Go
    | [\w./*()-]+\(.*\)$                            # Go's frames stand at the margin: main.main()
    | \.\.\.\ \d+\ (more|common\ frames) | ---\ End\ of  # Java, .NET
    """,
    re.VERBOSE,
)
_TRACEBACK: Final = "Traceback (most recent call last):"


def telling(lines: Sequence[str]) -> str:
    """Return the line that says most: the last one that is no frame of a stack, no caret and no version.

    Java's exception stands above its stack, the last ``Caused by`` above the shortest one; Node's above its stack and
    its version, Go's panic above its goroutines, Python's below its stack and at times above its details.
    """
    for index in range(len(lines) - 1, -1, -1):
        if not _NO_NEWS.match(lines[index]):
            details_follow = index + 1 < len(lines)
            exception = _python_exception(lines[:index]) if details_follow else None
            return exception or lines[index]
    return lines[-1] if lines else ""


def _python_exception(lines: Sequence[str]) -> str | None:
    """Return the exception of the last traceback, if that is in there whole."""
    for index in range(len(lines) - 1, -1, -1):
        if lines[index] == _TRACEBACK:
            return next((line for line in lines[index + 1 :] if line[:1].strip()), None)
    return None
