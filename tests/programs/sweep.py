"""Starts children with every exit code and every deadly signal among dying orphans; prints what the reaper saw as JSON.

argv: "asyncio" or "uvloop".
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import uvloop

from supervisor import _spawn
from supervisor.reaper import ExitStatus, Reaper

IGNORED_BY_DEFAULT = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
STOPPING = {signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
DEADLY = sorted(set(signal.valid_signals()) - IGNORED_BY_DEFAULT - STOPPING)
# One orphan in the child's group, which dies with it, and one in a session of its own.
ORPHANS = b"(sleep 300 &); setsid sh -c '(sleep 0.01; exit 77) & exit 66' & "


def start(reaper: Reaper, script: bytes) -> "asyncio.Future[ExitStatus]":
    null = os.open("/dev/null", os.O_RDWR)
    env = [b"PATH=/usr/bin:/bin"]
    pid = _spawn.spawn(b"/bin/sh", [b"sh", b"-c", b"ulimit -c 0; " + ORPHANS + script], env, null, null, 2)
    os.close(null)
    return reaper.watch(pid)


def children() -> int:
    return len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


async def main() -> None:
    seen: dict[str, str] = {}
    with Reaper(orphans=True) as reaper:
        wanted = [(f"code {code}", b"exit %d" % code) for code in range(256)]
        wanted += [(f"signal {int(number)}", b"kill -%d $$" % number) for number in DEADLY]
        for at in range(0, len(wanted), 16):
            batch = [(name, start(reaper, script)) for name, script in wanted[at : at + 16]]
            for name, ended in batch:
                seen[name] = str(await asyncio.wait_for(ended, 20))
        async with asyncio.timeout(10):
            while children():  # noqa: ASYNC110 - the kernel has no event for it
                await asyncio.sleep(0.02)
        print(json.dumps({"seen": seen, "orphans": reaper.orphans_reaped, "started": len(wanted)}))


(uvloop.run if sys.argv[1] == "uvloop" else asyncio.run)(main())
