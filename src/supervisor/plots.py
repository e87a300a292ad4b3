"""Small plots as SVG: one series of the last ten minutes, drawn by the server. What is not known is a gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from supervisor.sampler import POINTS

_WIDTH: Final = 240
_HEIGHT: Final = 44
_PAD: Final = 2


def plot(values: Sequence[float | None], label: str) -> str:
    """Draw the series with 0 at the bottom, its highest value at the top and now at the right."""
    highest = max((value for value in values if value is not None), default=0.0)
    step = _WIDTH / (POINTS - 1)
    begin = POINTS - len(values)
    lines: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        y = _HEIGHT - _PAD - (_HEIGHT - 2 * _PAD) * (value / highest if highest else 0)
        lines[-1].append(f"{(begin + index) * step:.1f},{y:.1f}")
    drawn = "".join(f'<polyline points="{" ".join(line if len(line) > 1 else line * 2)}"/>' for line in lines if line)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        f'<path class="base" d="M0 {_HEIGHT - _PAD}H{_WIDTH}"/>{drawn}</svg>'
    )
