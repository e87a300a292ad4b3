"""The command line that runs a Calculator: ``supervisor [--bin PROGRAM] [--args A,B,C]…``; and the manual in short."""

from __future__ import annotations

import difflib
import sys
import textwrap
from collections.abc import Sequence
from typing import Final

from supervisor import __version__, words
from supervisor.errors import SettingsError
from supervisor.settings import PREFIX, Options, Settings, Variable, variable_name, variables
from supervisor.tools.commands import COMMANDS

_HELP = r"""The Supervisor: the process in front of a Calculator on the Buldozer platform.

usage: supervisor --bin PROGRAM [--args A,B,C]...
       supervisor -- PROGRAM [ARG]...
       supervisor COMMAND [OPTION]... [-- PROGRAM [ARG]...]
       supervisor [COMMAND] --help | --help SETTING | --version

It registers itself in Consul, reads from Consul KV which Kafka topics this
workspace reads and writes, starts the Calculator, gives it one line on STDIN
for each record, sends each line of its STDOUT as a JSON dataframe, logs its
STDERR, restarts it when it ends, and stops in order on SIGTERM.

options:
  --bin PROGRAM   the Calculator's executable, looked up on PATH when it has no
                  slash (wins over PROGRAM)
  --args A,B,C    its arguments, separated by commas; \, is a comma and \\ a
                  backslash, before anything else a backslash is itself; a,,b
                  has an empty argument in the middle, '' is one; may be given
                  several times. Both take the next word as their value
                  whatever it looks like: --args -jar,app.jar
  -- PROGRAM ARG  the same without commas, and the last of the options
  --help          this text
  --help SETTING  what one of the settings below means
  --version       the version

commands (the first word; each has a --help of its own):
{commands}

example:
  NODE_ID=w1 KAFKA_DSN=localhost:9092 supervisor --bin python3 --args main.py

settings, from the environment (each also with the prefix {prefix}; the
unprefixed one wins; durations as 30s, 1m30s, 500ms; those marked [KV] may also
stand in the workspace's KV directory, under their name in lower case, where
they win and may be changed at any time):
{variables}

exit status: 0 after an orderly stop, 2 wrong settings, 126 the Calculator
cannot be executed, 127 it was not found, 1 anything else.
"""
_COLUMNS: Final = 80


class Shown(Exception):  # noqa: N818 - not an error: what was asked for is a text
    """The command line asked for a text, and nothing else is to be done."""


def parse(argv: Sequence[str]) -> Options:
    """Read the options; problems are kept for ``Settings.load``, which reports all at once.

    Raises Shown with the text of --help or --version.
    """
    found = words.parse(argv, {"--version": ""}, program=True)
    if found.help_asked:
        raise Shown(setting_text(found.operands[0]) if found.operands else help_text())
    if "--version" in found.given:
        raise Shown(f"supervisor {__version__}\n")
    problems = [f"command line: met {word!r}; {_no_command(word, argv)}" for word in found.operands]
    return Options(program=found.program, args=tuple(found.args), problems=(*found.problems, *problems))


def _no_command(word: str, argv: Sequence[str]) -> str:
    if word in COMMANDS:
        return "a command is the first word"
    if word == argv[0]:
        return words.suggestion(word, [*COMMANDS, "--bin", "--args", "--", "--help", "--version"])
    return "expected --bin, --args, --, --help or --version"


def help_text() -> str:
    """Return the manual in short; its table comes from the settings' model."""
    commands = "\n".join(f"  {name:15} {_wrapped(summary, 18)}" for name, (_, summary) in COMMANDS.items())
    settings = "\n".join(_in_short(field, variable) for field, variable in variables())
    return _HELP.replace("{commands}", commands).replace("{prefix}", PREFIX).replace("{variables}", settings)


def setting_text(asked: str) -> str:
    """Return what there is to say of one setting; ``asked`` is its name in any case, with or without the prefix."""
    known = {variable_name(field): variable for field, variable in variables()}
    name = asked.upper().replace("-", "_").removeprefix(PREFIX)
    if name not in known:
        names = list(known)
        close = difflib.get_close_matches(name, names, 1, 0.5)
        meant = f"did you mean {close[0]}?" if close else "'supervisor --help' lists all"
        raise SettingsError([f"--help: met {asked!r}; there is no such setting, {meant}"])
    variable = known[name]
    lines = [
        f"{name}, or {PREFIX}{name}",
        f"  {_wrapped(variable.meaning, 2)}",
        f"  default: {_wrapped(variable.shown_default, 11)}",
    ]
    if variable.kv:
        lines.append(f"  may stand in the workspace's KV directory, as {name.lower()}, where it wins")
    return "\n".join(lines) + "\n"


def _in_short(field: str, variable: Variable) -> str:
    name, kv = variable_name(field), " [KV]" if variable.kv else ""
    default = _wrapped(variable.shown_default, len(name) + 4)
    return f"  {name}  {default}\n      {_wrapped(variable.meaning + kv, 6)}"


def _wrapped(text: str, indent: int) -> str:
    """The text in lines that end before the last column, each but the first ``indent`` columns in."""
    width = max(20, _COLUMNS - 1 - indent)
    lines = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    return f"\n{' ' * indent}".join(lines)


def settings_from(argv: Sequence[str], environ: dict[str, str]) -> Settings:
    """Options and environment as Settings; SettingsError with every problem."""
    options = parse(argv)
    if options.problems and not argv[0].startswith("-"):
        raise SettingsError(options.problems)  # a command was meant, and what a run needs does not matter
    return Settings.load(environ, options)


def complain(problems: Sequence[str]) -> None:
    """One line for each problem, on STDERR."""
    for problem in problems:
        print(f"supervisor: {problem}", file=sys.stderr)
