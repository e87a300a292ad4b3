"""Give back the pages of program code that only the start has used, a fifth of an idle Supervisor's memory.

They are pages of files: what is used again is found in the page cache, or read again. A mapping with any page of its
own (relocated data, a debugger's breakpoint) is left alone, for that could not be read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from supervisor import _spawn

log = structlog.get_logger("supervisor.code_pages")

AFTER_S: Final = 10.0
"""When the start is over: the route is adopted and clients are connected, where their peers are there."""


def give_back() -> None:
    """Release them once. Whatever goes wrong costs memory and nothing else."""
    released_bytes = 0
    try:
        text = Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")
        for address, length in clean_code(text):
            _spawn.release_pages(address, length)
            released_bytes += length
    except OSError as error:
        log.debug("code pages cannot be given back", error=str(error))
    log.debug("code pages given back", mapped_bytes=released_bytes)


def clean_code(smaps: str) -> Iterator[tuple[int, int]]:
    """(address, length) of each mapping in /proc/self/smaps that is a file's, cannot be written and never was."""
    span, owned_kb = (0, 0), 0
    for line in smaps.splitlines():
        name, _, rest = line.partition(" ")
        if not name.endswith(":"):
            begin, _, end = name.partition("-")
            fields = rest.split(maxsplit=4)
            candidate = fields[0] in {"r-xp", "r--p"} and len(fields) == 5 and fields[4].startswith("/")
            span, owned_kb = ((int(begin, 16), int(end, 16)) if candidate else (0, 0)), 0
        elif name in {"Anonymous:", "Swap:", "Locked:"}:  # a page that is only dirty may be one the file just got
            owned_kb += int(rest.split()[0])
        elif name == "VmFlags:" and span != (0, 0) and owned_kb == 0:  # the last line of each mapping
            yield span[0], span[1] - span[0]
