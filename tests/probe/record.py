"""Record trees of /proc: ``python -m tests.probe.record --help``.

Each program gives two: while it waits for a record, and while it works on one. What a tree is expected to mean is what
tests/probe/programs.py states for its program, never what the probe makes of it. PYTHON is one that has numpy, grpcio
and prometheus_client, for the programs that need them.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
import time
from pathlib import Path

from tests.probe.calculator import Calculator, descendants, wait_for
from tests.probe.driver import build
from tests.probe.peers import peer_of
from tests.probe.programs import IDLE, PROGRAMS, WITH_PACKAGES, Program
from tests.probe.tree import Tree

TREES = Path(__file__).with_name("trees")
POLLS, SELECTS = {7, 271}, {23, 270}
STAT_FIELDS = 22


class Recording:
    """One process after the other, into one tree."""

    def __init__(self, leader: int, inodes: tuple[int, int, int]) -> None:
        self.tree = Tree(leader, list(inodes))
        pids = descendants(leader)
        for pid in pids:
            self._process(pid)
        self.tree.files["sys/kernel/ns_last_pid"] = f"{max(pids)}\n"
        self.started = [int(self.tree.files[f"{pid}/stat"].rpartition(")")[2].split()[19]) for pid in pids]

    def _process(self, pid: int) -> None:
        files, proc = self.tree.files, Path("/proc")
        memory = bytearray(64)
        files[f"{pid}/status"] = f"Tgid:\t{pid}\n"
        files[f"{pid}/stat"] = _short(Path(f"/proc/{pid}/stat").read_text())
        files[f"{pid}/cmdline"] = hashlib.sha1(Path(f"/proc/{pid}/cmdline").read_bytes()).hexdigest()
        self.tree.hex_files[f"{pid}/exe"] = Path(f"/proc/{pid}/exe").read_bytes()[:5].hex() if _runs(pid) else ""
        for thread in (proc / str(pid) / "task").iterdir():
            name = f"{pid}/task/{thread.name}"
            files[f"{name}/stat"] = _short((thread / "stat").read_text())
            files[f"{name}/schedstat"] = (thread / "schedstat").read_text()
            files[f"{name}/syscall"] = _with_memory(pid, (thread / "syscall").read_text(), memory)
            if thread.name == str(pid) and not _runs(pid):
                continue
            self._descriptors(pid, name if not _runs(pid) else str(pid))
        self.tree.hex_files[f"{pid}/mem"] = memory.hex()

    def _descriptors(self, pid: int, name: str) -> None:
        sockets = {"0"}
        for fd in (Path("/proc") / name / "fd").iterdir():
            try:
                target = str(fd.readlink())
                info = (Path("/proc") / name / "fdinfo" / fd.name).read_text()
            except FileNotFoundError:
                continue
            if target.startswith("socket:"):
                sockets.add(target.strip("socket:[]"))
            private = target.startswith("/") and not target.startswith(("/dev/pts/", "/dev/ptmx"))
            self.tree.links[f"{name}/fd/{fd.name}"] = "/a/file" if private else target
            self.tree.files[f"{name}/fdinfo/{fd.name}"] = info
        told = self.tree.files.get("net/unix_peers", "")
        for inode in sorted(map(int, sockets - {"0"})):
            known = peer_of(inode)
            if known is not None and f"\n{inode} " not in f"\n{told}":
                told += f"{inode} {known[0]}{' /a/name' if known[1] else ''}\n"
        if told:
            self.tree.files["net/unix_peers"] = told
        for table, column in (("unix", 6), ("tcp", 9), ("tcp6", 9)):
            source = Path("/proc") / name / "net" / table
            rows = source.read_text().splitlines(keepends=True) if len(sockets) > 1 and source.exists() else []
            kept = [row for row in rows[1:] if len(row.split()) > column and row.split()[column] in sockets - {"0"}]
            self.tree.files[f"{name}/net/{table}"] = "".join([*rows[:1], *kept])  # each takes milliseconds to read


def _runs(pid: int) -> bool:
    return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")


def _short(stat: str) -> str:
    """Without what the probe does not read, and what says something of the machine."""
    name, _, rest = stat.rpartition(")")
    return f"{name}) {' '.join(rest.split()[: STAT_FIELDS - 2])}\n"


def _with_memory(pid: int, shown: str, memory: bytearray) -> str:
    """Copies the sets of descriptors a call points to, to small addresses."""
    words = shown.split()
    number = int(words[0]) if words[0].isdigit() else -1
    if number in POLLS:
        pointers = [(1, int(words[2], 16) * 8)]
    elif number in SELECTS:
        size = (int(words[1], 16) + 63) // 64 * 8
        pointers = [(i, size) for i in (2, 3, 4)]
    else:
        return shown
    for at, size in pointers:
        address = int(words[at], 16)
        if address != 0:
            with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as source:
                source.seek(address)
                content = source.read(size)
            words[at] = hex(len(memory))
            memory += content.ljust(size, b"\0")
    return " ".join(words) + "\n"


def _of_one_moment(calculator: Calculator, patience_s: float) -> Recording:
    """Two recordings with no thread switched to in between, unless it runs; a runtime's timers may have gone off."""
    begun = time.monotonic()
    end = begun + 2 * patience_s + 2
    last: dict[str, str] = {}
    while time.monotonic() < end:
        try:
            recording = Recording(calculator.process.pid, calculator.inodes)
        except (FileNotFoundError, ProcessLookupError):
            continue
        files = recording.tree.files
        running = [name for name, text in files.items() if name.endswith("syscall") and text.startswith("running")]
        now = {
            name: text
            for name, text in files.items()
            if name.endswith("syscall" if time.monotonic() - begun > patience_s else ("schedstat", "syscall"))
            and f"{name.rpartition('/')[0]}/syscall" not in running
        }
        if now == last:
            return recording
        last = now
    raise TimeoutError


def _save(recording: Recording, program: Program, kind: str, allowed: list[list[str]], first_record: int) -> None:
    tree = recording.tree
    tree.about, tree.allowed, tree.first_record_ticks = f"{program.name}: {kind}", allowed, first_record
    tree.save(TREES / f"{re.sub('[^a-z0-9_]+', '-', program.name.lower())}.{kind.replace(' ', '-')}.json")


def record(program: Program, directory: Path, python: str) -> None:
    command = [python if word == sys.executable else word for word in program.prepared(directory)]
    with Calculator(build(directory), command) as calculator:
        wait_for(lambda: program.is_idle(calculator.look()), "idle")
        time.sleep(0.1)  # the first record is younger than what was started before it, by the clock of starts
        idle = _of_one_moment(calculator, 3)
        first_record = max(idle.started) + 1
        allowed = [[verdict.name, note.name] for verdict, note in (program.idle, program.or_idle)]
        _save(idle, program, "idle", allowed[: 1 + (program.or_idle != IDLE)], first_record)
        for _ in range(50):
            calculator.send()
            wait_for(calculator.has_taken_all, "the record to be taken")
            time.sleep(0.05)
            try:
                work = _of_one_moment(calculator, 0)
            except TimeoutError:
                work = None
            if work is not None and not calculator.has_answered():
                allowed = [["WORK", "NONE"]] + ([["MAYBE_IDLE", "EVENT_LOOP"]] if program.may_look_idle else [])
                _save(work, program, "at work", allowed, first_record)
                return
            calculator.take_answer()
    raise TimeoutError(program.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=None, help="a Python with numpy, grpcio and prometheus_client")
    parser.add_argument("names", nargs="*", help="programs whose names begin so; all without")
    chosen = parser.parse_args()
    TREES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        for program in PROGRAMS + (WITH_PACKAGES if chosen.python else []):
            if program.missing or (chosen.names and not program.name.startswith(tuple(chosen.names))):
                continue
            record(program, Path(directory), chosen.python if program in WITH_PACKAGES else sys.executable)
            print(program.name)


if __name__ == "__main__":
    main()
