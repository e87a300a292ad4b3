"""The world that a Calculator finds, behind a real Supervisor whose own world is odd."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.settings import SECRET_VARIABLES
from tests.integration.conftest import PLACES
from tests.services.processes import children, mask, until
from tests.services.supervised import Supervised

Start = Callable[..., Supervised]
ODD_WORLD = Path(__file__).parents[1] / "programs" / "odd_world.py"

# Waits without changing what it was given: a shell has no handlers of its own before it runs something.
WAITS = "read line"
ARGUMENTS = ["sh", "one two", "a,b\\,", "%s\n", "\udcff", "-x", "Д"]


def zero_separated(pid: int, name: str) -> list[bytes]:
    return Path(f"/proc/{pid}/{name}").read_bytes().split(b"\0")[:-1]


@pytest.mark.parametrize("place", PLACES)
def test_the_world_is_the_launchers_less_what_is_the_supervisors_own(lonely: Start, place: str, tmp_path: Path) -> None:
    """Descriptors, signals, session, environment, arguments, folder, limits, as the kernel shows them."""
    secrets = {name: "user:secret" for name in SECRET_VARIABLES if "KAFKA" not in name}
    process = lonely(
        place,
        ("sh", "-c", WAITS, *ARGUMENTS),
        env={**secrets, "KAFKA_OPTIONS": "ssl.key.password=secret", "BDZ_UNKNOWN": "kept"},
        prefix=(sys.executable, str(ODD_WORLD), str(tmp_path)),
    )
    process.wait_log("calculator running")
    (pid,) = children(process.pid)

    descriptors = {link.name: os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}  # noqa: PTH115 - no path
    assert sorted(descriptors) == ["0", "1", "2"]
    assert len(set(descriptors.values())) == 3
    assert all(target.startswith("pipe:") for target in descriptors.values())
    flags = [Path(f"/proc/{pid}/fdinfo/{fd}").read_text().split("flags:")[1].split()[0] for fd in descriptors]
    assert not any(int(octal, 8) & os.O_NONBLOCK for octal in flags)

    assert mask(process.pid, "SigIgn"), "the launcher's own did reach the Supervisor"
    assert [mask(pid, name) for name in ("SigBlk", "SigIgn")] == [set(), set()]
    assert (os.getsid(pid), os.getpgid(pid)) == (pid, pid)

    given = zero_separated(process.pid, "environ")
    environ = zero_separated(pid, "environ")
    assert environ == [entry for entry in given if os.fsdecode(entry.partition(b"=")[0]) not in SECRET_VARIABLES]
    assert len(given) - len(environ) == len(secrets) + 1
    odd = [b"ODD=\xff\xfe%s\nline", b"TWICE=one", b"TWICE=two", b"no equals sign", b"EMPTY=", "Д=ж".encode()]
    assert environ[-len(odd) :] == odd
    assert b"BDZ_UNKNOWN=kept" in environ

    assert zero_separated(pid, "cmdline") == [b"sh", b"-c", WAITS.encode(), *map(os.fsencode, ARGUMENTS)]
    assert Path(f"/proc/{pid}/cwd").resolve() == tmp_path
    limits = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (open_files,) = [line.split()[3:5] for line in limits if line.startswith("Max open files")]
    assert open_files == ["777", "1777"]

    assert process.terminate() == 0
    until(lambda: not Path(f"/proc/{pid}").exists(), "the Calculator is gone")
