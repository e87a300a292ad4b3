"""A tree of /proc, kept as one JSON file or made up in a test, put down as files for the probe to read."""

from __future__ import annotations

import ctypes
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.probe.driver import Probe


@dataclass
class Tree:
    """Paths are below /proc. Addresses in the recorded calls are small ones, so that `mem` is a small file."""

    leader: int
    stdio: list[int]
    first_record_ticks: int = 0
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    hex_files: dict[str, str] = field(default_factory=dict)  # what is no text

    @classmethod
    def load(cls, path: Path) -> Tree:
        """From a file."""
        return cls(**json.loads(path.read_text()))

    def save(self, path: Path) -> None:
        """To a file that diffs well."""
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    def put_down(self, root: Path) -> Path:
        """As files and links below ``root``."""
        for name, text in self.files.items():
            _made(root / name).write_text(text)
        for name, content in self.hex_files.items():
            _made(root / name).write_bytes(bytes.fromhex(content))
        for name, target in self.links.items():
            _made(root / name).symlink_to(target)
        return root

    def probe(self, library: ctypes.CDLL, root: Path) -> Probe:
        """A probe that looks at it."""
        probe = Probe(library, self.leader, self.stdio, self.put_down(root))
        probe.first_record(self.first_record_ticks)
        return probe


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


STDIN, STDOUT = 1001, 1002  # inodes
READS_STDIN = "0 0x0 0x1000 0x100 0x0 0x0 0x0 0x7ffc00000000 0x7f0000000000"
CODE = "0x7ffc00000000 0x7f0000000000"  # the stack pointer of a 64-bit program, and its program counter


def call(number: int, *arguments: int) -> str:
    given = [*arguments, *[0] * (6 - len(arguments))]
    return f"{number} {' '.join(hex(argument) for argument in given)} {CODE}"


class MadeUp(Tree):
    """A tree in which a test names what it is about."""

    def __init__(self, leader: int = 100) -> None:
        super().__init__(leader, [STDIN, STDOUT, 0], first_record_ticks=5000)
        self.files["sys/kernel/ns_last_pid"] = f"{leader}\n"

    def process(
        self, pid: int, calls: list[str] | None = None, *, parent: int = 1, started: int = 1000, state: str = "S"
    ) -> None:
        """``calls``: of its threads, whose numbers follow the process's."""
        calls = [READS_STDIN] if calls is None else calls
        self.files[f"{pid}/stat"] = stat_line(pid, state, parent, len(calls), started)
        self.files[f"{pid}/status"] = f"Name:\tx\nTgid:\t{pid}\nPid:\t{pid}\n"
        self.files[f"{pid}/cmdline"] = f"program{pid}\0"
        self.files[f"{pid}/net/unix"] = "Num RefCount Protocol Flags Type St Inode Path\n"
        self.files["sys/kernel/ns_last_pid"] = f"{max(pid, int(self.files['sys/kernel/ns_last_pid']))}\n"
        for i, shown in enumerate(calls):
            self.files[f"{pid}/task/{pid + i}/stat"] = stat_line(pid + i, state, parent, len(calls), started)
            self.files[f"{pid}/task/{pid + i}/schedstat"] = "100 200 7\n"
            self.files[f"{pid}/task/{pid + i}/syscall"] = shown + "\n"
        self.fd(pid, 0, f"pipe:[{STDIN}]")
        self.fd(pid, 1, f"pipe:[{STDOUT}]", flags=1)

    def fd(self, pid: int, number: int, target: str, *, flags: int = 0, more: str = "") -> None:
        """One descriptor; ``more``: lines of its fdinfo."""
        self.links[f"{pid}/fd/{number}"] = target
        self.files[f"{pid}/fdinfo/{number}"] = f"pos:\t0\nflags:\t0{flags:o}\nmnt_id:\t1\n{more}"

    def memory(self, pid: int, content: bytes) -> None:
        """From address 0 on."""
        self.hex_files[f"{pid}/mem"] = content.hex()


def stat_line(pid: int, state: str, parent: int, threads: int, started: int, *, cpu_ticks: int = 5) -> str:
    return f"{pid} (a (b) c) {state} {parent} 1 1 0 -1 0 0 0 0 0 {cpu_ticks} 1 0 0 20 0 {threads} 0 {started} 1 1 1\n"
