"""Which mappings may be released, and that a process lives on without them."""

from __future__ import annotations

import os
import subprocess
import sys

from supervisor import code_pages

_OWNED = ("Private_Dirty", "Anonymous", "Swap", "Locked")


def mapping(span: str, rights: str, path: str, **owned_kb: int) -> str:
    """One mapping as /proc/self/smaps shows it."""
    lines = [f"{span} {rights} 00001000 fe:00 42 {path}".rstrip(), "Size: 8 kB", "Rss: 8 kB"]
    lines += [f"{name}: {owned_kb.get(name, 0)} kB" for name in _OWNED]
    return "\n".join([*lines, "VmFlags: rd ex mr mw me"]) + "\n"


def test_only_what_can_be_read_again_is_released() -> None:
    """Code and constants of files, without a page of this process's own."""
    smaps = (
        mapping("1000-3000", "r-xp", "/lib/with a space.so", Private_Dirty=4)  # unpacked a moment ago
        + mapping("3000-4000", "r--p", "/lib/a.so")
        + mapping("4000-5000", "r--p", "/lib/a.so", Private_Dirty=4, Anonymous=4)  # relocated, then protected
        + mapping("5000-6000", "rw-p", "/lib/a.so")
        + mapping("6000-7000", "r-xp", "/lib/b.so", Anonymous=4)  # a breakpoint
        + mapping("7000-8000", "r-xp", "/lib/b.so", Swap=4)
        + mapping("8000-9000", "r--s", "/lib/c.so")
        + mapping("9000-a000", "r-xp", "[vdso]")
        + mapping("a000-b000", "r--p", "")
        + mapping("b000-c000", "rw-p", "[heap]", Anonymous=4)
    )
    assert list(code_pages.clean_code(smaps)) == [(0x1000, 0x2000), (0x3000, 0x1000)]
    assert list(code_pages.clean_code("")) == []


def test_a_process_lives_on() -> None:
    """With less in memory than before, and everything still works: threads, imports, exceptions, exit handlers."""
    code = """
import atexit, ssl, threading
from pathlib import Path
from supervisor import _framing, code_pages, daemon

def file_kb():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}["Pss_File"]

before = file_kb()
code_pages.give_back()
after = file_kb()
assert after < before / 2, (before, after)
atexit.register(print, "the end")
thread = threading.Thread(target=lambda: ssl.create_default_context())
thread.start()
thread.join()
import decimal
try:
    decimal.Decimal("x")
except decimal.InvalidOperation:
    print("works")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout.splitlines()[-2:]) == (0, ["works", "the end"]), done
