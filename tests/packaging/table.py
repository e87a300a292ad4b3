"""What the tests saw, as the table of docs/INSTALL.md: ``python -m tests.packaging.table`` writes it there."""

from __future__ import annotations

import json
import platform
import re
import sys
from typing import Final

from .roots import CACHE, PROJECT

_RESULTS: Final = CACHE / "results"
_PAGE: Final = PROJECT / "docs" / "INSTALL.md"
_BEGIN: Final = "<!-- written by make install-table -->\n"
_END: Final = "<!-- end of what is written -->\n"
_COLUMNS: Final = ("way", "base", "processor", "seen to work", "size", "start to registered", "memory")


def add(
    way: str,
    base: str,
    works: str,
    *,
    processor: str = platform.machine(),
    size_bytes: int | None = None,
    start_s: float | None = None,
    pss_bytes: int | None = None,
) -> None:
    """Keep one row; the same way on the same base replaces it."""
    _RESULTS.mkdir(parents=True, exist_ok=True)
    row = (
        way,
        base,
        processor,
        works,
        f"{size_bytes / 1e6:.0f} MB" if size_bytes else "",
        f"{start_s:.2f} s" if start_s else "",
        f"{pss_bytes / 2**20:.0f} MiB" if pss_bytes else "",
    )
    name = re.sub("[^a-z0-9]+", "-", f"{way} {base} {processor}".lower())
    (_RESULTS / f"{name}.json").write_text(json.dumps(row))


def text() -> str:
    """The table in Markdown."""
    rows = sorted(json.loads(path.read_text()) for path in _RESULTS.glob("*.json"))
    lines = [_COLUMNS, ("---",) * len(_COLUMNS), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    before, begin, rest = _PAGE.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        print(f"{_PAGE} has no place for the table", file=sys.stderr)
        return 1
    _PAGE.write_text(f"{before}{_BEGIN}\n{text()}\n{_END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
