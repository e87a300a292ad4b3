"""Numbers for people: thousands apart, sizes and durations with a unit that keeps them short."""

from typing import Final

_NBSP: Final = "\N{NO-BREAK SPACE}"  # a number and its unit stay together


def number(value: int) -> str:
    """Write a number with its thousands apart."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def size(value_bytes: float) -> str:
    """Write a number of bytes with a unit that keeps it short."""
    if value_bytes < 1024:
        return f"{int(value_bytes)}{_NBSP}B"
    for unit in ("KiB", "MiB", "GiB"):
        value_bytes /= 1024
        if value_bytes < 1024:
            return f"{value_bytes:.1f}{_NBSP}{unit}"
    return f"{value_bytes / 1024:.1f}{_NBSP}TiB"


def duration(seconds: float) -> str:
    """Write a duration in its two largest units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}{_NBSP}ms"
    if seconds < 60:
        return f"{seconds:.1f}{_NBSP}s"
    minutes, whole_s = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}{_NBSP}min {whole_s}{_NBSP}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}{_NBSP}h {minutes}{_NBSP}min"
    return f"{hours // 24}{_NBSP}d {hours % 24}{_NBSP}h"
