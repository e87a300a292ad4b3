"""The frame of every command: which there are, how one is called, and with what status it ends.

``supervisor COMMAND …``: a command is the first word only. A command is a module with a text ``HELP`` and a function
``main(words) -> status``, imported when it is asked for. Results go to STDOUT, progress and logs to STDERR. Status: 0
yes, 1 no, 2 wrong use, 126 and 127 for a program that cannot be executed or found; a signal ends a command as it ends
any program, which a shell shows as 128 and its number.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from supervisor import signals, words
from supervisor.errors import SettingsError, SupervisorError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "try": ("supervisor.tools.try_program", "what a program does with lines, and which guarantee it can have"),
    "pipe": ("supervisor.tools.pipe", "the whole data path between STDIN and STDOUT, without Kafka and Consul"),
    "demo": ("supervisor.tools.demo", "the whole system on librdkafka's mock cluster, in under a minute"),
    "check": ("supervisor.tools.check", "settings, program and, with --connect, Consul and Kafka, before a start"),
    "redrive": ("supervisor.tools.redrive", "dead letters back to the topic and partition they came from"),
    "status": ("supervisor.tools.status", "what the running instance does, as its page tells it"),
    "health": ("supervisor.tools.health", "is the running instance well? For HEALTHCHECK and exec probes"),
}
"""Of each command its module and what it is, in one line."""


class HelpAsked(Exception):  # noqa: N818 - not an error: what was asked for is a text
    """``--help`` was met: the command's manual is all that is wanted."""


class WrongUseError(Exception):
    """The command cannot be used so; ``problems`` has one line for each reason."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Ended(BaseException):
    """SIGTERM or SIGHUP came: what is open is closed on the way out, as with KeyboardInterrupt."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def parse(
    given: Sequence[str], options: Mapping[str, str], *, program: bool = False, choices: Sequence[str] = ()
) -> words.Words:
    """Read a command's words, as `words.parse`; raise HelpAsked or WrongUseError.

    ``choices``: one of these may stand among them as it is, and comes as ``operands``.
    """
    found = words.parse(given, options, program=program)
    if found.help_asked:
        raise HelpAsked
    for word in found.operands:
        if word not in choices:
            expected = words.suggestion(word, choices) if choices else _no_operand(program=program)
            found.problems.append(f"command line: met {word!r}; {expected}")
    if len(found.operands) > 1 and not found.problems:
        found.problems.append(f"command line: met {' '.join(found.operands)!r}; expected one of them")
    if found.problems:
        raise WrongUseError(*found.problems)
    return found


def print_json(answer: Mapping[str, object]) -> None:
    """Write a command's one object to STDOUT."""
    import json  # noqa: PLC0415 - for --json alone

    print(json.dumps(answer, ensure_ascii=False, indent=2))


def leave(status: int) -> NoReturn:
    """End the process now: its own end would wait for a Kafka client that still waits for a name or a broker."""
    _flush()
    os._exit(status)


def main(argv: Sequence[str]) -> int:
    """Run the command that ``argv`` begins with, one of COMMANDS; return its status, or end as a signal ends it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    signals.let_go()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal or a locale that has not every character
    name, *rest = argv
    try:
        command = importlib.import_module(COMMANDS[name][0])
        status = _status(name, command.HELP, lambda: command.main(rest))
        _flush()
    except BrokenPipeError:
        # Whoever read STDOUT has enough. The interpreter's end would write what it still holds, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _die(signal.SIGPIPE)
    except KeyboardInterrupt:
        return _die(signal.SIGINT)
    except Ended as end:
        return _die(end.signum)
    return status


def _flush() -> None:
    if sys.stdout is not None:  # it was closed when the process began
        sys.stdout.flush()


def _status(name: str, manual: str, run: Callable[[], int]) -> int:
    try:
        return run()
    except HelpAsked:
        print(manual, end="")
        return 0
    except WrongUseError as error:
        _complain(name, (*error.problems, f"'supervisor {name} --help' says how it is used"))
        return 2
    except SettingsError as error:
        _complain(name, error.problems)
        return error.exit_code
    except SupervisorError as error:
        _complain(name, [str(error)])
        return error.exit_code


def _complain(name: str, problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"supervisor {name}: {problem}", file=sys.stderr)


def _no_operand(*, program: bool) -> str:
    return "expected options, and the program behind --" if program else "expected options alone"


def _end(signum: int, _frame: object) -> None:
    raise Ended(signum)


def _die(signum: int) -> int:
    """End as the signal ends a program that has no handler; PID 1 lives on and gets the shell's number for it."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    return 128 + signum
