"""What one thread in one system call means, on made-up trees: each rule alone."""

from __future__ import annotations

import ctypes
import platform
import struct
from pathlib import Path

import pytest

from tests.probe.driver import Note, Reader, Verdict
from tests.probe.tree import READS_STDIN, STDIN, STDOUT, MadeUp, call, stat_line

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")

READ, POLL, SELECT, NANOSLEEP, RECVFROM, WAIT4 = 0, 7, 23, 35, 45, 61
FUTEX, RESTART, EPOLL_WAIT, PSELECT6, PPOLL, SPLICE, EPOLL_PWAIT = 202, 219, 232, 270, 271, 275, 281
EPOLL_PWAIT2, FUTEX_WAITV, IO_URING_ENTER = 441, 449, 426
FOREVER = 0xFFFFFFFF
IN, OUT = 1, 4

IDLE = (Verdict.IDLE, Note.NONE)
WORK = (Verdict.WORK, Note.NONE)
ELSEWHERE = (Verdict.ELSEWHERE, Note.SEVERAL)
LOOP = (Verdict.MAYBE_IDLE, Note.EVENT_LOOP)
TIMED = (Verdict.MAYBE_IDLE, Note.TIMED_THREADS)


def looked(tree: MadeUp, library: ctypes.CDLL, root: Path) -> tuple[Verdict, Note]:
    """What a second look says: at the first the processes that count may not be known yet."""
    probe = tree.probe(library, root)
    probe.look()
    result = probe.look(), probe.note
    probe.close()
    return result


def pollfds(*wanted: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("=ihh", fd, events, 0) for fd, events in wanted)


BESIDE = [  # another thread of a process whose first one reads STDIN
    (call(FUTEX, 0x1000, 0x189, 0, 0), IDLE),
    (call(FUTEX, 0x1000, 0x80, 0, 0), IDLE),
    (call(FUTEX, 0x1000, 0x189, 0, 0x2000), TIMED),
    (call(FUTEX, 0x1000, 0x81, 1, 0), WORK),
    (call(FUTEX_WAITV, 0x1000, 2, 0, 0), IDLE),
    (call(FUTEX_WAITV, 0x1000, 2, 0, 0x2000), TIMED),
    (call(455, 0x1000, 1, 0xFF, 2, 0), IDLE),
    (call(455, 0x1000, 1, 0xFF, 2, 0x2000), TIMED),
    (call(WAIT4, FOREVER), IDLE),
    (call(247), IDLE),  # waitid
    (call(34), IDLE),  # pause
    (call(130, 0x1000, 8), IDLE),  # rt_sigsuspend
    (call(128, 0x1000, 0x2000, 0, 8), IDLE),  # rt_sigtimedwait
    (call(128, 0x1000, 0x2000, 0x3000, 8), TIMED),
    (call(NANOSLEEP, 0x1000), TIMED),
    (call(230, 0, 0, 0x1000), TIMED),  # clock_nanosleep
    (call(RECVFROM, 5), TIMED),
    (call(288, 5), TIMED),  # accept4
    (call(42, 5), TIMED),  # connect
    (call(IO_URING_ENTER, 5, 0, 1, 1), TIMED),
    (call(RESTART, 0x1000), TIMED),
    (call(44, 5), WORK),  # sendto
    (call(1, 1), WORK),  # write
    (call(20, 1), WORK),  # writev
    (call(74, 5), WORK),  # fsync
    (call(73, 5), WORK),  # flock
    (call(9999), WORK),
    ("running", WORK),
    ("-1 0x7ffc00000000 0x7f0000000000", WORK),
    (call(POLL, 0x10, 0, FOREVER), IDLE),
    (call(POLL, 0x10, 0, 1000), TIMED),
    (call(SELECT, 0, 0, 0, 0, 0), IDLE),
    (call(SELECT, 0, 0, 0, 0, 0x1000), TIMED),
    (call(READ, 3), WORK),  # not open: it changes just now
]


@pytest.mark.parametrize(("shown", "expected"), BESIDE)
def test_a_thread_beside_the_one_that_reads(
    shown: str, expected: tuple[Verdict, Note], library: ctypes.CDLL, tmp_path: Path
) -> None:
    tree = MadeUp()
    tree.process(100, [READS_STDIN, shown])
    assert looked(tree, library, tmp_path) == expected


@pytest.mark.parametrize("shown", [shown for shown, expected in BESIDE if expected != WORK])
def test_a_call_that_does_not_wait_for_stdin_is_work_when_no_thread_does(
    shown: str, library: ctypes.CDLL, tmp_path: Path
) -> None:
    """However long: a back-off, a client that waits for its server, a parent that waits for a child nobody knows of."""
    tree = MadeUp()
    tree.process(100, [shown])
    assert looked(tree, library, tmp_path) == WORK


@pytest.mark.parametrize("state", "RDTtIx")
@pytest.mark.parametrize("shown", [READS_STDIN, call(FUTEX, 0x1000, 0x80, 0, 0)])
def test_a_state_other_than_asleep_is_work(state: str, shown: str, library: ctypes.CDLL, tmp_path: Path) -> None:
    """A task that is stopped on its way out of a call still shows the call."""
    tree = MadeUp()
    tree.process(100, [READS_STDIN, shown])
    tree.files["100/task/101/stat"] = stat_line(101, state, 1, 2, 1000)
    assert looked(tree, library, tmp_path) == WORK


THINGS = {
    "stdin": f"pipe:[{STDIN}]",
    "stdout": f"pipe:[{STDOUT}]",
    "own pipe": "pipe:[2001]",
    "strange pipe": "pipe:[2002]",
    "eventfd": "anon_inode:[eventfd]",
    "signalfd": "anon_inode:[signalfd]",
    "pidfd": "anon_inode:[pidfd]",
    "timerfd": "anon_inode:[timerfd]",
    "inotify": "anon_inode:inotify",
    "socket": "socket:[3001]",
    "listening": "socket:[3002]",
    "listening unix": "socket:[3003]",
    "file": "/data/file",
    "terminal": "/dev/pts/1",
}
NUMBERS = {name: 10 + i for i, name in enumerate(THINGS)}


def with_things() -> MadeUp:
    tree = MadeUp()
    tree.process(100)
    for name, target in THINGS.items():
        tree.fd(100, NUMBERS[name], target)
    tree.fd(100, 60, THINGS["own pipe"], flags=1)
    header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
    row = "   {}: 0100007F:1F90 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1 0 100 0\n"
    tree.files["100/net/tcp"] = header + row.format(0, "01", 3001) + row.format(1, "0A", 3002)
    tree.files["100/net/unix"] += "0000000000000000: 00000002 00000000 00010000 0001 01 3003 /run/x\n"
    return tree


SETS = [
    ([("stdin", IN)], True, IDLE),
    ([("stdin", IN)], False, LOOP),
    ([("stdin", IN), ("eventfd", IN), ("signalfd", IN), ("own pipe", IN), ("listening", IN)], True, IDLE),
    ([("stdin", IN), ("pidfd", IN), ("listening unix", IN)], True, IDLE),
    *[([("stdin", IN), (name, IN)], True, LOOP) for name in ("socket", "strange pipe", "timerfd", "inotify", "file")],
    ([("stdin", IN), ("terminal", IN)], True, LOOP),
    ([("stdin", IN), ("stdout", OUT)], True, WORK),
    ([("stdin", IN), ("socket", OUT)], True, WORK),
    ([("stdin", IN), ("stdout", 0)], True, IDLE),
    ([("stdin", 0)], True, WORK),
    ([("socket", IN)], True, WORK),
    ([("socket", IN)], False, WORK),
    ([("eventfd", IN)], True, WORK),
    ([], True, WORK),
    ([], False, WORK),
]


@pytest.mark.parametrize("case", SETS)
@pytest.mark.parametrize("how", ["poll", "ppoll", "select", "pselect6", "epoll_wait", "epoll_pwait", "epoll_pwait2"])
def test_a_set_of_descriptors(
    how: str,
    case: tuple[list[tuple[str, int]], bool, tuple[Verdict, Note]],
    library: ctypes.CDLL,
    tmp_path: Path,
) -> None:
    wanted, untimed, expected = case
    tree = with_things()
    numbered = [(NUMBERS[name], events) for name, events in wanted]
    if "select" in how:
        if any(events == 0 for _, events in wanted):
            pytest.skip("select asks for nothing but what can be read or written")
        sets = [bytearray(8), bytearray(8)]
        for fd, events in numbered:
            sets[events == OUT][fd // 8] |= 1 << fd % 8
        tree.memory(100, b"\0" * 64 + sets[0] + sets[1])
        shown = call(SELECT if how == "select" else PSELECT6, 64, 64, 72, 0, 0 if untimed else 0x3000)
    elif "epoll" in how:
        entries = "".join(
            f"tfd: {fd:8d} events: {events | 0x18:8x} data: 0 pos:0 ino:0 sdev:d\n" for fd, events in numbered
        )
        tree.fd(100, 70, "anon_inode:[eventpoll]", more=entries)
        number, last = {
            "epoll_wait": (EPOLL_WAIT, FOREVER if untimed else 1000),
            "epoll_pwait": (EPOLL_PWAIT, FOREVER if untimed else 1000),
            "epoll_pwait2": (EPOLL_PWAIT2, 0 if untimed else 0x3000),
        }[how]
        shown = call(number, 70, 0x2000, 16, last)
    else:
        tree.memory(100, b"\0" * 64 + pollfds(*numbered))
        last = (FOREVER if untimed else 1000) if how == "poll" else 0 if untimed else 0x3000
        shown = call(POLL if how == "poll" else PPOLL, 64, len(wanted), last)
    tree.files["100/task/100/syscall"] = shown
    assert looked(tree, library, tmp_path) == expected


def test_an_epoll_that_has_stdin_under_a_number_closed_since(library: ctypes.CDLL, tmp_path: Path) -> None:
    """The inode tells; and a number used for STDIN since does not make STDIN of what it was."""
    tree = with_things()
    tree.fd(100, 70, "anon_inode:[eventpoll]", more=f"tfd: 99 events: 19 data: 0 pos:0 ino:{STDIN:x} sdev:d\n")
    tree.files["100/task/100/syscall"] = call(EPOLL_WAIT, 70, 0x2000, 16, FOREVER)
    assert looked(tree, library, tmp_path / "closed") == IDLE
    tree.fd(100, 70, "anon_inode:[eventpoll]", more="tfd: 0 events: 19 data: 0 pos:0 ino:bb9 sdev:d\n")
    assert looked(tree, library, tmp_path / "used again") == WORK


def test_a_set_that_cannot_be_read_is_work(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = with_things()
    tree.files["100/task/100/syscall"] = call(POLL, 0xFFFFFFFFFFFFFF00, 1, FOREVER)
    assert looked(tree, library, tmp_path) == WORK


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        ("own pipe", IDLE),
        ("strange pipe", TIMED),
        ("eventfd", IDLE),
        ("signalfd", IDLE),
        ("timerfd", TIMED),
        ("socket", TIMED),
        ("listening", IDLE),
        ("file", WORK),
        ("terminal", TIMED),
        ("stdin", IDLE),
    ],
)
def test_a_thread_beside_the_reader_that_reads_something(
    thing: str, expected: tuple[Verdict, Note], library: ctypes.CDLL, tmp_path: Path
) -> None:
    tree = with_things()
    other = call(READ, NUMBERS[thing])
    tree.files["100/stat"] = stat_line(100, "S", 1, 2, 1000)
    for name in ("stat", "schedstat"):
        tree.files[f"100/task/101/{name}"] = tree.files[f"100/task/100/{name}"]
    tree.files["100/task/101/syscall"] = other
    assert looked(tree, library, tmp_path) == expected


def test_splice_waits_for_stdin_and_for_nothing_else(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Of another pipe it cannot be told whether it waits for input or for room in its output."""
    tree = with_things()
    tree.files["100/task/100/syscall"] = call(SPLICE, 0, 0, NUMBERS["own pipe"], 0, 65536)
    assert looked(tree, library, tmp_path / "stdin") == IDLE
    tree.files["100/task/100/syscall"] = call(SPLICE, NUMBERS["own pipe"], 0, 1, 0, 65536)
    assert looked(tree, library, tmp_path / "other") == WORK


def test_a_poll_that_a_stop_interrupted_goes_on(library: ctypes.CDLL, tmp_path: Path) -> None:
    """It is shown as restart_syscall then, with the arguments it had."""
    tree = with_things()
    tree.memory(100, b"\0" * 64 + pollfds((0, IN)))
    polls = call(POLL, 64, 1, FOREVER)
    tree.files["100/task/100/syscall"] = polls
    probe = tree.probe(library, tmp_path)
    assert probe.look() == Verdict.IDLE
    shown = tmp_path / "100/task/100/syscall"
    shown.write_text(polls.replace(f"{POLL} ", f"{RESTART} ", 1))
    assert [probe.look() for _ in range(3)] == [Verdict.IDLE] * 3
    shown.write_text(call(RESTART, 65, 1, FOREVER))
    assert probe.look() == Verdict.WORK
    probe.close()


def test_without_a_schedstat_the_status_counts(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    del tree.files["100/task/100/schedstat"]
    tree.files["100/task/100/status"] = "voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t1\n"
    assert looked(tree, library, tmp_path / "status") == IDLE
    tree.files["100/task/100/status"] = "Name:\tx\n"
    assert looked(tree, library, tmp_path / "none") == WORK


def test_a_32_bit_program_cannot_be_seen(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Its numbers are others: its poll is our waitid."""
    tree = MadeUp()
    tree.process(100, ["3 0x0 0x1000 0x100 0x0 0x0 0x0 0xffe00000 0x8049000"])
    tree.hex_files["100/exe"] = "7f454c460101"
    assert looked(tree, library, tmp_path / "32") == (Verdict.UNSEEN, Note.UNSEEN_ONE)
    tree.files["100/task/100/stat"] = stat_line(100, "R", 1, 1, 1000)
    assert looked(tree, library, tmp_path / "runs") == WORK
    tree.hex_files["100/exe"] = "7f454c460201"
    tree.files["100/task/100/stat"] = stat_line(100, "S", 1, 1, 1000)
    tree.files["100/task/100/syscall"] = "0 0x0 0x1000 0x100 0x0 0x0 0x0 0xffe00000 0x8049000"
    assert looked(tree, library, tmp_path / "64 bit with a low stack") == IDLE


@pytest.mark.parametrize("machine", [3, 40, 62, 183, 243])
def test_a_program_for_another_processor_cannot_be_seen(library: ctypes.CDLL, tmp_path: Path, machine: int) -> None:
    """Under an emulator the calls are the emulator's, by the machine's numbers."""
    tree = MadeUp()
    tree.process(100)
    header = b"\x7fELF\x02\x01" + bytes(10) + b"\x02\0" + machine.to_bytes(2, "little") + bytes(44)
    tree.hex_files["100/exe"] = header.hex()
    ours = {"x86_64": 62, "aarch64": 183}[platform.machine()]
    assert looked(tree, library, tmp_path) == (IDLE if machine == ours else (Verdict.UNSEEN, Note.UNSEEN_ONE))


def test_threads_of_the_kernel_for_an_io_uring(library: ctypes.CDLL, tmp_path: Path) -> None:
    """They show the call of the thread that made it, and no stack: what they wait for cannot be seen."""
    tree = MadeUp()
    tree.process(100, [READS_STDIN, "425 0x8 0x1000 0x1000 0x0 0x1000 0x0 0x0 0x0"])
    assert looked(tree, library, tmp_path / "asleep") == TIMED
    tree.files["100/task/101/stat"] = stat_line(101, "D", 1, 2, 1000)
    assert looked(tree, library, tmp_path / "at work") == WORK


def test_a_kernel_without_syscall_files(library: ctypes.CDLL, tmp_path: Path) -> None:
    """One process can still be held to what its descriptor says: it reads in blocking mode."""
    tree = MadeUp()
    tree.process(100)
    del tree.files["100/task/100/syscall"]
    assert looked(tree, library, tmp_path) == (Verdict.UNSEEN, Note.UNSEEN_ONE)
    probe = tree.probe(library, tmp_path / "again")
    assert probe.reader() == Reader.ONE
    probe.close()


def test_cpu_time_of_a_process_that_cannot_be_seen_is_work(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    del tree.files["100/task/100/syscall"]
    probe = tree.probe(library, tmp_path)
    assert [probe.look() for _ in range(3)] == [Verdict.UNSEEN] * 3
    (tmp_path / "100/stat").write_text(stat_line(100, "S", 1, 1, 1000, cpu_ticks=6))
    assert [probe.look() for _ in range(2)] == [Verdict.WORK, Verdict.UNSEEN]
    probe.close()


@pytest.mark.parametrize(("flags", "expected"), [(0, Reader.ONE), (0o4000, Reader.AHEAD), (0o4002, Reader.AHEAD)])
def test_how_stdin_is_open(flags: int, expected: Reader, library: ctypes.CDLL, tmp_path: Path) -> None:
    """Not always as descriptor 0."""
    tree = MadeUp()
    tree.process(100)
    tree.fd(100, 0, "/dev/null")
    tree.fd(100, 7, f"pipe:[{STDIN}]", flags=flags)
    probe = tree.probe(library, tmp_path)
    assert probe.reader() == expected
    probe.close()
