"""The command line: ``supervisor [--bin PROGRAM] [--args A,B,C]…``, ``supervisor demo``; and the manual in short."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from supervisor import __version__
from supervisor.settings import PREFIX, Options, Settings, variable_name, variables
from supervisor.values import split_list

_HELP = r"""The Supervisor: the process in front of a Calculator on the Buldozer platform.

usage: supervisor --bin PROGRAM [--args A,B,C]...
       supervisor demo
       supervisor --help | --version

It registers itself in Consul, reads from Consul KV which Kafka topics this workspace reads and writes, starts the
Calculator, gives it one line on STDIN for each record, sends each line of its STDOUT as a JSON dataframe, logs its
STDERR, restarts it when it ends, and stops in order on SIGTERM.

options:
  --bin PROGRAM   the Calculator's executable, looked up on PATH when it has no slash (wins over PROGRAM)
  --args A,B,C    its arguments, separated by commas; \, is a comma and \\ a backslash, before anything else a backslash
                  is itself; a,,b has an empty argument in the middle; may be given several times
                  Both take the next word as their value whatever it looks like: --args -jar,app.jar
  --help          this text
  --version       the version

commands:
  demo            the whole system on librdkafka's mock cluster, in under a minute, nothing else needed

example:
  NODE_ID=w1 KAFKA_DSN=localhost:9092 supervisor --bin python3 --args main.py,model.bin

environment (each also with the prefix {prefix}; the unprefixed one wins; durations as 30s, 1m30s, 500ms; those marked
[KV] may also stand in the workspace's KV directory, under their name in lower case, where they win and may be changed
at any time):
{variables}

exit status: 0 after an orderly stop, 2 wrong settings, 126 the Calculator cannot be executed, 127 it was not found,
1 anything else.
"""


class Shown(Exception):  # noqa: N818 - not an error: what was asked for is a text
    """The command line asked for a text, and nothing else is to be done."""


def parse(argv: Sequence[str]) -> Options:
    """Read the options; problems are kept for ``Settings.load``, which reports all at once.

    Not argparse: it takes the ``-jar,app.jar`` of ``--args -jar,app.jar`` for an option, and images are deployed so.
    Raises Shown with the text of --help or --version.
    """
    program: str | None = None
    args: list[str] = []
    problems: list[str] = []
    words = iter(argv)
    for word in words:
        name, equals, value = word.partition("=")
        if name in ("--bin", "--args"):
            given = value if equals else next(words, None)
            if given is None:
                problems.append(
                    f"{name}: met without a value; expected {'a program' if name == '--bin' else 'arguments'}"
                )
            elif name == "--args":
                args.extend(split_list(given))
            elif not given:
                problems.append("--bin: met ''; expected a program")
            else:
                program = given
        elif word in ("--help", "-h"):
            raise Shown(help_text())
        elif word == "--version":
            raise Shown(f"supervisor {__version__}\n")
        else:
            problems.append(f"command line: met {word!r}; expected --bin, --args, --help, --version or demo")
    return Options(program=program, args=tuple(args), problems=tuple(problems))


def help_text() -> str:
    """Return the manual in short; its table comes from the settings' model."""
    rows = []
    for field, variable in variables():
        kv = " [KV]" if variable.kv else ""
        rows.append(f"  {variable_name(field):30} {variable.shown_default:31} {variable.meaning}{kv}")
    return _HELP.replace("{prefix}", PREFIX).replace("{variables}", "\n".join(rows))


def settings_from(argv: Sequence[str], environ: dict[str, str]) -> Settings:
    """Options and environment as Settings; SettingsError with every problem."""
    return Settings.load(environ, parse(argv))


def complain(problems: Sequence[str]) -> None:
    """One line for each problem, on STDERR."""
    for problem in problems:
        print(f"supervisor: {problem}", file=sys.stderr)
