"""Which processes count, and how they are found, on made-up trees."""

from __future__ import annotations

import ctypes
import platform
import resource
from pathlib import Path

import pytest

from tests.probe.driver import Note, Probe, Reader, Verdict
from tests.probe.test_calls import ELSEWHERE, FUTEX, IDLE, NANOSLEEP, READ, WAIT4, WORK, looked
from tests.probe.tree import READS_STDIN, STDIN, MadeUp, call, stat_line

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")

SLEEPS, PARKED, WAITS_FOR_CHILD = call(NANOSLEEP, 1), call(FUTEX, 1, 0x80), call(WAIT4, 0xFFFFFFFF)
READS_3 = call(READ, 3)
SEVERAL = (Verdict.IDLE, Note.SEVERAL)


def settled(tree: MadeUp, library: ctypes.CDLL, root: Path) -> Probe:
    probe = tree.probe(library, root)
    probe.look()
    probe.look()
    return probe


def test_a_child_older_than_the_first_record_that_shares_nothing_is_ignored(
    library: ctypes.CDLL, tmp_path: Path
) -> None:
    tree = MadeUp()
    tree.process(100)
    tree.process(101, ["running"], parent=100)
    assert looked(tree, library, tmp_path / "older") == IDLE
    tree.process(101, ["running"], parent=100, started=5000)
    assert looked(tree, library, tmp_path / "started since") == WORK


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("pipe:[2001]", "pipe:[2001]", WORK),
        ("pipe:[2001]", "pipe:[2002]", IDLE),
        ("pipe:[1002]", "pipe:[1002]", IDLE),  # our STDOUT
        ("/dev/ptmx", "/dev/pts/3", WORK),
        ("socket:[3001]", "socket:[3002]", WORK),  # without a path: may be a pair
        ("socket:[3001]", "socket:[3003]", IDLE),  # with a path: a server's
        ("socket:[3004]", "socket:[3004]", IDLE),  # no unix socket
        ("anon_inode:[eventfd]", "anon_inode:[eventfd]", IDLE),
    ],
)
def test_what_is_shared(
    one: str, other: str, expected: tuple[Verdict, Note], library: ctypes.CDLL, tmp_path: Path
) -> None:
    tree = MadeUp()
    tree.process(100)
    tree.process(101, ["running"], parent=100)
    for pid, target in ((100, one), (101, other)):
        tree.fd(pid, 5, target)
        tree.files[f"{pid}/net/unix"] += (
            "000: 00000003 00000000 00000000 0001 03 3001\n000: 00000003 00000000 00000000 0001 03 3002\n"
            "000: 00000003 00000000 00000000 0001 03 3003 /run/server\n"
        )
    assert looked(tree, library, tmp_path) == expected


def test_what_is_shared_with_one_that_counts_counts(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    for pid in (100, 101, 102):
        tree.process(
            pid, None if pid == 100 else ["running" if pid == 102 else READS_3], parent=1 if pid == 100 else 100
        )
    tree.fd(100, 5, "pipe:[2001]", flags=1)
    tree.fd(101, 3, "pipe:[2001]")
    tree.fd(101, 5, "pipe:[2002]", flags=1)
    tree.fd(102, 3, "pipe:[2002]")
    assert looked(tree, library, tmp_path) == WORK


def test_a_pipeline_is_idle_when_each_part_waits_for_its_input(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100, [WAITS_FOR_CHILD])
    tree.process(101, parent=100)
    tree.process(102, [READS_STDIN], parent=100)
    tree.fd(101, 1, "pipe:[2001]", flags=1)
    tree.fd(102, 0, "pipe:[2001]")
    assert looked(tree, library, tmp_path / "waits") == SEVERAL
    for shown in ("running", SLEEPS, call(1, 1), call(45, 5)):
        tree.files["102/task/102/syscall"] = shown
        expected = ELSEWHERE if shown in {SLEEPS, call(45, 5)} else WORK
        assert looked(tree, library, tmp_path / shown.split()[0]) == expected


def test_input_that_comes_from_outside_is_no_input(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Nobody who counts writes to that pipe: an answer from somebody may come over it."""
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [READS_STDIN], parent=100, started=6000)
    tree.fd(101, 0, "pipe:[2001]")
    assert looked(tree, library, tmp_path) == ELSEWHERE


@pytest.mark.parametrize("parent_does", [WAITS_FOR_CHILD, call(128, 1, 2, 3, 8), SLEEPS])
def test_an_older_parent_that_shares_nothing_may_sleep(parent_does: str, library: ctypes.CDLL, tmp_path: Path) -> None:
    """As an init does that looks round once a second. Only while it runs it counts."""
    tree = MadeUp()
    tree.process(100, [parent_does])
    tree.process(101, parent=100)
    assert looked(tree, library, tmp_path / "sleeps") == IDLE
    tree.files["100/task/100/syscall"] = "running"
    assert looked(tree, library, tmp_path / "runs") == WORK


def test_a_parent_that_works_on_what_its_child_reads(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100, [SLEEPS])
    tree.process(101, parent=100)
    tree.fd(100, 5, "pipe:[2001]")
    tree.fd(101, 1, "pipe:[2001]", flags=1)
    assert looked(tree, library, tmp_path) == ELSEWHERE


def test_forks_that_share_stdin_read_it_all(library: ctypes.CDLL, tmp_path: Path) -> None:
    """The one that works has not been seen waiting yet, but it is the same program."""
    tree = MadeUp()
    tree.process(100, [WAITS_FOR_CHILD])
    tree.process(101, parent=100)
    tree.process(102, [SLEEPS], parent=100)
    assert looked(tree, library, tmp_path / "another program") == IDLE
    tree.files["102/cmdline"] = tree.files["101/cmdline"]
    assert looked(tree, library, tmp_path / "the same") == ELSEWHERE


def test_a_zombie_is_at_rest_and_a_zombie_with_live_threads_is_not(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    tree.process(101, ["-1 0x0 0x0"], parent=100, started=6000, state="Z")
    assert looked(tree, library, tmp_path / "zombie") == IDLE
    tree.process(101, ["-1 0x0 0x0", "running"], parent=100, started=6000, state="Z")
    tree.files["101/task/102/stat"] = stat_line(102, "R", 100, 2, 6000)
    assert looked(tree, library, tmp_path / "live") == WORK


def test_a_leader_whose_first_thread_has_ended(library: ctypes.CDLL, tmp_path: Path) -> None:
    """Its descriptors are seen through another thread."""
    tree = MadeUp()
    tree.process(100, ["-1 0x0 0x0", READS_STDIN], state="Z")
    tree.files["100/task/101/stat"] = stat_line(101, "S", 1, 2, 1000)
    tree.links = {"100/task/101/" + name.partition("/")[2]: target for name, target in tree.links.items()}
    tree.files |= {"100/task/101/fdinfo/0": tree.files.pop("100/fdinfo/0")}
    assert looked(tree, library, tmp_path) == IDLE


def test_a_number_of_a_thread_is_no_process(library: ctypes.CDLL, tmp_path: Path) -> None:
    """/proc/TID can be opened, and shows the parent of its process."""
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [SLEEPS], parent=100, started=6000)
    tree.files["101/status"] = "Tgid:\t100\n"
    assert looked(tree, library, tmp_path) == IDLE


def test_a_child_that_is_started_later_is_found_by_its_number(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    probe = settled(tree, library, tmp_path)
    assert (probe.look(), set(probe.processes())) == (Verdict.IDLE, {100})
    later = MadeUp()
    later.process(103, ["running"], parent=100, started=6000)
    later.put_down(tmp_path)
    assert [probe.look() for _ in range(2)] == [Verdict.WORK] * 2
    assert probe.processes() == {100: "counts", 103: "counts"}
    assert probe.scans == 0
    probe.close()


def test_a_number_used_again_is_another_process(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [PARKED], parent=100, started=6000)
    probe = settled(tree, library, tmp_path)
    assert probe.look() == Verdict.IDLE
    (tmp_path / "101/stat").write_text(stat_line(101, "R", 1, 1, 7000))
    assert probe.look() == Verdict.WORK  # it changes just now
    assert probe.look() == Verdict.IDLE
    assert set(probe.processes()) == {100}
    probe.close()


def test_orphans_are_ignored(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [PARKED], parent=100, started=6000)
    probe = settled(tree, library, tmp_path)
    (tmp_path / "101/stat").write_text(stat_line(101, "S", 1, 1, 6000))
    (tmp_path / "101/task/101/syscall").write_text("running\n")
    probe.look()
    assert probe.look() == Verdict.IDLE
    assert set(probe.processes()) == {100}
    probe.close()


@pytest.mark.parametrize("newest", ["99", "garbage", ""])
def test_a_newest_number_that_cannot_be_trusted_means_a_scan(newest: str, library: ctypes.CDLL, tmp_path: Path) -> None:
    """It is smaller than the leader's: that of another namespace, for example the host's."""
    tree = MadeUp()
    tree.process(100)
    tree.process(90, ["running"], parent=100, started=6000)
    tree.files["sys/kernel/ns_last_pid"] = newest
    probe = tree.probe(library, tmp_path)
    assert set(probe.processes()) == {100, 90}
    assert probe.look() == Verdict.WORK
    assert probe.scans >= 1
    probe.close()


def test_the_load_average_has_the_newest_number_too(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    tree.process(104, ["running"], parent=100, started=6000)
    del tree.files["sys/kernel/ns_last_pid"]
    tree.files["loadavg"] = "0.90 1.00 0.67 1/91 104\n"
    assert looked(tree, library, tmp_path) == WORK


def test_when_the_numbers_have_wrapped_all_are_read_once(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp(leader=30000)
    tree.process(30000)
    probe = settled(tree, library, tmp_path)
    child = MadeUp(leader=200)
    child.process(200, ["running"], parent=30000, started=6000)
    child.put_down(tmp_path)
    verdicts = [probe.look() for _ in range(4)]
    assert verdicts[-1] == Verdict.WORK
    assert probe.scans == 1
    assert set(probe.processes()) == {30000, 200}
    probe.close()


def test_more_processes_than_are_remembered_cannot_be_seen(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    for pid in range(101, 400):
        tree.process(pid, [PARKED], parent=100)
    probe = settled(tree, library, tmp_path)
    assert (probe.look(), probe.note) in {(Verdict.UNSEEN, Note.UNSEEN_SEVERAL), (Verdict.WORK, Note.NONE)}
    assert probe.reader() == Reader.UNSEEN_SEVERAL
    probe.close()


def test_hidden_processes(library: ctypes.CDLL, tmp_path: Path) -> None:
    """With hidepid nobody knows what else there is, when none that can be seen waits for STDIN."""
    tree = MadeUp()
    tree.process(100, [WAITS_FOR_CHILD])
    tree.files["self/mounts"] = f"proc {tmp_path} proc rw,hidepid=invisible 0 0\n"
    assert looked(tree, library, tmp_path) == (Verdict.UNSEEN, Note.UNSEEN_SEVERAL)


def test_a_leader_that_is_hidden(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.files["self/mounts"] = f"proc {tmp_path} proc rw,hidepid=2 0 0\n"
    assert looked(tree, library, tmp_path) == (Verdict.UNSEEN, Note.UNSEEN_SEVERAL)


def test_without_a_proc_nothing_can_be_seen(library: ctypes.CDLL, tmp_path: Path) -> None:
    probe = Probe(library, 100, [STDIN, 0, 0], tmp_path / "nothing")
    assert (probe.look(), probe.note) == (Verdict.UNSEEN, Note.UNSEEN_SEVERAL)
    assert probe.reader() == Reader.UNSEEN_SEVERAL
    probe.close()


def test_without_a_descriptor_left_nothing_is_idle(library: ctypes.CDLL, tmp_path: Path) -> None:
    """And nobody is forgotten."""
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [PARKED], parent=100, started=6000)
    probe = settled(tree, library, tmp_path)
    assert probe.look() == Verdict.IDLE
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        verdicts = [probe.look() for _ in range(3)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert verdicts == [Verdict.WORK] * 3
    assert probe.look() == Verdict.IDLE
    assert set(probe.processes()) == {100, 101}
    probe.close()


def test_a_leader_that_has_ended_is_not_idle(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    assert looked(tree, library, tmp_path) == WORK


def test_a_helper_that_rests_leaves_one_reader(library: ctypes.CDLL, tmp_path: Path) -> None:
    """It is parked, and has not run since the last time."""
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [PARKED], parent=100, started=6000)
    probe = settled(tree, library, tmp_path)
    assert [probe.reader() for _ in range(3)] == [Reader.SEVERAL, Reader.ONE, Reader.ONE]
    switched = tmp_path / "101/task/101/schedstat"
    switched.write_text("100 200 8\n")
    assert [probe.reader() for _ in range(2)] == [Reader.SEVERAL, Reader.ONE]
    state = tmp_path / "101/task/101/stat"
    asleep = state.read_text()
    state.write_text(stat_line(101, "R", 100, 1, 6000))  # woken, not on a processor yet
    assert probe.reader() == Reader.SEVERAL
    state.write_text(asleep)
    (tmp_path / "101/task/101/syscall").write_text(SLEEPS)
    switched.write_text("100 200 9\n")
    assert [probe.reader() for _ in range(3)] == [Reader.SEVERAL] * 3
    probe.close()


def test_a_helper_that_has_not_run_since_the_first_record_leaves_one_reader(
    library: ctypes.CDLL, tmp_path: Path
) -> None:
    """From the first time on it is asked."""
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [READS_STDIN], parent=100)
    tree.fd(101, 0, "pipe:[2001]")
    tree.fd(100, 5, "pipe:[2001]", flags=1)
    probe = tree.probe(library, tmp_path)
    probe.first_record()
    assert [probe.reader() for _ in range(3)] == [Reader.ONE] * 3
    assert probe.look() == Verdict.IDLE
    (tmp_path / "101/task/101/schedstat").write_text("100 200 8\n")
    assert probe.reader() == Reader.SEVERAL
    probe.close()


def test_a_wrapper_is_told_from_the_reader_before_that_was_found_waiting(library: ctypes.CDLL, tmp_path: Path) -> None:
    """With a backlog no rest may come for long: the first answer must not be that several work."""
    tree = MadeUp()
    tree.process(100, [WAITS_FOR_CHILD])
    tree.process(101, ["running"], parent=100, started=6000)
    probe = tree.probe(library, tmp_path / "sh around it")
    assert [probe.reader() for _ in range(3)] == [Reader.ONE] * 3
    probe.close()
    tree.process(102, ["running"], parent=100, started=6000)
    probe = tree.probe(library, tmp_path / "around two")
    assert [probe.reader() for _ in range(3)] == [Reader.SEVERAL] * 3
    probe.close()
    tree.process(102, ["running"], parent=90, started=6000)
    tree.files["100/task/100/syscall"] = SLEEPS
    probe = tree.probe(library, tmp_path / "sleeps")
    assert probe.reader() == Reader.SEVERAL
    probe.close()


def test_a_helper_started_in_the_clock_tick_of_the_first_record_is_older(library: ctypes.CDLL, tmp_path: Path) -> None:
    """It was there before: the clock of starts is a coarse one."""
    tree = MadeUp()
    tree.process(100)
    tree.process(101, [SLEEPS], parent=100, started=1 << 60)
    probe = tree.probe(library, tmp_path)
    probe.first_record()
    assert [probe.look() for _ in range(2)][-1] == Verdict.IDLE
    probe.close()


def test_several_that_cannot_be_seen(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    for pid in (100, 101):
        tree.process(pid, parent=1 if pid == 100 else 100, started=6000)
        del tree.files[f"{pid}/task/{pid}/syscall"]
    assert looked(tree, library, tmp_path / "look") == (Verdict.UNSEEN, Note.UNSEEN_SEVERAL)
    probe = tree.probe(library, tmp_path / "reader")
    assert [probe.reader() for _ in range(3)] == [Reader.UNSEEN_SEVERAL] * 3
    probe.close()


def test_one_that_cannot_be_seen_below_a_parent_that_waits(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100, [WAITS_FOR_CHILD])
    tree.process(101, parent=100)
    del tree.files["101/task/101/syscall"]
    assert looked(tree, library, tmp_path / "look") == (Verdict.UNSEEN, Note.UNSEEN_ONE)
    probe = tree.probe(library, tmp_path / "reader")
    assert [probe.reader() for _ in range(3)][1:] == [Reader.ONE] * 2
    probe.close()


def test_stdin_is_found_where_it_is_not_told(library: ctypes.CDLL, tmp_path: Path) -> None:
    tree = MadeUp()
    tree.process(100)
    tree.stdio = [0, 0, 0]
    assert looked(tree, library, tmp_path / "found") == IDLE
    tree.fd(100, 0, "/dev/null")
    assert looked(tree, library, tmp_path / "none")[0] in {Verdict.WORK, Verdict.UNSEEN}
    assert STDIN


def test_numbers_that_wrap_cost_no_scan_where_few_were_given_out(library: ctypes.CDLL, tmp_path: Path) -> None:
    """A child is found, and a rest is seen at the next look."""
    tree = MadeUp(leader=30000)
    tree.process(30000)
    tree.files["sys/kernel/pid_max"] = "32768\n"
    probe = settled(tree, library, tmp_path)
    child = MadeUp(leader=302)
    child.process(302, ["running"], parent=30000, started=6000)
    child.put_down(tmp_path)
    probe.look()
    assert probe.look() == Verdict.WORK
    assert set(probe.processes()) == {30000, 302}
    (tmp_path / "302/stat").write_text(stat_line(302, "S", 1, 1, 6000))  # an orphan: it is none of ours any more
    (tmp_path / "sys/kernel/ns_last_pid").write_text("310\n")
    probe.look()
    assert probe.look() == Verdict.IDLE
    assert probe.scans == 0
    probe.close()
