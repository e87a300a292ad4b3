"""What a command loads: python-consul2 brings a third of all modules, and most commands ask no agent."""

from __future__ import annotations

import subprocess
import sys

import pytest

_CONSUL_STACK = ("charset_normalizer", "consul", "idna", "requests", "six", "urllib3")

_LOADED = f"""
import contextlib, io, sys
sys.argv = ["supervisor", *sys.argv[1:]]
with contextlib.redirect_stdout(io.StringIO()):
{{code}}
print(*(name for name in {_CONSUL_STACK!r} if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), "    from supervisor.__main__ import main\n    main()"),
        (("--help",), "    from supervisor.__main__ import main\n    main()"),
        (("check",), "    from supervisor.__main__ import main\n    main()"),
        (("status", "--help"), "    from supervisor.__main__ import main\n    main()"),
        ((), "    import supervisor.tools.demo"),
        ((), "    import supervisor.daemon, supervisor.logs"),
    ],
    ids=["--version", "--help", "check", "status", "demo", "until the agent is asked"],
)
def test_the_clients_of_consul_are_not_loaded(arguments: tuple[str, ...], code: str) -> None:
    """A thread that asks the agent loads them, while everything else starts."""
    script = _LOADED.format(code=code)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []
