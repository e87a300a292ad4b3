"""Signals as people write them: names, with or without SIG, in any case, and numbers. Parsers as in ``values``."""

from __future__ import annotations

import re
import signal
from typing import Final

_NEVER_TAKEN: Final = frozenset({signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD})
"""What the kernel lets nobody catch, and what tells of the Calculator's end."""

_REAL_TIME = re.compile(r"(RTMIN|RTMAX)(?:([+-])([0-9]{1,2}))?", re.ASCII)


def signal_number(text: str) -> int:
    """Read TERM, SIGQUIT, RTMIN+3 or a number."""
    name = text.strip().upper().removeprefix("SIG")
    relative = _REAL_TIME.fullmatch(name)
    if relative:
        base, sign, offset = relative.groups()
        number = int(signal.Signals[f"SIG{base}"]) + (int(sign + offset) if sign else 0)
    elif re.fullmatch(r"[0-9]{1,3}", name, re.ASCII):
        number = int(name)
    else:
        number = int(signal.Signals.__members__.get(f"SIG{name}", 0))
    if number not in signal.valid_signals():
        raise ValueError("expected a signal: a name such as TERM, QUIT or RTMIN+3, or a number")
    return number


def stop_signals(text: str) -> frozenset[int]:
    """Read a list, separated by commas. SIGTERM is in it in any case: whoever knows nothing else sends that."""
    numbers = frozenset(signal_number(name) for name in text.split(","))
    refused = " and ".join(signal_name(number) for number in sorted(numbers & _NEVER_TAKEN))
    if refused:
        raise ValueError(f"{refused} cannot ask for an orderly stop, expected others, such as TERM, INT or QUIT")
    return numbers | {signal.SIGTERM}


def reload_signal(text: str | None) -> int | None:
    """Read one signal that a program can handle; None for `off`."""
    if text is None or text.strip().lower() == "off":
        return None
    number = signal_number(text)
    if number in (signal.SIGKILL, signal.SIGSTOP):
        raise ValueError(f"no program can handle {signal_name(number)}, expected another, such as HUP or USR1, or off")
    return number


def signal_name(number: int) -> str:
    """Return its name; that of most real-time signals is relative to the first."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
