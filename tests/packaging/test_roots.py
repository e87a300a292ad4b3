"""The directory in root file systems of all kinds, doing the main job on a real Kafka and a real Consul."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Names
from tests.packaging import table
from tests.packaging.job import do_main_job
from tests.packaging.roots import size_bytes
from tests.services.agent import Consul
from tests.services.supervised import Supervised
from tests.services.topics import Kafka

_ECHO = "import sys\nfor line in sys.stdin.buffer:\n    sys.stdout.buffer.write(line)\n    sys.stdout.buffer.flush()\n"

# The root, what is special about the container, the Calculator.
PLACES = {
    "Debian 11, Python 3.9": ("debian-11", "", ("python3", "-c", _ECHO)),
    "Debian 12": ("debian-12", "", ("cat",)),
    "Debian 13": ("debian-13", "", ("cat",)),
    "Debian 11, read-only, uid 65534": ("debian-11", "read-only,nobody", ("python3", "-c", _ECHO)),
    "empty, a static program": ("empty", "", ("/calculator",)),
    "empty, read-only, uid 65534, no /tmp, no /proc/sys": ("empty", "read-only,nobody,no-proc-sys", ("/calculator",)),
    "musl alone": ("musl", "", ("/calculator",)),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_main_job_is_done(  # noqa: PLR0917 - fixtures, by name
    place: str, in_root: Callable[..., Supervised], opt: Path, kafka: Kafka, consul: Consul, names: Names
) -> None:
    """As PID 1: registered, route adopted, every record through in spite of a crash, an orderly stop."""
    base, options, command = PLACES[place]
    process = in_root(base, command, options=options, kafka=kafka, consul=consul, group=names.group)
    measured = do_main_job(process, kafka, consul, names)
    table.add(
        "directory",
        place,
        "main job, crash, stop, as PID 1",
        size_bytes=size_bytes(opt),
        start_s=measured.start_s,
        pss_bytes=measured.pss_bytes,
    )
