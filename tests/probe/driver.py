"""The Calculator probe, built from its C sources at test time and called through ctypes."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = [Path(__file__).with_name("driver.c"), *sorted((ROOT / "src" / "framing").glob("*probe*.c"))]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Werror"]


class Verdict(IntEnum):
    """As ``probe_verdict_t``."""

    WORK = 0
    IDLE = 1
    MAYBE_IDLE = 2
    ELSEWHERE = 3
    UNSEEN = 4


class Note(IntEnum):
    """As ``probe_note_t``."""

    NONE = 0
    EVENT_LOOP = 1
    TIMED_THREADS = 2
    UNSEEN_ONE = 3
    UNSEEN_SEVERAL = 4
    SEVERAL = 5


class Reader(IntEnum):
    """As ``probe_reader_t``."""

    ONE = 0
    AHEAD = 1
    SEVERAL = 2
    UNSEEN_ONE = 3
    UNSEEN_SEVERAL = 4


def build(directory: Path) -> ctypes.CDLL:
    library = directory / "probe.so"
    command = [os.environ.get("CC", "cc"), "-std=c11", "-O2", "-g", *WARNINGS, "-fPIC", "-shared"]
    subprocess.run(
        [*command, f"-I{ROOT / 'src' / 'framing'}", "-o", library, *SOURCES],
        check=True,
        timeout=100,
        capture_output=True,
    )
    loaded = ctypes.CDLL(str(library))
    loaded.driver_new.restype = ctypes.c_void_p
    loaded.driver_new.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_uint64)]
    loaded.driver_scans.restype = loaded.driver_peer_questions.restype = ctypes.c_int64
    for name in ("free", "first_record", "look", "reader", "note", "processes", "scans", "peer_questions"):
        getattr(loaded, f"driver_{name}").argtypes = [ctypes.c_void_p]
    for name in ("pid", "counts"):
        getattr(loaded, f"driver_{name}").argtypes = [ctypes.c_void_p, ctypes.c_int]
    loaded.driver_set_first_record.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    return loaded


class Probe:
    """One ``calculator_probe_t``."""

    def __init__(self, library: ctypes.CDLL, leader: int, stdio: Iterable[int], proc: Path = Path("/proc")) -> None:
        self._library = library
        self._driver = library.driver_new(os.fsencode(proc), leader, (ctypes.c_uint64 * 3)(*stdio))

    def look(self) -> Verdict:
        """See ``calculator_probe_look``."""
        return Verdict(self._library.driver_look(self._driver))

    def reader(self) -> Reader:
        """See ``calculator_probe_reader``."""
        return Reader(self._library.driver_reader(self._driver))

    @property
    def note(self) -> Note:
        """Of the last look."""
        return Note(self._library.driver_note(self._driver))

    @property
    def scans(self) -> int:
        """How often all processes of the machine were read."""
        return int(self._library.driver_scans(self._driver))

    @property
    def peer_questions(self) -> int:
        """How often it was asked for the peer of a socket."""
        return int(self._library.driver_peer_questions(self._driver))

    def first_record(self, at_ticks: int | None = None) -> None:
        """Now, or (in a tree) when it was."""
        if at_ticks is None:
            self._library.driver_first_record(self._driver)
        else:
            self._library.driver_set_first_record(self._driver, at_ticks)

    def processes(self) -> dict[int, str]:
        """Those that are known, and whether they count."""
        kinds = ("ignored", "counts", "bystander")
        count = self._library.driver_processes(self._driver)
        return {
            self._library.driver_pid(self._driver, i): kinds[self._library.driver_counts(self._driver, i)]
            for i in range(count)
        }

    def close(self) -> None:
        """Give it back."""
        self._library.driver_free(self._driver)
