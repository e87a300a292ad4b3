"""The command line, in process and as a program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from supervisor import cli
from supervisor.settings import variable_name, variables
from supervisor.tools.commands import COMMANDS


def run(*argv: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m supervisor``, or ``code``, with no settings but ``environ``."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    command = ["-c", code] if code else ["-m", "supervisor", *argv]
    return subprocess.run(
        [sys.executable, *command], env=kept | environ, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    ("argv", "program", "args"),
    [
        ([], None, ()),
        (
            ["--bin", "python3", "--args", "/opt/app/io_main.py,/var/model"],
            "python3",
            ("/opt/app/io_main.py", "/var/model"),
        ),
        (["--bin", "java", "--args", "-jar,target/app.jar"], "java", ("-jar", "target/app.jar")),
        (["--args", "--help", "--bin", "--version"], "--version", ("--help",)),
        (["--bin=x", "--args=-x,--bin"], "x", ("-x", "--bin")),
        (["--args", "a", "--args", "", "--args", "b,c"], None, ("a", "", "b", "c")),
        (["--args", "", "--args="], None, ("", "")),
        (["--args", r"a\,b", "--args=k=v"], None, ("a,b", "k=v")),
        (["--bin", "a", "--bin", "b"], "b", ()),
        (["--", "java", "-jar", "a,b.jar", "--help", "--"], "java", ("-jar", "a,b.jar", "--help", "--")),
    ],
)
def test_options_take_their_next_word_whatever_it_looks_like(
    argv: list[str], program: str | None, args: tuple[str, ...]
) -> None:
    """As images are deployed."""
    options = cli.parse(argv)
    assert (options.program, options.args, options.problems) == (program, args, ())


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (["--bin"], "--bin: met without a value; expected a program"),
        (["--args"], "--args: met without a value"),
        (["--bin="], "--bin: met ''"),
        (["--frob"], "command line: met '--frob'; expected --bin, --args, --version, --help or --"),
        (["--bni=x"], "command line: met '--bni=x'; did you mean '--bin'?"),
        (["local"], "command line: met 'local'; expected "),
        (["dmo"], "command line: met 'dmo'; did you mean 'demo'?"),
        (["--bin", "x", "demo"], "command line: met 'demo'; a command is the first word"),
        (["--"], "--: met without a program behind it"),
        (["--bin", "x", "--", "y"], "command line: met both -- and --bin or --args"),
    ],
)
def test_what_is_not_understood_is_named(argv: list[str], problem: str) -> None:
    """And kept, to be told together with the environment's problems."""
    (met,) = cli.parse(argv).problems
    assert met.startswith(problem)


def test_the_manual_has_every_setting_with_its_default() -> None:
    """It is made of the model, so it cannot drift; and it fits a terminal."""
    text = run("--help")
    assert (text.returncode, text.stderr) == (0, "")
    lines = text.stdout.splitlines()
    assert max(map(len, lines)) < 80
    settings = lines[lines.index("they win and may be changed at any time):") :]
    for field, variable in variables():
        [at] = [n for n, line in enumerate(settings) if line.startswith(f"  {variable_name(field)}  ")]
        words = " ".join(" ".join(settings[at:]).split())
        kv = " [KV]" if variable.kv else ""
        assert words.startswith(f"{variable_name(field)} {variable.shown_default} {variable.meaning}{kv}")
    assert "exit status: 0 " in text.stdout


@pytest.mark.parametrize("asked", ["ACK_MODE", "ack_mode", "BDZ_ACK_MODE", "ack-mode"])
def test_one_setting_is_explained(asked: str) -> None:
    """By each of the names that it may have."""
    text = run("--help", asked)
    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.startswith("ACK_MODE, or BDZ_ACK_MODE\n  what acknowledges a record")
    assert "default: demand" in text.stdout
    assert "KV directory, as ack_mode" in text.stdout


@pytest.mark.parametrize(("asked", "said"), [("ackmode", "did you mean ACK_MODE?"), ("frobnicate", "lists all")])
def test_a_setting_that_there_is_not(asked: str, said: str) -> None:
    """The one that was meant is named."""
    text = run("--help", asked)
    assert (text.returncode, text.stdout) == (2, "")
    assert f"--help: met '{asked}'; there is no such setting, " in text.stderr
    assert said in text.stderr


def test_the_version_is_the_packages() -> None:
    """One line on STDOUT."""
    result = run("--version")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("supervisor 0.")


def test_wrong_settings_end_with_2_and_a_line_for_each_problem() -> None:
    """Command line and environment together, without traceback, nothing on STDOUT."""
    result = run("--frob", "--bin", "cat", NODE_ID="a/b", BDZ_OUTPUT_JSON="x")
    assert (result.returncode, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        ["supervisor", name] for name in ("command line", "KAFKA_DSN", "NODE_ID", "BDZ_OUTPUT_JSON")
    ]


def test_wrong_settings_are_told_before_anything_heavy_is_imported() -> None:
    """What keeps the answer within a second."""
    code = (
        "import sys; from supervisor.__main__ import main; sys.argv[1:] = []; status = main();"
        "heavy = {'confluent_kafka', 'consul', 'requests', 'supervisor._framing', 'asyncio'} & set(sys.modules);"
        "sys.exit(f'imported: {heavy}' if heavy or status != 2 else 0)"
    )
    result = run(code=code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_stop_signal_works_before_the_daemon_runs(name: str) -> None:
    """It is kept from the first instruction on; nothing was started yet, so the process ends at once and in order."""
    code = (
        f"import os, signal, time, supervisor.__main__ as main; os.kill(os.getpid(), signal.{name});"
        "main.signals.Receiver(); time.sleep(20); print('still here')"
    )
    result = run(code=code)
    assert (result.returncode, result.stdout) == (0, "")


def test_a_wrong_first_word_is_all_that_is_told() -> None:
    """A command was meant: what a run would need is no help."""
    result = run("demoo")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "supervisor: command line: met 'demoo'; did you mean 'demo'?\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_manual_and_refuses_what_it_does_not_know(name: str) -> None:
    """The manual fits 80 columns and says the statuses; wrong use is 2, on STDERR, with the way to the manual."""
    shown = run(name, "--help", KAFKA_DSN="no address!")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: supervisor {name}")
    assert "exit status: 0" in shown.stdout
    assert max(map(len, shown.stdout.splitlines())) <= 80
    wrong = run(name, "--helpp", "what")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    first, *_, last = wrong.stderr.splitlines()
    assert first == f"supervisor {name}: command line: met '--helpp'; did you mean '--help'?"
    assert last == f"supervisor {name}: 'supervisor {name} --help' says how it is used"


FAKE = """
import sys, types
from supervisor.tools import commands
fake = types.ModuleType("fake"); fake.HELP = ""; sys.modules["fake"] = fake
commands.COMMANDS["fake"] = ("fake", "")
def main(words):
    {body}
fake.main = main
sys.exit(commands.main(["fake"]))
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_ends_a_command_as_any_program_and_closes_what_is_open(name: str) -> None:
    """A shell shows it as 128 and the signal's number; there is no traceback."""
    body = f"""
    import os, signal, time
    try:
        os.kill(os.getpid(), signal.{name}); time.sleep(20)
    finally:
        print("closed", flush=True)"""
    result = run(code=FAKE.format(body=body))
    assert (-result.returncode, result.stdout, result.stderr) == (signal.Signals[name], "closed\n", "")


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_command_whose_reader_has_enough_ends_quietly(lines: int) -> None:
    """As SIGPIPE ends any program; also where STDOUT is written at the end alone."""
    reader, writer = os.pipe()
    os.close(reader)
    body = f"print('x\\n' * {lines}, end=''); return 0"
    try:
        done = subprocess.run(
            [sys.executable, "-c", FAKE.format(body=body)],
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    finally:
        os.close(writer)
    assert (-done.returncode, done.stderr) == (signal.SIGPIPE, b"")
