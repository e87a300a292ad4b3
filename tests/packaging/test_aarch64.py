"""The directory for the other processor, under an emulator of a processor and nothing more: qemu-user.

It ends where the emulator ends: no subreaper, and a fork that shares no memory with its parent until exec, so that an
exec that fails is not seen. The Calculator runs natively, and so do the kernel and /proc: system calls have this
machine's numbers there, and what a Calculator waits for cannot be told. Hence ACK_MODE=line.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.packaging import table
from tests.packaging.conftest import unpack
from tests.packaging.in_root import InRoot, run_in
from tests.packaging.job import do_main_job
from tests.packaging.roots import copy_of, size_bytes, tool
from tests.services.agent import Consul
from tests.services.topics import Kafka

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="this machine needs no emulator of an aarch64")

_PYTHON = ("/qemu", "/opt/supervisor.d/bin/python3.13", "-I")
_COMMAND = (*_PYTHON, "/opt/supervisor")

# What is compiled for the processor, and finds its libraries and librdkafka's functions when it is imported.
_NATIVE = """
import asyncio, platform, ssl, uvloop, pydantic
from confluent_kafka import cimpl
from supervisor import _framing, _spawn
assert platform.machine() == "aarch64"
assert asyncio.run(asyncio.sleep(0, 7), loop_factory=uvloop.new_event_loop) == 7
print(cimpl.libversion()[0])
"""


@pytest.fixture(scope="module")
def opt() -> Path:
    """The aarch64 directory."""
    return unpack("aarch64")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """An empty root with the emulator in it."""
    with copy_of("empty", tmp_path / "root") as root:
        shutil.copy(tool("qemu-aarch64-static"), root / "qemu")
        yield root


def test_it_starts(place: Path, opt: Path) -> None:
    """The version, and all that is compiled."""
    done = run_in(place, opt, *_COMMAND, "--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "supervisor"), done
    native = run_in(place, opt, *_PYTHON, "-c", _NATIVE)
    assert (native.returncode, native.stdout.split(".")[0]) == (0, "2"), native


def test_the_main_job_is_done(place: Path, opt: Path, kafka: Kafka, consul: Consul, names: Names) -> None:
    """Slowly, as PID 1."""
    process = InRoot(
        ("/calculator",),
        root=place,
        opt=opt,
        launcher=_COMMAND,
        node_id=names.node_id,
        kafka=kafka,
        consul=consul,
        group=names.group,
        env={"ACK_MODE": "line"},
    )
    try:
        do_main_job(process, kafka, consul, names, deadline_s=90)
    finally:
        process.close()
        print(process.log_text(60))
    table.add(
        "directory",
        "empty, a static program",
        "under qemu-user: main job with ACK_MODE=line, crash, stop",
        processor="aarch64",
        size_bytes=size_bytes(opt),
    )
