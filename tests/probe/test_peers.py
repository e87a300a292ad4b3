"""Sockets that are connected to each other, on made-up trees and asked of the kernel: each rule alone."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from tests.probe import peers
from tests.probe.calculator import Calculator, wait_for
from tests.probe.driver import Note, Verdict
from tests.probe.programs import PROGRAMS, Program
from tests.probe.test_calls import (
    ELSEWHERE,
    EPOLL_WAIT,
    FOREVER,
    FUTEX,
    IDLE,
    IN,
    LOOP,
    OUT,
    POLL,
    READ,
    RECVFROM,
    TIMED,
    WORK,
    looked,
    pollfds,
)
from tests.probe.test_processes import SEVERAL, SLEEPS
from tests.probe.test_unseen import opened, without_privileges
from tests.probe.tree import READS_STDIN, MadeUp, call

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")

RECVMSG, RECVMMSG = 47, 299
OURS, THEIRS, STRANGE, NAMED = 3001, 3002, 3003, 3004
PAIR = f"{OURS} {THEIRS}\n{THEIRS} {OURS}\n"


def connected(calls: list[str], told: str = PAIR, *, started: int = 1000) -> MadeUp:
    """A reader, and a helper with ``calls`` that has the other end of its socket as its descriptor 5."""
    tree = MadeUp()
    tree.process(100)
    tree.process(101, calls, parent=100, started=started)
    for pid, inode in ((100, OURS), (101, THEIRS)):
        tree.fd(pid, 5, f"socket:[{inode}]", flags=2)
        tree.files[f"{pid}/net/unix"] += "".join(
            f"000: 00000003 00000000 00000000 0001 03 {inode}{name}\n"
            for inode, name in ((OURS, ""), (THEIRS, ""), (STRANGE, ""), (NAMED, " /run/x"))
        )
    tree.fd(101, 0, "/dev/null")
    if told:
        tree.files["net/unix_peers"] = told
    return tree


WAITS = [
    call(READ, 5),
    call(19, 5, 0x1000, 1),  # readv
    call(RECVFROM, 5),
    call(RECVMSG, 5),
    call(RECVMMSG, 5, 0x1000, 1),
    call(POLL, 64, 1, FOREVER),
    call(EPOLL_WAIT, 70, 0x2000, 16, FOREVER),
]


def helper_that(shown: str, told: str = PAIR, *, events: int = IN) -> MadeUp:
    tree = connected([shown], told)
    tree.memory(101, b"\0" * 64 + pollfds((5, events)))
    tree.fd(101, 70, "anon_inode:[eventpoll]", more=f"tfd: 5 events: {events:x} data: 0 pos:0 ino:0 sdev:d\n")
    return tree


@pytest.mark.parametrize("shown", WAITS)
def test_a_helper_that_waits_for_the_other_end_is_parked(shown: str, library: ctypes.CDLL, tmp_path: Path) -> None:
    assert looked(helper_that(shown), library, tmp_path) == IDLE


@pytest.mark.parametrize(
    "told",
    [
        "",  # the kernel does not say
        f"{STRANGE} {NAMED}\n",
        f"{OURS} 0\n{THEIRS} 0\n",  # no peer any more
        f"{OURS} {THEIRS}\n{THEIRS} {STRANGE}\n",  # somebody else's
    ],
)
@pytest.mark.parametrize("shown", WAITS)
def test_a_helper_that_waits_for_a_stranger_does_not_rest(
    shown: str, told: str, library: ctypes.CDLL, tmp_path: Path
) -> None:
    assert looked(helper_that(shown, told), library, tmp_path) == ELSEWHERE


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("running", WORK),
        (call(44, 5), WORK),  # sendto
        (SLEEPS, ELSEWHERE),
        (call(RECVMMSG, 5, 0x1000, 1, 0, 0x2000), ELSEWHERE),
        (call(RECVFROM, 9), ELSEWHERE),  # not open: it changes just now
        (call(RECVFROM, 1), ELSEWHERE),  # no socket
        (call(POLL, 64, 1, 1000), ELSEWHERE),
        (call(EPOLL_WAIT, 70, 0x2000, 16, 1000), ELSEWHERE),
    ],
)
def test_a_helper_that_does_something_else_does_not_rest(
    shown: str, expected: tuple[Verdict, Note], library: ctypes.CDLL, tmp_path: Path
) -> None:
    """It counts, because it has the other end of the reader's socket."""
    assert looked(helper_that(shown), library, tmp_path) == expected


@pytest.mark.parametrize("shown", WAITS[-2:])
def test_a_helper_that_waits_for_room_is_at_work(shown: str, library: ctypes.CDLL, tmp_path: Path) -> None:
    assert looked(helper_that(shown, events=IN | OUT), library, tmp_path) == WORK


def test_a_reader_that_waits_for_its_helper_does_not_rest(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Both at rest, and nobody waits for STDIN."""
    tree = connected([call(RECVFROM, 5)])
    tree.files["100/task/100/syscall"] = call(RECVFROM, 5)
    assert looked(tree, library, tmp_path) == WORK


@pytest.mark.parametrize(("told", "expected"), [(PAIR, IDLE), ("", LOOP)])
def test_an_event_loop_with_stdin_and_its_helper(
    told: str, expected: tuple[Verdict, Note], library: ctypes.CDLL, tmp_path: Path
) -> None:
    tree = connected([call(FUTEX, 0x1000, 0x80)], told)
    tree.memory(100, b"\0" * 64 + pollfds((0, IN), (5, IN)))
    tree.files["100/task/100/syscall"] = call(POLL, 64, 2, FOREVER)
    assert looked(tree, library, tmp_path) == expected


def test_a_socket_as_the_input_of_a_helper(library: ctypes.CDLL, tmp_path: Path) -> None:
    """As Node and asyncio start one: it is a part of a pipeline."""
    tree = connected([READS_STDIN])
    tree.fd(101, 0, f"socket:[{THEIRS}]", flags=2)
    assert looked(tree, library, tmp_path / "waits") == SEVERAL
    tree.files["101/task/101/syscall"] = "running"
    assert looked(tree, library, tmp_path / "runs") == WORK


@pytest.mark.parametrize(("told", "expected"), [(PAIR, IDLE), ("", TIMED)])
def test_both_ends_in_one_process(
    told: str, expected: tuple[Verdict, Note], library: ctypes.CDLL, tmp_path: Path
) -> None:
    """As an event loop has them that its threads wake."""
    tree = MadeUp()
    tree.process(100, [READS_STDIN, call(READ, 5)])
    tree.fd(100, 5, f"socket:[{OURS}]")
    tree.fd(100, 6, f"socket:[{THEIRS}]")
    if told:
        tree.files["net/unix_peers"] = told
    assert looked(tree, library, tmp_path) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (PAIR, WORK),
        ("", WORK),  # without a path: may be a pair
        (f"{OURS} {THEIRS}\n", WORK),  # of one end alone it is known
        (f"{THEIRS} {OURS}\n", WORK),
        (f"{OURS} {STRANGE}\n{THEIRS} {NAMED}\n", IDLE),  # two clients of others
        (f"{OURS} {THEIRS}\n{THEIRS} {OURS} /run/x\n", IDLE),  # a server's: it is none of ours for that
    ],
)
def test_who_counts(told: str, expected: tuple[Verdict, Note], library: ctypes.CDLL, tmp_path: Path) -> None:
    """A helper older than the first record."""
    assert looked(connected(["running"], told), library, tmp_path) == expected


def test_an_end_that_two_have_is_shared(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = connected(["running"], f"{OURS} {STRANGE}\n")
    tree.fd(101, 5, f"socket:[{OURS}]", flags=2)
    assert looked(tree, library, tmp_path) == WORK


def test_a_server_that_counts_waits_for_its_client(library: ctypes.CDLL, tmp_path: Path) -> None:
    """It was started since the first record; a client that waits for its server does not rest."""
    told = f"{OURS} {NAMED}\n{NAMED} {OURS} /run/x\n"
    tree = connected([call(RECVFROM, 5)], told, started=6000)
    tree.fd(101, 5, f"socket:[{NAMED}]", flags=2)
    assert looked(tree, library, tmp_path / "server") == IDLE
    client = MadeUp()
    client.process(100, [READS_STDIN])
    client.process(101, [call(RECVFROM, 5)], parent=100, started=6000)
    client.fd(100, 5, f"socket:[{NAMED}]", flags=2)
    client.fd(101, 5, f"socket:[{OURS}]", flags=2)
    client.files["net/unix_peers"] = told
    assert looked(client, library, tmp_path / "client") == ELSEWHERE


def test_more_pairs_than_have_a_place(library: ctypes.CDLL, tmp_path: Path) -> None:
    """A process with so many shares with all."""
    count = 300
    told = "".join(f"{10000 + i} {20000 + i}\n" for i in range(count))
    tree = connected(["running"], told)
    for i in range(count):
        tree.fd(100, 100 + i, f"socket:[{10000 + i}]")
    assert looked(tree, library, tmp_path) == WORK


def test_a_socket_that_is_connected_later(library: ctypes.CDLL, tmp_path: Path) -> None:
    """That it has no peer is forgotten; who its peer is, is not."""
    tree = helper_that(call(READ, 5), f"{OURS} 0\n{THEIRS} 0\n")
    probe = tree.probe(library, tmp_path)
    told = tmp_path / "net/unix_peers"
    assert [probe.look() for _ in range(3)] == [Verdict.ELSEWHERE] * 3
    assert probe.peer_questions == 2
    told.write_text(PAIR)
    wait_for(lambda: probe.look() == Verdict.IDLE, "a rest once it is asked again")
    told.unlink()
    assert [probe.look() for _ in range(3)] == [Verdict.IDLE] * 3
    probe.close()


def program(name: str) -> list[str]:
    return next(program for program in PROGRAMS if program.name == name).command


needs_kernel = pytest.mark.skipif(not peers.can_be_asked(), reason="not run: the kernel does not tell peers")


@needs_kernel
def test_the_kernel_is_asked_once(library: ctypes.CDLL) -> None:
    with Calculator(library, program("python, a helper behind multiprocessing.Pipe")) as calculator:
        wait_for(lambda: calculator.look() == IDLE, "idle")
        assert calculator.probe is not None
        asked = calculator.probe.peer_questions
        assert 0 < asked <= 8
        for _ in range(2000):
            assert calculator.look() == IDLE
        calculator.probe.first_record()
        calculator.send()
        calculator.take_answer()
        wait_for(lambda: calculator.look() == IDLE, "idle after a record")
        assert calculator.probe.peer_questions == asked


@needs_kernel
def test_no_socket_no_question(library: ctypes.CDLL) -> None:
    with Calculator(library, ["cat"]) as calculator:
        wait_for(lambda: calculator.look() == IDLE, "idle")
        assert calculator.probe is not None
        assert calculator.probe.peer_questions == 0


@needs_kernel
def test_an_ordinary_user_may_ask(library: ctypes.CDLL, built: Path) -> None:
    command = Program("", ["{pair.c}"]).prepared(opened(built))

    def is_seen() -> None:
        with Calculator(library, command) as calculator:
            wait_for(lambda: calculator.look() == IDLE, "idle")
            assert calculator.probe is not None
            assert calculator.probe.peer_questions > 0

    without_privileges(is_seen)
