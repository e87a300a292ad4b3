"""``supervisor try``: what an author's program does with lines, and which acknowledgement and guarantee it can have.

It is run several times on sample lines, without the platform, and killed on the way.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from supervisor import program
from supervisor.tools.commands import WrongUseError, parse, print_json
from supervisor.tools.trial_facts import Facts, Trial
from supervisor.tools.trial_verdict import Mode, advice, language, modes

HELP: Final = """\
usage: supervisor try [--input FILE|-] [--json] -- PROGRAM [ARG]...

Runs the program several times on sample lines, kills it on the way, and says
what it does with lines, which ACK_MODE and guarantee fit it, why the others do
not, and the one change that would help. Takes less than a minute. The program
works as it does on the platform: what it writes elsewhere, it writes.

  --input FILE               sample lines; - is STDIN. Without it, dataframes:
                             {"wsp":"sample","ts":1700000000000,"raw":"one"}
  --bin PROGRAM, --args A,B  as when it is run by the Supervisor
  --json                     one object: {"facts": {...}, "modes": {"demand":
                             {"fits": true|false|null, "why": ...}, "line":
                             ..., "marker": ...}, "advice": [...]}; null: it
                             could not be told

exit status: 0 the default, ACK_MODE=demand, fits; 1 it does not, or that could
not be told; 2 wrong use; 126 the program cannot be executed, 127 it was not
found.
"""

_WORDS: Final = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_MOST_LINES: Final = 10_000
_MOST_BYTES: Final = 1 << 20


def main(argv: Sequence[str]) -> int:
    """Run the command; return the exit status."""
    words = parse(argv, {"--input": "a file, or -", "--json": ""}, program=True)
    named = words.program or os.environ.get("PROGRAM") or os.environ.get("BDZ_PROGRAM")
    if not named:
        raise WrongUseError("command line: met no program; expected -- PROGRAM ARG..., or --bin")
    program.find(named, os.environ.get("PATH", os.defpath))
    command = [named, *words.args]
    samples = _samples(words.given.get("--input"))
    trial = Trial(command, samples, lambda what: print(f"supervisor try: {what}", file=sys.stderr, flush=True))
    facts = trial.run()
    written_in = language(os.path.realpath(shutil.which(named) or named))
    if facts.holds_back in ("output buffer", "end of input", "input block"):
        facts.unbuffered_helps = _unbuffered_helps(trial, command, written_in)
        if facts.unbuffered_helps and written_in != "awk":
            facts.holds_back = "output buffer"  # some write their buffer out at a line's end, as Python does
    found = modes(facts)
    said = advice(facts, found, written_in)
    if "--json" in words.given:
        print_json(
            {
                "facts": facts.as_json(),
                "modes": {name: asdict(mode) for name, mode in found.items()},
                "advice": said,
            }
        )
    else:
        print(report(facts, found, said), end="")
    return 0 if found["demand"].fits else 1


def _samples(name: str | None) -> list[bytes]:
    if name is None:
        return [
            f'{{"wsp":"sample","ts":{1_700_000_000_000 + at},"raw":"{word}"}}'.encode()
            for at, word in enumerate(_WORDS)
        ]
    try:
        if name == "-":
            data = sys.stdin.buffer.read(_MOST_BYTES)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_MOST_BYTES)
    except OSError as error:
        raise WrongUseError(f"--input: met {name!r}; {error.strerror}, expected a file that can be read") from None
    whole = data[: data.rfind(b"\n") + 1] if len(data) == _MOST_BYTES else data
    lines = whole.splitlines()[:_MOST_LINES] if b"\r" not in whole else whole.rstrip(b"\n").split(b"\n")[:_MOST_LINES]
    if not lines:
        raise WrongUseError(f"--input: met {name!r}; there is no line in it")
    return lines


def _unbuffered_helps(trial: Trial, command: list[str], written_in: str) -> bool | None:
    """Try what an image can set without a change of the program; None where nothing of the kind is known."""
    if written_in == "python":
        return trial.answers_with(command, {"PYTHONUNBUFFERED": "1"})
    if Path(shutil.which(command[0]) or "").resolve().name == "mawk":
        return trial.answers_with([command[0], "-W", "interactive", *command[1:]], {})
    if shutil.which("stdbuf") and written_in in ("c", "tool", "shell", "awk"):
        return trial.answers_with(["stdbuf", "-oL", *command], {})
    return None


_SAID: Final = (
    ("loads_s", "waits for its first line after", "{} s"),
    ("prints_before_it_reads", "prints before it reads", "{}"),
    ("first_line_before_it_reads", "  its first line", "{}"),
    ("answers_each_line", "answers each line at once", "{}"),
    ("holds_back", "holds its answers back until", "{}"),
    ("lines_out_for_each", "lines out, for the first lines", "{}"),
    ("lines_in_all", "lines given at once", "{:,}"),
    ("lines_out_in_all", "  lines out for them", "{:,}"),
    ("works_in_background", "asks for more while it works", "{}"),
    ("reads_by", "reads STDIN by", "{}"),
    ("threads", "threads", "{}"),
    ("processes", "processes", "{}"),
    ("latency_ms", "answers a line in", "{} ms"),
    ("lines_a_second", "lines a second", "{:,}"),
    ("echoes_markers", "prints marker lines as they are", "{}"),
    ("ends_at_end_of_input", "ends at the end of its input", "{}"),
    ("end_took_s", "  within", "{} s"),
    ("ends_on_sigterm", "ends on SIGTERM", "{}"),
    ("lost_by_sigkill", "a SIGKILL at rest loses answers to", "{} lines"),
    ("crashed", "ended by itself", "{}"),
    ("crashed_at_line", "  after line", "{}"),
)
_UNTIL: Final = {
    "output buffer": "its output buffer is full",
    "input block": "it has a full block of input",
    "end of input": "the end of its input",
    "the next line": "the next line comes",
}


def report(facts: Facts, found: dict[str, Mode], said: list[str]) -> str:
    """Return the answer as a person reads it."""
    lines = ["What it does:"]
    for name, what, shown in _SAID:
        value = getattr(facts, name)
        if value is None or value == []:
            continue
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
        if isinstance(value, list):
            text = ", ".join(map(str, value))
        lines.append(f"  {what:36} {shown.format(_UNTIL.get(text, text) if isinstance(text, str) else text)}")
    lines.append("Which ACK_MODE fits:")
    for name, mode in found.items():
        fits = {True: "yes", False: "no", None: "?"}[mode.fits]
        guarantees = f" ({', '.join(mode.guarantees)})" if mode.guarantees else ""
        lines.append(f"  {name:7} {fits:4} {mode.why}{guarantees}")
    if said:
        lines.append("What would help:")
        lines += [f"  {text}".replace("\n", "\n  ") for text in said]
    else:
        lines.append("Nothing needs to change: the defaults fit it.")
    return "\n".join(lines) + "\n"
