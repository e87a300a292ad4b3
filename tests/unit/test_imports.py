"""What a command loads: python-consul2 brings a third of all modules, and most commands ask no agent."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CONSUL_STACK = {"charset_normalizer", "consul", "idna", "requests", "six", "urllib3"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "supervisor", "--version"),
        ("-m", "supervisor", "--help"),
        ("-m", "supervisor", "check"),
        ("-m", "supervisor", "status", "--help"),
        ("-c", "import supervisor.tools.demo"),
        ("-c", "import supervisor.daemon, supervisor.logs"),  # a run, until it asks the agent
    ],
    ids=" ".join,
)
def test_the_clients_of_consul_are_not_loaded(arguments: tuple[str, ...]) -> None:
    """A thread that asks the agent loads them, while everything else starts."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "supervisor" in loaded
    assert not loaded & _CONSUL_STACK
