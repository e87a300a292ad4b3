"""The kinds of program, and what GUARANTEES.md promises each with `demand`: a new kind is a new row."""

from __future__ import annotations

import enum
import sys
from dataclasses import dataclass
from typing import Final

PROGRAMS: Final = "{programs}"
BUILT: Final = "{built}"


class Promise(enum.Enum):
    """What `demand` promises of a kind."""

    SAFE = "nothing is acknowledged before it is done, and all of it is in the end"
    SAFE_BUT_TAIL = "nothing is acknowledged before it is done; the last lines are when more have come"
    UNSAFE = "it cannot be seen what is done: what is acknowledged early may be lost"


@dataclass(frozen=True)
class Kind:
    """``command``: {programs} and {built} are the folders of sources and of what ``build`` makes.

    ``side``: it notes each line it has handled in a log of its own; else its STDOUT alone shows that. ``out``: so
    does its STDOUT. ``hidden``: whoever watches it may not trace. ``idle_ms`` is ACK_IDLE, and shorter than the
    default where waiting for it makes up the run. ``records`` are some seconds' work. ``behind_bytes``: so much may be
    left in the end, where what is done is a guess.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    promise: Promise = Promise.SAFE
    side: bool = True
    out: bool = True
    hidden: bool = False
    root: bool = False
    idle_ms: int = 1000
    records: int = 3000
    behind_bytes: int = 0


def _python(name: str, *arguments: str, **more: object) -> Kind:
    command = (sys.executable, f"{PROGRAMS}/lines.py", *arguments)
    return Kind(name, command, **more)  # type: ignore[arg-type]  # the caller's keywords are Kind's


def _shell(name: str, script: str, *needs: str, shell: str = "sh", **more: object) -> Kind:
    return Kind(name, (shell, "-c", script), (shell, *needs), **more)  # type: ignore[arg-type]  # likewise


_SLOW = f"{sys.executable} {PROGRAMS}/lines.py slow .001"
_ECHO = 'echo "$line"; echo "$line" >&3'


def _unseen(name: str, *arguments: str, **more: object) -> Kind:
    build = ("gcc", "-O1", "-o", f"{BUILT}/unseen", f"{PROGRAMS}/unseen.c")
    command = (f"{BUILT}/unseen", *arguments)
    return Kind(name, command, ("gcc",), build, hidden=True, **more)  # type: ignore[arg-type]  # likewise


def _c(name: str, **more: object) -> Kind:
    build = ("gcc", "-O1", "-pthread", "-o", f"{BUILT}/{name}", f"{PROGRAMS}/{name}.c")
    return Kind(name, (f"{BUILT}/{name}",), ("gcc",), build, **more)  # type: ignore[arg-type]  # likewise


def _java(name: str, main: str) -> Kind:
    # One processor's worth of collector and compiler threads: the threads there are the same, the start is quicker.
    command = ("java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", BUILT, main)
    return Kind(name, command, ("java", "javac"), ("javac", "-d", BUILT, f"{PROGRAMS}/{main}.java"))


def _go(name: str, source: str, records: int = 3000) -> Kind:
    build = ("go", "build", "-o", f"{BUILT}/{name}", f"{PROGRAMS}/{source}.go")
    return Kind(name, (f"{BUILT}/{name}",), ("go",), build, records=records)


_ALL: Final = (
    # one process that reads, handles, prints
    _c("echo"),
    Kind("cpp", (f"{BUILT}/cpp",), ("g++",), ("g++", "-O1", "-o", f"{BUILT}/cpp", f"{PROGRAMS}/work.cc")),
    _go("go", "echo"),
    Kind("rust", (f"{BUILT}/rust",), ("rustc",), ("rustc", "-O", "-o", f"{BUILT}/rust", f"{PROGRAMS}/echo.rs")),
    _python("py", "text"),
    _python("pyb", "binary"),
    _python("pyrl", "readline"),
    _shell("sh", f'while read -r line; do {_ECHO}; done 3>>"$SIDE"'),
    _shell("bash", f'while read -r line; do {_ECHO}; done 3>>"$SIDE"', shell="bash"),
    Kind("perl", ("perl", "-ne", 'BEGIN{$|=1;open S,">>",$ENV{SIDE}} print; syswrite S,$_'), ("perl",)),
    Kind("cat", ("cat",), ("cat",), side=False),
    Kind("grep", ("grep", "--line-buffered", "."), ("grep",), side=False),
    Kind("sed", ("sed", "-u", "s/\t/ /"), ("sed",), side=False),
    Kind("awkW", ("mawk", "-W", "interactive", "{print; fflush()}"), ("mawk",), side=False),
    _python("slow1", "slow", ".001", records=900),
    _python("slow20", "slow", ".02", records=90),
    _java("java", "Echo"),
    # it waits for something else than STDIN
    _python("ask", "ask", records=240),
    _python("urllib", "urllib_", records=240),
    _shell(
        "curl",
        f'while read -r line; do curl -s -o /dev/null --noproxy "*" "http://$SERVER/"; {_ECHO}; done 3>>"$SIDE"',
        "curl",
        records=60,
    ),
    _python("backoff", "backoff", ".4", idle_ms=100, records=150),
    # more threads than one
    _python("metrics", "metrics", records=240),
    _c("threads"),
    _python("executor", "executor", records=900),
    _java("javapool", "Pool"),
    _go("gonet", "net", records=240),
    # event loops
    Kind("node", ("node", f"{PROGRAMS}/echo.js"), ("node",), idle_ms=200),
    Kind("nodefetch", ("node", f"{PROGRAMS}/fetch.js"), ("node",), idle_ms=200, records=240),
    _python("asyncio", "asyncio_", idle_ms=200),
    _python("select", "loop", idle_ms=200),
    # more processes than one
    _shell("pipe2", f"grep --line-buffered . | {_SLOW}", "grep", records=900),
    _shell("pipe3", f"cat | grep --line-buffered . | {_SLOW}", "grep", "cat", records=900),
    _python("session", "session", idle_ms=200, records=900),
    _python("pool", "pool", records=1200),
    _python("coprocess", "coprocess", records=900),
    _python("mppipe", "mppipe", idle_ms=200, records=900),
    Kind("nodefork", ("node", f"{PROGRAMS}/fork.js"), ("node",), idle_ms=200, records=600),
    _python("daemon", "daemon", idle_ms=200),
    _python("command", "command", records=300),
    Kind("wrapped", ("timeout", "1000", *_python("", "slow", ".001").command), ("timeout",), records=900),
    Kind(
        "xargs",
        ("xargs", "-d", "\\n", "-n1", "sh", "-c", 'echo "$1"; echo "$1" >>"$SIDE"', "x"),
        ("xargs", "sh"),
        records=300,
    ),
    # it may not be looked at
    _unseen("nodump", "nodump", promise=Promise.SAFE_BUT_TAIL),
    _unseen("otheruid", "uid", promise=Promise.SAFE_BUT_TAIL, root=True),
    _unseen("nodumpfork", "nodump", "fork", promise=Promise.SAFE_BUT_TAIL, behind_bytes=(1 << 16) + 4096),
    # what cannot be seen
    Kind("awk1", ("mawk", "{print; fflush()}"), ("mawk",), promise=Promise.UNSAFE, side=False),
    _python("reader", "reader", promise=Promise.UNSAFE),
    _c("batch", promise=Promise.UNSAFE),
    Kind("uniq", ("uniq",), ("uniq",), promise=Promise.UNSAFE, side=False),
    _python("buffered", "buffered", promise=Promise.UNSAFE),
)
KINDS: Final = {kind.name: kind for kind in _ALL}
