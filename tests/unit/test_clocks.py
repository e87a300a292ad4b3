"""Control code goes by monotonic clocks: whoever sets the machine's clock moves no deadline."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

PACKAGE = Path(str(importlib.util.find_spec("supervisor").origin)).parent  # type: ignore[union-attr]

TELLS_THE_TIME = {"health.py", "http.py", "logs.py"}
"""Times that people read, and the Date header; nothing waits for them."""

WALL_CLOCK = {"time", "time_ns", "localtime", "gmtime", "now", "utcnow", "today", "CLOCK_REALTIME"}
OWNERS = {"time", "datetime", "date"}


def wall_clock_uses(source: str) -> set[str]:
    """``time.time``, ``datetime.now`` and their like, and what was imported from ``time`` by name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in OWNERS and node.attr in WALL_CLOCK:
                found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found |= {f"time.{name.name}" for name in node.names if name.name in WALL_CLOCK}
    return found


def test_the_search_finds_what_it_looks_for() -> None:
    """Else it would pass on anything."""
    assert wall_clock_uses("import time\nend = time.time() + 1") == {"time.time"}
    assert wall_clock_uses("from time import time_ns") == {"time.time_ns"}
    assert wall_clock_uses("from datetime import datetime\ndatetime.now()") == {"datetime.now"}
    assert wall_clock_uses("import time\ntime.monotonic()") == set()


def test_no_control_code_looks_at_the_wall_clock() -> None:
    """Every module but those that write times down."""
    modules = {path.name: wall_clock_uses(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*.py")}
    assert len(modules) > 20
    assert {name: uses for name, uses in modules.items() if uses and name not in TELLS_THE_TIME} == {}
